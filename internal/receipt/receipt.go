// Package receipt knows how far each member of a channel has received and read
// its messages, and who may learn of it.
//
// A mark is a position in a channel, or in a thread of it, and moves forward; one
// move is one row, however many messages it passes. What a sender learns of its
// messages follows from the moves. Only its user takes a mark back, and nobody
// else hears of that. Whether others may learn of a move is decided when
// it is made, by presence, and kept with it: a receipt once shown is never
// taken back, and one made in private is never shown later. A Notifier knows what
// members want to hear of their channels. The package owns the tables marks,
// thread_marks, ended_threads, moves, notifications and legacy of the schema
// realtime, and writes nchat_thread_members.
package receipt

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Status is how far a message has come, as its sender sees it.
type Status string

// The statuses, rising. Failed is only ever the answer to a sending.
const (
	Sent      Status = "sent"
	Delivered Status = "delivered"
	Read      Status = "read"
	Failed    Status = "failed"
)

// Mark is a message up to which, itself included, all of a channel is meant, or of
// its thread where it is in one. Thread uuid.Nil: whichever it is in.
type Mark struct{ Channel, Thread, Message uuid.UUID }

// Privacy is presence, as far as receipts ask it.
type Privacy interface {
	// Audience is decided from the user's settings, contacts and blocks, now.
	Audience(ctx context.Context, db postgres.DB, user viewer.Key) (viewer.Audience, error)
	// Unshared are those of users who do not share their own reading, and
	// therefore see nobody's; none where reciprocity is off.
	Unshared(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error)
}

// Options are what the package stands on.
type Options struct {
	Pool      *pgxpool.Pool
	Privacy   Privacy
	Committed func() // called after each commit that wrote
	// Settle waits until what was committed before has its number and its place in the log.
	Settle     func(context.Context) error
	Retention  time.Duration // of the log: moves are kept apart for as long
	Reciprocal bool          // who shares no reading sees none
	// Counted is told how many unread messages were counted for whoever asks in ctx; nil:
	// nobody asks.
	Counted func(ctx context.Context, rows int)
	// Moves is how many moves a Ledger of more than one message holds at most; 0: 200,000.
	Moves  int
	Legacy bool // keep nchat_channel_members' old read columns in step
	Log    *slog.Logger
}

// Service is receipts as the rest of the server sees them.
type Service struct {
	Threads *Threads
	o       Options
}

// New builds the service.
func New(o Options) *Service {
	if o.Moves == 0 {
		o.Moves = 200_000
	}
	if o.Counted == nil {
		o.Counted = func(context.Context, int) {}
	}
	s := &Service{o: o}
	s.Threads = &Threads{s}
	return s
}

// toRead has what was committed before counted, but for what cannot be while the
// database takes no writes.
func (o Options) toRead(ctx context.Context) error {
	return postgres.ToRead(o.Settle(ctx)) //nolint:wrapcheck // its own
}

func distinct(ids []uuid.UUID) []uuid.UUID {
	seen := make(map[uuid.UUID]struct{}, len(ids))
	out := make([]uuid.UUID, 0, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			out = append(out, id)
		}
	}
	return out
}
