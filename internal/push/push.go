// Package push tells an app's own push service of messages for users who do not
// look at any device, and of when that is over: a signed webhook, tried again
// from a table until it is taken.
//
// Whom to tell is decided twice: when the message enters the log, and again when
// it is told. Then it is told to whoever may still read it, wants to hear of it
// and has not read it. Who looks at a device is asked about once more a while
// later; whom the message would disturb, in quiet hours or while busy, is told
// afterwards of the newest one. What was told is withdrawn when it is read
// elsewhere, deleted, or not the user's to read any more. The package owns the
// tables push_… and quiet_hours of the schema realtime.
package push

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	scanEvery  = time.Second
	scanBatch  = 500 // entries of the log looked at in one transaction
	usersInJob = 500
)

// Attention is where a user's attention is, as presence knows it.
type Attention struct {
	Looking   bool       // at a device that is shown and was used a moment ago
	Busy      bool       // chosen by hand
	BusyUntil *time.Time // nil: until changed
}

// Options are what the package stands on.
type Options struct {
	Pool *pgxpool.Pool
	// Attention is that of users, in the order asked.
	Attention func(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]Attention, error)
	Now       func() time.Time // the database's
	Looking   time.Duration    // after so long who looked at a device is asked about once more
	Hook      outcall.Hook     // where to tell; without URL nothing runs
	Log       *slog.Logger
}

// Service finds whom to tell, and tells.
type Service struct {
	scanner
	wake wait.Flag // a job may be due
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	return &Service{scanner: scanner{whom{o}}, wake: wait.NewFlag()}
}

// Run works until ctx ends. Any number of nodes may run it: one at a time looks
// at the log, and each job is told by one.
func (s *Service) Run(ctx context.Context) {
	if s.o.Hook.URL == "" {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.tell(ctx) })
	t := time.NewTicker(scanEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "looking for messages to push", "error", err)
		}
		s.wake.Raise()
	}
}
