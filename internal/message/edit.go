package message

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Resolution is how an edit of a version that was no longer the last one ended.
type Resolution string

// The resolutions.
const (
	ServerWins Resolution = "server_wins" // not applied
	ClientWins Resolution = "client_wins" // applied over the one in between
	Merged     Resolution = "merged"      // both applied
)

// Conflict is an edit of a version that was no longer the last one. Base is nil
// where it is no longer known.
type Conflict struct {
	Resolution           Resolution
	Base, Server, Client *string
}

// current is a message locked to be changed, and who the caller is to it.
type current struct {
	channel   uuid.UUID
	thread    *uuid.UUID
	version   int
	edited    int // the version that brought the content
	overruled bool
	author    bool
	moderator bool
	deleted   bool
	content   *string
}

// Edit changes a message's content. base is the version the change was made
// from. Whatever was committed last wins, unless the last change was somebody
// else's than the author's; a deletion beats every edit. The same edit once more,
// its answer having been lost, changes nothing and is answered as it was. Errors:
// access-denied, validation-failed.
func (s *Service) Edit(ctx context.Context, v viewer.Viewer, id uuid.UUID, content string, base int) (Message, *Conflict, error) {
	if err := v.Denied(); err != nil {
		return Message{}, nil, err
	}
	if f := s.checkContent(content); f != nil {
		return Message{}, nil, f
	}
	if strings.TrimSpace(content) == "" {
		return Message{}, nil, fault.Field("content", "content must not be empty")
	}
	var m Message
	var numbered bool
	var conflict *Conflict
	err := s.change(ctx, v, func(tx pgx.Tx) error {
		c, err := lock(ctx, tx, v, id, s.o.reader().content())
		if err != nil {
			return err
		}
		if base < 1 || base > c.version {
			return fault.Field("baseVersion", "baseVersion must be 1 to the message's version")
		}
		e := edit{message: id, by: v.User, content: content, base: base}
		if conflict, err = s.apply(ctx, tx, c, e); err != nil {
			return err
		}
		m, numbered, err = s.load(ctx, tx, v.Tenant, id)
		numbered = numbered && !m.Gone
		return err
	})
	if err == nil && !numbered { // its creation is not numbered yet
		m, err = s.settled(ctx, v, id)
	}
	if err != nil {
		return Message{}, nil, err
	}
	return m, conflict, nil
}

// settled is a message that had no number when it was changed.
func (s *Service) settled(ctx context.Context, v viewer.Viewer, id uuid.UUID) (Message, error) {
	if err := s.o.Settle(ctx); err != nil {
		return Message{}, err
	}
	m, ok, err := s.load(ctx, s.o.Pool, v.Tenant, id)
	if err == nil && !ok {
		err = fault.Access() // gone since
	}
	return m, err
}

// Delete takes a message back: its author, or whoever moderates the channel.
// Doing so again changes nothing. Errors: access-denied.
func (s *Service) Delete(ctx context.Context, v viewer.Viewer, id uuid.UUID) (Message, error) {
	if err := v.Denied(); err != nil {
		return Message{}, err
	}
	m, err := s.erase(ctx, v, id, false)
	if errors.Is(err, errUnnumbered) { // so new that it has no number yet, or from before us and still without one
		if err = s.o.Settle(ctx); err == nil {
			m, err = s.erase(ctx, v, id, true)
		}
	}
	if errors.Is(err, errUnnumbered) {
		err = fault.Later(fault.Unexpected, tryAgain, "messages from before are still being numbered")
	}
	return m, err
}

var errUnnumbered = errors.New("the message has no number yet")

// erase deletes a message. settled: what the log says of it is how it is.
func (s *Service) erase(ctx context.Context, v viewer.Viewer, id uuid.UUID, settled bool) (m Message, err error) {
	err = s.change(ctx, v, func(tx pgx.Tx) error {
		c, err := lock(ctx, tx, v, id, s.o.reader().content())
		if err != nil {
			return err
		}
		before, ok, err := s.load(ctx, tx, v.Tenant, id)
		switch m = before; {
		case err != nil:
			return err
		case !ok || m.Gone && !settled:
			return errUnnumbered
		case c.deleted:
			return nil
		}
		if _, err := tx.Exec(ctx, `select realtime.erase_message($1)`, id); err != nil {
			return fmt.Errorf("deleting: %w", err)
		}
		after, ok, err := s.load(ctx, tx, v.Tenant, id)
		if ok && !after.Gone {
			m = after
		} else if at := m.CreatedAt; m.DeletedAt == nil { // an install that deletes for good
			m.DeletedAt = &at
		}
		return err
	})
	return m, err
}

// change runs a transaction that says who is behind it, and tells of it after
// the commit.
func (s *Service) change(ctx context.Context, v viewer.Viewer, do func(pgx.Tx) error) error {
	err := postgres.Quietly(ctx, s.o.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('realtime.actor', $1, true)`, v.User.String()); err != nil {
			return fmt.Errorf("preparing: %w", err)
		}
		return do(tx)
	})
	if err == nil {
		s.written()
	}
	return err
}

// lock takes hold of a message that the caller may change, as the author or as
// one who moderates its channel, which nobody does where it is a direct one; all others are answered alike, and hold up
// nobody by asking.
func lock(ctx context.Context, tx pgx.Tx, v viewer.Viewer, id uuid.UUID, most int) (current, error) {
	if _, err := mayChange(ctx, tx, v, id, most); err != nil {
		return current{}, err
	}
	if _, err := tx.Exec(ctx, `select from public.nchat_messages o where o.id = $1 for update`, id); err != nil {
		return current{}, fmt.Errorf("locking a message: %w", err)
	}
	return mayChange(ctx, tx, v, id, most)
}

// mayChange reads a message that the caller may change, as it is now; without its
// content, where that is longer than most bytes.
func mayChange(ctx context.Context, tx pgx.Tx, v viewer.Viewer, id uuid.UUID, most int) (c current, err error) {
	const q = `
select m.channel_id, m.thread, coalesce(r.version, 1), coalesce(r.edited, 1), coalesce(r.overruled, false), case when octet_length(o.content) <= $4 then o.content end, coalesce(o.sender = $3, false), m.deleted,
       w.role is not null, coalesce(realtime.moderates(w.role), false)
         and not exists (select from realtime.nchat_channels() d where d.id = m.channel_id and d.type = 'direct')
  from realtime.nchat_messages() m
 cross join lateral (select realtime.write_role($1, $3, m.channel_id, m.thread) as role offset 0) w
  join realtime.message_rows() o on o.id = m.id
  left join realtime.revisions r on r.message_id = m.id
 where m.id = $2 and m.published and o.type <> 'system'`
	var writes bool
	err = tx.QueryRow(ctx, q, v.Tenant, id, v.User, most).Scan(&c.channel, &c.thread, &c.version, &c.edited, &c.overruled, &c.content, &c.author, &c.deleted, &writes, &c.moderator)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, fault.Access()
	} else if err != nil {
		return c, fmt.Errorf("reading a message: %w", err)
	}
	if !writes || !c.author && !c.moderator {
		return c, fault.Access()
	}
	return c, nil
}
