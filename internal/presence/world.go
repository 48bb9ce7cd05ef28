package presence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Options are what the package stands on.
type Options struct {
	Pool  *pgxpool.Pool
	Vital *pgxpool.Pool // for what keeps this node's users online, which waits for no caller; nil: Pool
	Clock *clock.Clock
	Bell  hub.Doorbell
	Node  Node
	Rules Rules
	Log   *slog.Logger
	// Watching holds n ids more for a viewer until ctx ends, or refuses; alone: also
	// more than there may be, where the viewer watches nothing else. nil: any number.
	Watching func(ctx context.Context, v viewer.Viewer, n int, alone bool) error
	// Reading is asked before n users are read whom the viewer did not name, as the
	// members of channels, and may refuse. nil: any number.
	Reading func(ctx context.Context, n int) error
	// Turn is taken by what a stream that has begun reads for its viewer alone.
	Turn wait.Turn
	// Shown: keep what everybody may see as a table (Showcase). Legacy: and tell
	// nchat's own tables of it.
	Shown, Legacy bool
	// Unhidden is called in the transaction that ends a user's invisibility.
	Unhidden func(ctx context.Context, tx pgx.Tx, k Key) error
}

// Node is this server's lease. Sessions are written under its identity, so
// that a node believed dead cannot write on.
type Node interface {
	// Identity is the row sessions refer to; false: there is none just now.
	Identity() (id uuid.UUID, epoch int64, ok bool)
	// Lost says that the database does not know that epoch any more.
	Lost(epoch int64)
}

// world is what every part of the package stands on.
type world struct {
	pool  *pgxpool.Pool
	vital *pgxpool.Pool
	clock *clock.Clock
	bell  hub.Doorbell
	rules Rules
	log   *slog.Logger
	// awaited: a doorbell of these users is on its way, and who begins to watch
	// them waits for it.
	awaited  func(keys ...Key)
	watching func(ctx context.Context, v viewer.Viewer, n int, alone bool) error
	reading  func(ctx context.Context, n int) error
	turn     wait.Turn

	mu      sync.Mutex
	out     outage // guarded by mu
	lasting bool   // guarded by mu: out has not ended
}

// now is the database's time, as exact as the database keeps it.
func (w *world) now() time.Time { return w.clock.Now().Truncate(time.Microsecond) }

func (w *world) outage() outage {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.out
	if w.lasting {
		o.to = w.now()
	}
	return o
}

// missed begins an outage, or goes on with the last.
func (w *world) missed(since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.lasting && (w.out.to.IsZero() || w.out.to.Add(w.rules.HTTPLapse).Before(since)) {
		w.out.from = since
	}
	w.lasting = true
}

// restored ends it.
func (w *world) restored(from, to time.Time) {
	w.missed(from)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.to, w.lasting = to, false
}

func presenceTopic(k Key) string { return "presence/" + k.User.String() + "/" + k.Tenant }

// ring tells every node, this one like the others, that something of these
// users changed. Only after commit.
func (w *world) ring(keys ...Key) {
	topics := make([]string, len(keys))
	for i, k := range keys {
		topics[i] = presenceTopic(k)
	}
	w.awaited(keys...)
	w.bell.Ring(topics...)
}

// ringSessions tells the nodes that hold these sessions' sockets that something
// is asked of them.
func (w *world) ringSessions(ids ...uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	topics := make([]string, len(ids))
	for i, id := range ids {
		topics[i] = "session/" + id.String()
	}
	w.bell.Ring(topics...)
}

// How long to wait before Postgres is asked again, doubling from the first.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
)
