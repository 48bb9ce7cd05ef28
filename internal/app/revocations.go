package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	revokedTopic    = "revoked"
	revocationLimit = 3 * time.Second
)

// revocations keeps what this node refuses in step with the database.
type revocations struct {
	store  auth.Store
	known  *auth.Revocations
	live   *live
	due    wait.Flag
	loaded atomic.Bool
}

func newRevocations(store auth.Store, l *live, lifetime time.Duration) *revocations {
	return &revocations{store: store, known: auth.NewRevocations(lifetime), live: l, due: wait.NewFlag()}
}

// run reads again whenever the database says that something was revoked, by
// doorbell or within a second, and closes what runs on it. Where it cannot say
// whether, a doorbell is enough.
func (r *revocations) run(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	last, rung := "", false
	for {
		r.learn(ctx)
		stamp, err := r.stamp(ctx)
		if err == nil && stamp != last || err != nil && rung || !r.loaded.Load() {
			if r.enforce(ctx) {
				last, rung = stamp, false // unknown: it is read again when there is one
			}
		} else if err == nil {
			rung = false
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-r.due:
			rung = true
		}
	}
}

func (r *revocations) stamp(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, revocationLimit)
	defer cancel()
	return r.store.Stamp(ctx)
}

// learn has the database know of longer-lived tokens than any before; what fails
// is tried again within a second.
func (r *revocations) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, revocationLimit)
	defer cancel()
	_ = r.store.Learn(ctx, r.known)
}

// load reads what is revoked.
func (r *revocations) load(ctx context.Context) error {
	if err := r.store.Load(ctx, r.known); err != nil {
		return err
	}
	r.loaded.Store(true)
	return nil
}

// enforce reads it and closes what runs on it; false: it could not be read.
func (r *revocations) enforce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, revocationLimit)
	defer cancel()
	if r.load(ctx) != nil {
		return false
	}
	r.live.refuse(r.known)
	return true
}

// ringer rings doorbells.
type ringer interface{ Ring(topics ...string) }

// revoke refuses what a user has now, with token that one alone, here at once and
// on the other nodes when they hear of it.
func (r *revocations) revoke(ctx context.Context, tenant string, user uuid.UUID, token *string, bell ringer) error {
	if err := r.store.Revoke(ctx, tenant, user, token); err != nil {
		return err
	}
	r.enforce(ctx)
	bell.Ring(revokedTopic)
	return nil
}

// Notify is the doorbell of a revocation.
func (r *revocations) Notify(string) { r.due.Raise() }

// Resync says that doorbells may have been lost.
func (r *revocations) Resync() { r.due.Raise() }
