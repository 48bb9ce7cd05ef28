package message

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// edit is what somebody asks a message to say, from a version on.
type edit struct {
	message, by uuid.UUID
	content     string
	base        int
}

func (e edit) digest() []byte {
	sum := sha256.Sum256([]byte(e.content))
	return sum[:]
}

// apply carries an edit out, unless it was before, and answers how it ended.
func (s *Service) apply(ctx context.Context, tx pgx.Tx, c current, e edit) (*Conflict, error) {
	if c.deleted {
		return &Conflict{Resolution: ServerWins, Client: &e.content}, nil
	}
	if e.base < c.edited {
		if before, conflict, err := applied(ctx, tx, e, s.o.reader().content()); err != nil || before {
			return conflict, err
		}
	}
	text, conflict, err := s.resolve(ctx, tx, c, e)
	if err != nil || text == nil {
		return conflict, err
	}
	var how *Resolution
	if conflict != nil {
		how = &conflict.Resolution
	}
	b := &pgx.Batch{}
	b.Queue(`select realtime.edit_message($1, $2)`, e.message, *text)
	b.Queue(`select realtime.sign_edit($1, $2, $3, $4, $5, $6)`, e.message, c.version, e.by, e.base, e.digest(), how)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("editing: %w", err)
	}
	return conflict, nil
}

// applied tells whether the very edit was made before, and how that ended.
func applied(ctx context.Context, tx pgx.Tx, e edit, most int) (bool, *Conflict, error) {
	const q = `
select v.resolution, case when octet_length(v.content) <= $5 then v.content end, (select case when octet_length(o.content) <= $5 then o.content end from realtime.message_versions o where o.message_id = $1 and o.version >= $3 order by o.version limit 1)
  from realtime.message_versions v
 where v.message_id = $1 and v.editor = $2 and v.base = $3 and v.digest = $4 order by v.version limit 1`
	var how *Resolution
	c := Conflict{Client: &e.content}
	err := tx.QueryRow(ctx, q, e.message, e.by, e.base, e.digest(), most).Scan(&how, &c.Server, &c.Base)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil, nil
	case err != nil:
		return false, nil, fmt.Errorf("looking for the same edit: %w", err)
	case how == nil:
		return true, nil, nil
	}
	c.Resolution = *how
	return true, &c, nil
}

// resolve decides what the content becomes; nil: it stays.
func (s *Service) resolve(ctx context.Context, tx pgx.Tx, c current, e edit) (*string, *Conflict, error) {
	if e.base >= c.edited {
		return &e.content, nil, nil
	}
	var was *string
	const q = `select case when octet_length(v.content) <= $3 then v.content end from realtime.message_versions v where v.message_id = $1 and v.version >= $2 order by v.version limit 1`
	if err := tx.QueryRow(ctx, q, e.message, e.base, s.o.reader().content()).Scan(&was); err != nil && !errors.Is(err, pgx.ErrNoRows) { // none: forgotten
		return nil, nil, fmt.Errorf("reading an earlier version: %w", err)
	}
	text, how := decide(c, s.o.Merge, was, e.content)
	if text != nil && s.checkContent(*text) != nil { // merged, it is too long
		text, how = nil, ServerWins
	}
	return text, &Conflict{Resolution: how, Base: was, Server: c.content, Client: &e.content}, nil
}

// decide is the rule for an edit that comes too late. Pure.
func decide(c current, merge bool, base *string, client string) (*string, Resolution) {
	if c.moderator && !c.author {
		return &client, ClientWins
	}
	if c.overruled {
		return nil, ServerWins
	}
	if !merge {
		return &client, ClientWins
	}
	if base != nil && c.content != nil {
		if text, ok := Merge(*base, *c.content, client); ok {
			return &text, Merged
		}
	}
	return nil, ServerWins
}
