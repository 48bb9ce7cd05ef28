// Package message sends, edits, deletes and reads the app's messages, by the
// rights members have in their channels.
//
// It writes nchat's own table, as an app would; the triggers there count
// versions and see to it that a message gets its number and its place in the
// log, whoever writes. It owns the table client_keys of the schema realtime.
package message

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Type is what a message is.
type Type string

// The types of messages. Users send neither TypeSystem nor TypeBot.
const (
	TypeText   Type = "text"
	TypeSystem Type = "system"
	TypeBot    Type = "bot"
	TypeFile   Type = "file"
	TypeVoice  Type = "voice"
	TypeVideo  Type = "video"
	TypeEmbed  Type = "embed"
)

// Message is a published message as the app keeps it.
type Message struct {
	ID              uuid.UUID
	ClientMessageID *string // the sender's key
	ChannelID       uuid.UUID
	ThreadID        *uuid.UUID
	ParentMessageID *uuid.UUID
	SenderID        *uuid.UUID
	Content         *string
	Type            Type
	Metadata        json.RawMessage // nil: null
	Mentions        []uuid.UUID
	Number          int64
	Version         int
	CreatedAt       time.Time
	EditedAt        *time.Time
	DeletedAt       *time.Time
	Gone            bool // deleted for good, or not published any more: only ID, ChannelID, Number and Version are known
}

// Seq is the message's number in its channel, in decimal.
func (m Message) Seq() string { return strconv.FormatInt(m.Number, 10) }

// For is the message as a user may see it: its sender's key is the sender's
// alone, and what was deleted says nothing any more.
func (m Message) For(user uuid.UUID) Message {
	if m.SenderID == nil || *m.SenderID != user {
		m.ClientMessageID = nil
	}
	if m.DeletedAt != nil || m.Gone {
		m.Content, m.Metadata, m.Mentions = nil, nil, nil
	}
	if m.Mentions == nil {
		m.Mentions = []uuid.UUID{}
	}
	return m
}

// taken is a message that may be taken back since, at about an instant.
func (m Message) taken(at time.Time) Message {
	if m.Gone {
		m.Type, m.CreatedAt, m.DeletedAt = TypeText, at, &at
	}
	return m
}

// Place is the channel it is in, and whether it is deleted.
func (m Message) Place() (channel uuid.UUID, deleted bool) {
	return m.ChannelID, m.Gone || m.DeletedAt != nil
}

// Size is about how many bytes a message takes in memory.
func (m Message) Size() int {
	n := 300 + len(m.Metadata) + 16*len(m.Mentions)
	if m.Content != nil {
		n += len(*m.Content)
	}
	return n
}

// Options are what the package stands on.
type Options struct {
	Pool      *pgxpool.Pool
	Committed func() // called after each commit that wrote: something waits for its place in the log
	// Settle waits until what was committed before has its number and its place.
	Settle  func(context.Context) error
	Content int  // characters in a message
	Batch   int  // messages in a batch
	Merge   bool // edits that do not overlap are merged
	Log     *slog.Logger
}

// Service is messages as the rest of the server sees them.
type Service struct{ o Options }

// New builds the service.
func New(o Options) *Service { return &Service{o} }

// Load reads messages by id, in one statement, as they are now: what was taken
// back is gone, though the log may not say so yet. Those of other tenants, and
// those that have no number yet, are left out. Whether anybody may see them is
// not asked here.
func Load(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	const q = `
select k.message_id, k.channel_id, k.seq, coalesce(r.version, 1), o.id is null, x.client_message_id,
       o.sender, o.content, coalesce(o.type, 'text'), coalesce(o.created_at, 'epoch'), o.thread_id, o.parent_message_id, o.metadata, o.mentions, o.edited_at, o.deleted_at
  from realtime.messages k
  join realtime.channels c on c.channel_id = k.channel_id and c.tenant = $1
  left join realtime.nchat_messages() n on n.id = k.message_id and n.channel_id = k.channel_id and n.published and not k.gone and k.seq > c.void
  left join realtime.message_rows() o on o.id = n.id
  left join realtime.revisions r on r.message_id = k.message_id
  left join realtime.client_keys x on x.message_id = k.message_id and x.tenant = $1
 where k.message_id = any ($2)`
	rows, err := db.Query(ctx, q, tenant, ids)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	out := make(map[uuid.UUID]Message, len(ids))
	var m Message
	into := []any{&m.ID, &m.ChannelID, &m.Number, &m.Version, &m.Gone, &m.ClientMessageID, &m.SenderID, &m.Content, &m.Type, &m.CreatedAt,
		&m.ThreadID, &m.ParentMessageID, &m.Metadata, &m.Mentions, &m.EditedAt, &m.DeletedAt}
	_, err = pgx.ForEachRow(rows, into, func() error {
		one := m
		if one.Gone {
			one = Message{ID: m.ID, ChannelID: m.ChannelID, Number: m.Number, Version: m.Version, Type: m.Type, Gone: true}
		}
		out[one.ID] = one
		m = Message{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return out, nil
}

func (s *Service) load(ctx context.Context, db postgres.DB, tenant string, id uuid.UUID) (Message, bool, error) {
	list, err := Load(ctx, db, tenant, []uuid.UUID{id})
	m, ok := list[id]
	return m, ok, err
}

// written tells who waits for it that a message was committed.
func (s *Service) written() { s.o.Committed() }

const (
	keysKept   = 31 * 24 * time.Hour // a day more than is promised
	sweepBatch = 5000
)

// Sweep forgets keys older than is promised.
func (s *Service) Sweep(ctx context.Context) error {
	const q = `
delete from realtime.client_keys k
 where k.ctid = any (array(select o.ctid from realtime.client_keys o where o.at < clock_timestamp() - $1::interval limit $2))`
	for {
		tag, err := s.o.Pool.Exec(ctx, q, keysKept, sweepBatch)
		if err != nil {
			return fmt.Errorf("forgetting old keys: %w", err)
		}
		if tag.RowsAffected() < sweepBatch {
			return nil
		}
	}
}
