package app

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func identity(user uuid.UUID, issued time.Time) auth.Identity {
	return auth.Identity{Tenant: "primary", UserID: user, Role: "user", Via: auth.ViaJWT, IssuedAt: issued}
}

// TestEventStreamsAreCounted by their owner, and each place is free again when
// its stream has ended.
func TestEventStreamsAreCounted(t *testing.T) {
	t.Parallel()
	l, none := newLive(), auth.NewRevocations(0)
	id := identity(demo.Alice, time.Now())
	open := func(owner string) (context.Context, func(), error) { return l.stream(t.Context(), owner, 2, id, none) }
	one, end, err := open("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := open("a"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open("a"); fault.From(err).Code != fault.RateLimited || !fault.From(err).Retryable {
		t.Errorf("a third: %v", err)
	}
	if _, _, err := open("b"); err != nil {
		t.Errorf("one pays for another: %v", err)
	}
	end()
	if one.Err() == nil {
		t.Error("an ended stream runs on")
	}
	if _, _, err := open("a"); err != nil {
		t.Errorf("its place is not free: %v", err)
	}
}

// TestAnEventStreamEndsWithItsToken, a little before it, and what waits at its very end; a
// token without an end holds it an hour, a secret for good.
func TestAnEventStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, none := newLive(), auth.NewRevocations(0)
		began := time.Now()
		short := identity(demo.Alice, began)
		short.ExpiresAt = began.Add(time.Minute)
		for what, c := range map[string]struct {
			id    auth.Identity
			lasts time.Duration // 0: for good
		}{
			"a token":              {short, time.Minute},
			"one without an end":   {identity(demo.Bob, began), auth.MaxSocketAge},
			"by the shared secret": {auth.Identity{Via: auth.ViaHasura}, 0},
		} {
			ctx, end, err := l.stream(t.Context(), what, 1, c.id, none)
			if err != nil {
				t.Fatal(err)
			}
			until, ends := ctx.Deadline()
			if early := c.lasts - until.Sub(began); ends != (c.lasts > 0) || ends && (early < 0 || early > min(apart, c.lasts/10)) {
				t.Errorf("%s ends: %v after %v", what, ends, until.Sub(began))
			}
			end()
			held, end := l.while(t.Context(), c.id, none) // a sync that waits
			if until, ends := held.Deadline(); ends != (c.lasts > 0) || ends && until.Sub(began) != c.lasts {
				t.Errorf("%s ends what waits: %v after %v", what, ends, until.Sub(began))
			}
			end()
		}
		if len(l.streams) != 0 || len(l.counts) != 0 {
			t.Errorf("%d streams and %d counts are kept", len(l.streams), len(l.counts))
		}
	})
}

// TestTokensThatEndTogetherDoNotEndAllSocketsAtOnce: over half a minute and more where they
// lived for a while; never after their end, nor long before it.
func TestTokensThatEndTogetherDoNotEndAllSocketsAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for lives, most := range map[time.Duration]time.Duration{15 * time.Minute: time.Minute, 5 * time.Minute: 30 * time.Second, 4 * time.Second: 400 * time.Millisecond, -time.Second: 0} {
		id := identity(demo.Alice, now)
		id.ExpiresAt = now.Add(lives)
		first, last := id.ExpiresAt, time.Time{}
		for range 1000 {
			at := socketDeadline(id, now)
			if at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		if last.After(id.ExpiresAt) || id.ExpiresAt.Sub(first) > most || last.Sub(first) < most*9/10 {
			t.Errorf("tokens of %s: sockets end from %s before until %s before", lives, id.ExpiresAt.Sub(first), id.ExpiresAt.Sub(last))
		}
	}
}

// TestRevocationsEndStreams: those of tokens issued before, whoever they are,
// also one that opens in the moment of it.
func TestRevocationsEndStreams(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	l := newLive()
	r := newRevocations(auth.Store{DB: pool}, l, 0)
	old := time.Now().Add(-time.Hour)
	open := func(id auth.Identity) context.Context {
		ctx, end, err := l.stream(t.Context(), id.UserID.String(), 10, id, r.known)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		return ctx
	}
	alice, bob := open(identity(demo.Alice, old)), open(identity(demo.Bob, old))
	if err := r.store.Revoke(t.Context(), "primary", demo.Alice, nil); err != nil {
		t.Fatal(err)
	}
	if alice.Err() != nil {
		t.Fatal("ended before it was heard of")
	}
	if !r.enforce(t.Context()) || alice.Err() == nil || bob.Err() != nil {
		t.Errorf("alice's: %v, bob's: %v", alice.Err(), bob.Err())
	}
	if late := open(identity(demo.Alice, old)); late.Err() == nil {
		t.Error("a revoked token opens a stream")
	}
	if fresh := open(identity(demo.Alice, time.Now().Add(time.Hour))); fresh.Err() != nil {
		t.Error("a newer token does not")
	}
}

// TestRevocationsAreHeardOf by their doorbell, long before the next look, also when nobody
// can tell whether anything changed; and while they cannot be read, what was refused is.
func TestRevocationsAreHeardOf(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	r := newRevocations(auth.Store{DB: pool}, newLive(), 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx) }()
	heard := func(user uuid.UUID) auth.Identity {
		t.Helper()
		id := identity(user, time.Now().Add(-time.Hour))
		if err := r.store.Revoke(t.Context(), "primary", user, nil); err != nil {
			t.Fatal(err)
		}
		r.Notify(revokedTopic)
		end := time.Now().Add(time.Minute)
		for tick := time.NewTicker(5 * time.Millisecond); !r.known.Refused(id); <-tick.C {
			if time.Now().After(end) {
				t.Fatal("never heard of")
			}
		}
		return id
	}
	id := heard(demo.Carol)
	if _, err := pool.Exec(t.Context(), `alter table realtime.revoked_tokens rename revoked_at to unstamped`); err != nil {
		t.Fatal(err)
	}
	heard(demo.Bob)
	cancel()
	<-done
	pool.Close()
	if r.enforce(t.Context()) || !r.known.Refused(id) {
		t.Error("what cannot be read is forgotten")
	}
}

// TestASocketTakesANewToken: the identity behind it is what counts from then.
func TestASocketTakesANewToken(t *testing.T) {
	t.Parallel()
	l, c := newLive(), &wsock.Conn{}
	l.add(c, identity(demo.Alice, time.Unix(1, 0)), time.Time{})
	b, ok := l.get(c.ID())
	if !ok || b.id.Load().UserID != demo.Alice {
		t.Fatal("not there")
	}
	fresh := identity(demo.Alice, time.Unix(2, 0))
	b.id.Store(&fresh)
	if again, _ := l.get(c.ID()); !again.id.Load().IssuedAt.Equal(time.Unix(2, 0)) {
		t.Error("the old one stays")
	}
	l.remove(c.ID())
	if _, ok := l.get(c.ID()); ok {
		t.Error("an ended socket is there")
	}
}

// TestATokenAndItsEndChangeTogether: where a refresh comes in the midst of another, or behind one
// with a newer token, the socket ends with the token that it runs on, and who asked is told so.
func TestATokenAndItsEndChangeTogether(t *testing.T) {
	t.Parallel()
	older := presence.Token{ID: "older", IssuedAt: time.Unix(2, 0), ExpiresAt: time.Unix(100, 0)}
	newer := presence.Token{ID: "newer", IssuedAt: time.Unix(3, 0), ExpiresAt: time.Unix(200, 0)}
	elsewhere := func(b *behind, to presence.Token) { b.renew(to) }
	here := func(b *behind, to presence.Token) {
		id := identity(demo.Alice, to.IssuedAt)
		id.TokenID, id.ExpiresAt = to.ID, to.ExpiresAt
		on, until := b.take(id, to.ExpiresAt, func(*door.Link) {
			if b.id.Load().TokenID != to.ID {
				t.Error("Hasura is given another token than the socket")
			}
		})
		if want := map[string]time.Time{older.ID: older.ExpiresAt, newer.ID: newer.ExpiresAt}[on.TokenID]; !until.Equal(want) {
			t.Errorf("told of the %s token until %v", on.TokenID, until)
		}
	}
	type refresh = func(*behind, presence.Token)
	for what, c := range map[string]struct {
		first, second  refresh
		comes1, comes2 presence.Token
	}{
		"elsewhere, and a newer one elsewhere":  {elsewhere, elsewhere, older, newer},
		"here, and a newer one elsewhere":       {here, elsewhere, older, newer},
		"elsewhere, and a newer one here":       {elsewhere, here, older, newer},
		"elsewhere, and an older one here":      {elsewhere, here, newer, older},
		"here, and an older one here":           {here, here, newer, older},
		"here, and an older one elsewhere":      {here, elsewhere, newer, older},
		"elsewhere, and an older one elsewhere": {elsewhere, elsewhere, newer, older},
	} {
		var mu sync.Mutex
		var until time.Time
		second, begun := make(chan struct{}), false
		b := &behind{}
		b.link.Store(&door.Link{})
		b.extend = func(to time.Time) {
			mu.Lock()
			mine := !begun
			begun = true
			mu.Unlock()
			if mine {
				go func() { c.second(b, c.comes2); close(second) }()
				select {
				case <-second:
				case <-time.After(20 * time.Millisecond): // it waits for this one
				}
			}
			mu.Lock()
			defer mu.Unlock()
			until = to
		}
		old := identity(demo.Alice, time.Unix(1, 0))
		b.id.Store(&old)
		c.first(b, c.comes1)
		<-second
		if id := b.id.Load(); id.TokenID != newer.ID || !until.Equal(newer.ExpiresAt) {
			t.Errorf("%s: on the %s token until %v", what, id.TokenID, until)
		}
	}
}

// TestATokenThatDoesNotSayWhenItWasIssued is as good as another.
func TestATokenThatDoesNotSayWhenItWasIssued(t *testing.T) {
	t.Parallel()
	at := time.Unix(100, 0)
	b := &behind{extend: func(time.Time) {}}
	old := identity(demo.Alice, time.Unix(1, 0))
	b.id.Store(&old)
	b.renew(presence.Token{ID: "elsewhere", ExpiresAt: at})
	if id := b.id.Load(); id.TokenID != "elsewhere" || !b.until.Equal(at) {
		t.Errorf("elsewhere: on %q until %v", id.TokenID, b.until)
	}
	b.id.Store(&old)
	none := identity(demo.Alice, time.Time{})
	none.TokenID = "here"
	if on, until := b.take(none, at, nil); on.TokenID != "here" || !until.Equal(at) || b.id.Load().TokenID != "here" {
		t.Errorf("here: on %q until %v", on.TokenID, until)
	}
}
