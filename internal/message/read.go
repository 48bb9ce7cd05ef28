package message

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Oddity is a part of a message that cannot be told as the row has it: an app
// and Hasura write past us whatever the columns take.
type Oddity string

// The oddities, and what is told instead.
const (
	OddTime     Oddity = "time"     // infinite, or of a year that RFC 3339 cannot write: the nearest it can
	OddContent  Oddity = "content"  // too long: null
	OddMetadata Oddity = "metadata" // past what Send takes: null
	OddMentions Oddity = "mentions" // with nulls or in several dimensions: without, and flat; too many: the first
	OddType     Oddity = "type"     // one that is not in the contract: text
	OddRow      Oddity = "row"      // nothing of it can be read: no content
)

const (
	leastTold    = 64 << 10 // bytes of content, however few a message may have
	mentionsTold = 1000
	runeBytes    = 4
)

// Reader reads messages as they can be told.
type Reader struct {
	Content int // characters in a message; in bytes, at most four times as many and at least 64 KiB are told
	// Odd is told, without blocking, of what cannot be told as it is; nil: nobody asks.
	Odd func(ctx context.Context, message uuid.UUID, what Oddity)
}

// Load reads messages by id, in one statement, as they are now: what was taken
// back is gone, though the log may not say so yet. Those of other tenants, and
// those that have no number yet, are left out. Whether anybody may see them is
// not asked here. A row that cannot be read costs only itself.
func (r Reader) Load(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Message, error) {
	out := make(map[uuid.UUID]Message, len(ids))
	if err := r.load(ctx, db, tenant, ids, out); err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return out, nil
}

// load halves what fails by itself until it is down to the rows that do.
func (r Reader) load(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID, out map[uuid.UUID]Message) error {
	if len(ids) == 0 {
		return nil
	}
	err := r.read(ctx, db, readRows, []any{tenant, ids, r.content(), maxWritten, mentionsTold}, out)
	if err == nil || ctx.Err() != nil || !postgres.Broken(err) {
		return err
	}
	if len(ids) > 1 {
		half := len(ids) / 2
		return errors.Join(r.load(ctx, db, tenant, ids[:half], out), r.load(ctx, db, tenant, ids[half:], out))
	}
	r.odd(ctx, ids[0], OddRow)
	return r.read(ctx, db, readBare, []any{tenant, ids}, out)
}

func (r Reader) content() int { return max(leastTold, runeBytes*r.Content) }

func (r Reader) odd(ctx context.Context, id uuid.UUID, what Oddity) {
	if r.Odd != nil {
		r.Odd(ctx, id, what)
	}
}

const readRows = `
select k.message_id, k.channel_id, k.seq, coalesce(r.version, 1), o.id is null, x.client_message_id,
       o.sender, case when octet_length(o.content) <= $3 then o.content end, coalesce(o.type, 'text'), coalesce(o.created_at, 'epoch'),
       o.thread_id, o.parent_message_id,
       case when pg_column_size(o.metadata) <= 8 then o.metadata::text else realtime.told_metadata(o.metadata, $4) end,
       case when m.clean then o.mentions else realtime.told_mentions(o.mentions, $5) end, o.edited_at, o.deleted_at,
       coalesce(octet_length(o.content) > $3, false), o.metadata is not null, not m.clean,
       case when r.edited > 1 then r.editor end
  from realtime.messages k
  join realtime.channels c on c.channel_id = k.channel_id and c.tenant = $1
  left join realtime.nchat_messages() n on n.id = k.message_id and n.channel_id = k.channel_id and n.published and not k.gone and k.seq > c.void
  left join realtime.message_rows() o on o.id = n.id
  left join realtime.revisions r on r.message_id = k.message_id
  left join realtime.client_keys x on x.message_id = k.message_id and x.tenant = $1
 cross join lateral (select case when array_ndims(o.mentions) > 1 or cardinality(o.mentions) > $5 then false
                                 else array_position(o.mentions, null) is null end as clean offset 0) m
 where k.message_id = any ($2)`

// readBare is readRows without the app's row, of which it only says that it is there.
const readBare = `
select k.message_id, k.channel_id, k.seq, coalesce(r.version, 1), k.gone, null, k.sender, null, 'text', 'epoch'::timestamptz,
       k.thread, null::uuid, null, null::uuid[], null::timestamptz, case when k.deleted then 'epoch'::timestamptz end, false, false, false, null::uuid
  from realtime.messages k
  join realtime.channels c on c.channel_id = k.channel_id and c.tenant = $1
  left join realtime.revisions r on r.message_id = k.message_id
 where k.message_id = any ($2)`

// read runs one of the two; in a transaction, so that a failure does not end it.
func (r Reader) read(ctx context.Context, db postgres.DB, q string, args []any, out map[uuid.UUID]Message) error {
	return postgres.Guarded(ctx, db, q, args, func(rows pgx.Rows) error {
		var m Message
		var long, described, unclean bool
		var meta *string
		into := []any{&m.ID, &m.ChannelID, &m.Number, &m.Version, &m.Gone, &m.ClientMessageID, &m.SenderID, &m.Content, &m.Type, &m.CreatedAt,
			&m.ThreadID, &m.ParentMessageID, &meta, &m.Mentions, &m.EditedAt, &m.DeletedAt, &long, &described, &unclean, &m.EditedBy}
		_, err := pgx.ForEachRow(rows, into, func() error {
			one := m
			m = Message{}
			if one.Gone {
				out[one.ID] = Message{ID: one.ID, ChannelID: one.ChannelID, Number: one.Number, Version: one.Version, Type: TypeText, Gone: true}
				return nil
			}
			if meta != nil {
				one.Metadata = readMetadata(*meta)
			}
			r.odds(ctx, one, long, described && one.Metadata == nil && (meta == nil || *meta != "null"), unclean)
			out[one.ID] = one.tellable()
			return nil
		})
		return err
	})
}

// odds tells what of a message is told as something else.
func (r Reader) odds(ctx context.Context, m Message, content, metadata, mentions bool) {
	tell := func(is bool, what Oddity) {
		if is {
			r.odd(ctx, m.ID, what)
		}
	}
	tell(content, OddContent)
	tell(metadata, OddMetadata)
	tell(mentions, OddMentions)
	tell(!m.Type.known(), OddType)
	tell(m.oddTime(), OddTime)
}

// oddTime reports whether a time was read as another than the row has.
func (m Message) oddTime() bool {
	for _, t := range []*time.Time{&m.CreatedAt, m.EditedAt, m.DeletedAt} {
		if t != nil && (t.Equal(postgres.Earliest) || t.Equal(postgres.Latest)) {
			return true
		}
	}
	return false
}

// tellable is a message of which every part can be told.
func (m Message) tellable() Message {
	if !m.Type.known() {
		m.Type = TypeText
	}
	if m.Content != nil && !utf8.ValidString(*m.Content) { // of a database without an encoding
		valid := strings.ToValidUTF8(*m.Content, "\uFFFD")
		m.Content = &valid
	}
	return m
}

func (t Type) known() bool {
	switch t {
	case TypeText, TypeSystem, TypeBot, TypeFile, TypeVoice, TypeVideo, TypeEmbed:
		return true
	}
	return false
}

// readMetadata is metadata as Postgres writes it, without the spaces; nil: it
// is null, or past what Send takes.
func readMetadata(text string) json.RawMessage {
	if text == "{}" {
		return json.RawMessage(text)
	}
	raw, fault := weigh(json.RawMessage(text))
	if fault != "" || string(raw) == "null" {
		return nil
	}
	return raw
}
