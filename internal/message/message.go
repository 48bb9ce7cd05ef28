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
	"log/slog"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
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
	EditedBy        *uuid.UUID // who changed it last, where known
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
		m.Content, m.Metadata, m.Mentions, m.EditedBy = nil, nil, nil, nil
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

// There reports whether the app has it still, deleted or not.
func (m Message) There() bool { return !m.Gone }

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
	Odd     func(ctx context.Context, message uuid.UUID, what Oddity) // as of Reader
}

func (o Options) reader() Reader { return Reader{Content: o.Content, Odd: o.Odd} }

// Service is messages as the rest of the server sees them.
type Service struct{ o Options }

// New builds the service.
func New(o Options) *Service { return &Service{o} }

func (s *Service) load(ctx context.Context, db postgres.DB, tenant string, id uuid.UUID) (Message, bool, error) {
	list, err := s.o.reader().Load(ctx, db, tenant, []uuid.UUID{id})
	m, ok := list[id]
	return m, ok, err
}

// written tells who waits for it that a message was committed.
func (s *Service) written() { s.o.Committed() }

const keysKept = 31 * 24 * time.Hour // a day more than is promised

// forgetKeys is a sweep.Rows.
const forgetKeys = `
delete from realtime.client_keys k
 where k.ctid = any (array(select o.ctid from realtime.client_keys o where o.at < (select clock_timestamp() - $2::interval) order by o.at limit $1))`

// Sweeps forget keys older than is promised.
func (s *Service) Sweeps() []sweep.Task {
	return []sweep.Task{{Of: "client_keys", Batch: sweep.Rows(s.o.Pool, forgetKeys, keysKept)}}
}
