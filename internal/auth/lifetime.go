package auth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// revocationsKept is how long a revocation is kept at least.
const revocationsKept = 31 * 24 * time.Hour

// lifetimes is how long the tokens live that this node has seen: what a revoked
// one may be shown for again.
type lifetimes struct {
	mu      sync.Mutex
	longest time.Duration // guarded by mu
	endless bool          // guarded by mu: one does not expire
	written bool          // guarded by mu: the database knows
}

func newLifetimes() *lifetimes { return &lifetimes{written: true} }

// see takes in a token. One that does not say since when it lives is seen from now.
func (l *lifetimes) see(issued, expires, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if expires.IsZero() {
		l.written = l.written && l.endless
		l.endless = true
		return
	}
	if issued.IsZero() {
		issued = now
	}
	if d := expires.Sub(issued); d > l.longest {
		l.longest, l.written = d, false
	}
}

// Learn has the database know how long the tokens live that r has seen.
func (s Store) Learn(ctx context.Context, r *Revocations) error {
	l := r.lives
	l.mu.Lock()
	longest, endless, written := l.longest, l.endless, l.written
	l.written = true
	l.mu.Unlock()
	if written {
		return nil
	}
	const q = `
update realtime.token_life t set longest = greatest(t.longest, $1::interval), endless = t.endless or $2
 where t.longest < $1::interval or $2 and not t.endless`
	if _, err := s.DB.Exec(ctx, q, longest, endless); err != nil {
		l.mu.Lock()
		l.written = false
		l.mu.Unlock()
		return fmt.Errorf("writing how long tokens live: %w", err)
	}
	return nil
}

// Sweeps forget revocations of tokens that have expired: after as long as the
// longest of all tokens seen lives, and 31 days at least. Once a token was seen
// that never expires, none is forgotten. Users barred for longer than lifetime, which
// any token from before lives at most, are forgotten too: they stay no users, and
// whatever they come with shows them nothing.
func (s Store) Sweeps(lifetime time.Duration) []sweep.Task {
	if lifetime == 0 {
		lifetime = TokenLifetime
	}
	const past = ` < clock_timestamp() - (select greatest(t.longest, $2::interval) from realtime.token_life t where not t.endless) limit $1))`
	const users = `
delete from realtime.revoked_users r where r.ctid = any (array(select o.ctid from realtime.revoked_users o where o.not_before` + past
	const tokens = `
delete from realtime.revoked_tokens r where r.ctid = any (array(select o.ctid from realtime.revoked_tokens o where o.revoked_at` + past
	const barred = `
delete from realtime.barred_users b where b.ctid = any (array(select o.ctid from realtime.barred_users o where o.at < (select clock_timestamp() - $2::interval) limit $1))`
	return []sweep.Task{
		{Of: "revoked_users", Batch: sweep.Rows(s.DB, users, revocationsKept)},
		{Of: "revoked_tokens", Batch: sweep.Rows(s.DB, tokens, revocationsKept)},
		{Of: "barred_users", Batch: sweep.Rows(s.DB, barred, lifetime)},
	}
}
