package typing

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// rig is a service on a database, alone: what it rings is kept, and nothing
// rings by itself. Everybody may see everybody; whose privacy that is asks
// presence, and is not this package's.
type rig struct {
	*Service
	pool *pgxpool.Pool

	mu     sync.Mutex
	rung   []string
	onRing func()
	onGate func()
	gate   Gate // nil: everybody may see everybody
	hidden uuid.UUID
	asked  []int // how many typists a read asked for
}

func newRig(t *testing.T, pool *pgxpool.Pool) *rig {
	t.Helper()
	r := &rig{pool: pool}
	r.Service = New(Options{Pool: pool, Clock: clock.New(), Bell: r, Privacy: r, Batch: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	return r
}

func demoWorld(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

func (r *rig) Ring(topics ...string) {
	r.mu.Lock()
	r.rung = append(r.rung, topics...)
	f := r.onRing
	r.onRing = nil
	r.mu.Unlock()
	if f != nil {
		f()
	}
}

func (r *rig) Gate(viewer.Viewer) Gate {
	if r.onGate != nil {
		r.onGate()
	}
	if r.gate != nil {
		return r.gate
	}
	return open{}
}

func (r *rig) Typists(_ context.Context, _ viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	r.mu.Lock()
	r.asked = append(r.asked, len(users))
	r.mu.Unlock()
	may, err := open{}.May(context.Background(), users)
	delete(may, r.hidden)
	return may, err
}

type open struct{}

func (open) May(_ context.Context, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	out := map[uuid.UUID]time.Time{}
	for _, u := range users {
		out[u] = time.Time{}
	}
	return out, nil
}

func (open) Changed(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (open) Close() {}

func (r *rig) do(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := r.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

const kick = `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`

var (
	team  = Room{Channel: demo.Team}
	alice = viewer.Viewer{Key: viewer.Key{Tenant: "primary", User: demo.Alice}, Session: uuid.UUID{7}}
	bob   = viewer.Viewer{Key: viewer.Key{Tenant: "primary", User: demo.Bob}, Session: uuid.UUID{8}}
)

func denied(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Code == fault.Denied
}

// Typing is allowed exactly where sending a message is.
func TestWhoMayTypeIsWhoMaySend(t *testing.T) {
	t.Parallel()
	pool := demoWorld(t)
	dm := Room{Channel: demo.AliceBob, Direct: true}
	thread := Room{Channel: demo.General, Thread: uuid.MustParse("00000000-0000-4000-a000-000000000001")}
	for name, c := range map[string]struct {
		sql  string
		room Room
		may  bool
	}{
		"a member":                   {`select 1`, team, true},
		"no member":                  {`delete from public.nchat_channel_members where user_id = '` + demo.Alice.String() + `'`, team, false},
		"archived":                   {`update public.nchat_channels set is_archived = true`, team, false},
		"read-only":                  {`update public.nchat_channels set is_readonly = true; update public.nchat_channel_members set role = 'member'`, team, false},
		"read-only, a moderator":     {`update public.nchat_channels set is_readonly = true; update public.nchat_channel_members set role = 'moderator'`, team, true},
		"announcements":              {`update public.nchat_channels set type = 'announcement'; update public.nchat_channel_members set role = 'member'`, team, false},
		"can_write off":              {`update public.nchat_channel_members set can_write = false`, team, false},
		"can_read off":               {`update public.nchat_channel_members set can_read = false`, team, false},
		"a deleted user":             {`update public.nchat_users set deleted_at = now()`, team, false},
		"a direct one":               {`select 1`, dm, true},
		"blocked there":              {`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ('` + demo.Bob.String() + `', '` + demo.Alice.String() + `')`, dm, false},
		"having blocked there":       {`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ('` + demo.Alice.String() + `', '` + demo.Bob.String() + `')`, dm, false},
		"a thread":                   {`select 1`, thread, true},
		"a locked thread":            {`update public.nchat_threads set is_locked = true`, thread, false},
		"a thread somewhere else":    {`select 1`, Room{Channel: demo.Team, Thread: thread.Thread}, false},
		"a channel called direct":    {`select 1`, Room{Channel: demo.Team, Direct: true}, false},
		"a room that does not exist": {`select 1`, Room{Channel: uuid.UUID{9}}, false},
	} {
		if ack, err := startAfter(t, pool, c.sql, c.room); c.may != ack.Accepted || !c.may && !denied(err) {
			t.Errorf("%s: %+v %v", name, ack, err)
		}
	}
}

// TestAStopOfNothingRingsNobody: a socket that takes back what it did not say, or has taken
// back already; over HTTP it may have been said elsewhere.
func TestAStopOfNothingRingsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	room := Room{Channel: demo.Team}
	socket, http := viewer.Viewer{Key: viewer.Key{Tenant: "primary", User: demo.Alice}, Session: uuid.New()}, viewer.Of("primary", demo.Bob)
	stop := func(v viewer.Viewer, want int) {
		t.Helper()
		before := len(r.rung)
		for range 5 {
			if a, err := r.Stop(t.Context(), v, room); err != nil || !a.Accepted {
				t.Fatal(a, err)
			}
		}
		if rung := r.rung[before:]; len(rung) != want {
			t.Errorf("five stops ring %v", rung)
		}
	}
	stop(socket, 0)
	if _, err := r.Start(t.Context(), socket, room); err != nil {
		t.Fatal(err)
	}
	other := socket
	other.Session = uuid.New()
	stop(other, 0)
	stop(socket, 1)
	stop(http, 5)
}

// startAfter is Alice's word to a service in a transaction of its own, which
// has done something and takes it back in the end.
func startAfter(t *testing.T, pool *pgxpool.Pool, sql string, room Room) (Ack, error) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, pool)
	r.o.Pool = tx
	return r.Start(t.Context(), alice, room)
}

// A right is remembered, and no longer than it is one.
func TestARightEndsWithTheDoorbell(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	if _, err := r.Start(t.Context(), alice, team); err != nil {
		t.Fatal(err)
	}
	r.do(t, kick, demo.Team, demo.Alice)
	if _, err := r.Start(t.Context(), alice, team); err != nil {
		t.Fatal("it is read with every signal:", err)
	}
	r.Notify("members/" + demo.Team.String())
	if _, err := r.Start(t.Context(), alice, team); !denied(err) {
		t.Fatal("remembered too long:", err)
	}
	r = newRig(t, r.pool)
	if _, err := r.Start(t.Context(), bob, team); err != nil {
		t.Fatal(err)
	}
	r.do(t, kick, demo.Team, demo.Bob)
	r.Resync()
	if _, err := r.Start(t.Context(), bob, team); !denied(err) {
		t.Fatal("remembered past lost doorbells:", err)
	}
}

// Who is removed between the look at its right and its first word is not seen.
func TestRemovedWhileItStarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	r.onRing = func() {
		r.do(t, kick, demo.Team, demo.Alice)
		r.Notify("members/" + demo.Team.String())
	}
	if _, err := r.Start(t.Context(), alice, team); !denied(err) {
		t.Fatal(err)
	}
	if list := r.board.typing(roomKey{"primary", demo.Team, uuid.Nil}); len(list) != 0 {
		t.Fatal("still types:", list)
	}
}

// A word that comes to another node after the news of its author's removal is
// not shown there: the author's node has taken it back.
func TestRemovedWhileItsWordIsOnItsWay(t *testing.T) {
	t.Parallel()
	here := newRig(t, demoWorld(t))
	there := newRig(t, here.pool)
	if _, err := here.Start(t.Context(), alice, team); err != nil {
		t.Fatal(err)
	}
	here.do(t, kick, demo.Team, demo.Alice)
	for _, n := range []*rig{there, here} {
		n.Notify("members/" + demo.Team.String())
		n.checkMembers(t.Context())
	}
	if len(here.rung) != 2 {
		t.Fatal("not taken back:", here.rung)
	}
	for _, topic := range []string{here.rung[1], here.rung[0]} {
		there.Notify(topic)
	}
	for _, n := range []*rig{here, there} {
		if list := n.board.typing(roomKey{"primary", demo.Team, uuid.Nil}); len(list) != 0 {
			t.Fatal("still types:", list)
		}
	}
}

// Who is removed while it subscribes learns nothing.
func TestRemovedWhileItSubscribes(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	if _, err := r.Start(t.Context(), alice, team); err != nil {
		t.Fatal(err)
	}
	r.onGate = func() {
		r.do(t, kick, demo.Team, demo.Bob)
		r.Notify("members/" + demo.Team.String())
	}
	failed := make(chan error, 1)
	out, err := r.Watch(t.Context(), bob, []Room{team}, func(err error) { failed <- err })
	if err != nil {
		t.Fatal(err)
	}
	for list := range out {
		t.Fatal("told:", list)
	}
	if err := <-failed; !denied(err) {
		t.Fatal(err)
	}
	if len(r.streams) != 0 {
		t.Fatal("remembered:", r.streams)
	}
	if _, err := r.Watch(t.Context(), bob, []Room{team}, nil); !denied(err) || len(r.streams) != 0 {
		t.Fatal(err, r.streams)
	}
}

// shut is a gate that cannot say who may be seen, the first few times it is asked.
type shut struct {
	open
	times atomic.Int32
}

func (g *shut) May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	if g.times.Add(-1) >= 0 {
		return nil, errors.New("away")
	}
	return g.open.May(ctx, users)
}

// Whoever could not be asked about is shown once that can be, though nothing
// rings meanwhile.
func TestWhatCouldNotBeAskedIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	g := &shut{}
	g.times.Store(1)
	r.gate = g
	out, err := r.Watch(t.Context(), bob, []Room{team}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if list := <-out; list[0].TotalCount() != 0 {
		t.Fatal("it begins with", list)
	}
	if _, err := r.Start(t.Context(), alice, team); err != nil {
		t.Fatal(err)
	}
	if list := <-out; list[0].TotalCount() != 1 || g.times.Load() >= 0 {
		t.Fatal("not shown, or on doubt:", list)
	}
}

// While nobody can say whether a room may still be seen, nobody is shown in it,
// also who types on.
func TestOnDoubtNobodyTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	r.board.apply(signal{roomKey: roomKey{"primary", demo.Team, uuid.Nil}, user: demo.Alice, at: time.Now().Add(time.Hour)})
	own, err := pgxpool.NewWithConfig(t.Context(), r.pool.Config())
	if err != nil {
		t.Fatal(err)
	}
	shown := r.board
	r = newRig(t, own)
	r.board = shown
	ctx, cancel := context.WithCancel(t.Context())
	out, err := r.Watch(ctx, bob, []Room{team}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if first := <-out; first[0].TotalCount() != 1 {
		t.Fatal(first)
	}
	own.Close()
	r.Notify("members/" + demo.Team.String())
	select {
	case list := <-out:
		if list[0].TotalCount() != 0 {
			t.Fatal("shown on doubt:", list)
		}
	case <-time.After(time.Minute):
		t.Fatal("still shown on doubt")
	}
	cancel()
	for range out {
		t.Error("told after its end")
	}
}
