package push

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestEachNewestIsAskedAbout: who looks when a message comes, and still when an older one is
// asked about, is asked about once more so long after the newer one, and no more often.
func TestEachNewestIsAskedAbout(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	again := func(what string, after uuid.UUID) { // is when bob is asked about
		t.Helper()
		var late *time.Duration
		const q = `select h.until - m.created_at from public.nchat_messages m left join realtime.push_held h on h.channel_id = m.channel_id and h.looked where m.id = $1`
		if err := r.pool.QueryRow(t.Context(), q, after).Scan(&late); err != nil || late == nil || *late != r.s.o.Looking {
			t.Errorf("%s: asked about %v after it, %v", what, late, err)
		}
	}
	ends := func(what string) {
		t.Helper()
		var n int
		if err := r.pool.QueryRow(t.Context(), `select count(*) from realtime.push_held`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d are asked about, %v", what, n, err)
		}
	}
	r.is(demo.Bob, Attention{Looking: true})
	one := r.say(demo.AliceBob, demo.Alice, "one")
	two := r.say(demo.AliceBob, demo.Alice, "two")
	r.want("looking", TypeMessage, two)
	again("one", one)
	r.due()
	r.want("looking on", TypeMessage, two)
	again("two", two)
	r.is(demo.Bob, Attention{})
	r.want("gone, and not asked about yet", TypeMessage, two)
	r.due()
	r.want("gone", TypeMessage, two, demo.Bob)
	ends("told")

	r.is(demo.Bob, Attention{Looking: true})
	three := r.say(demo.AliceBob, demo.Alice, "three")
	r.say(demo.AliceBob, demo.Alice, "from tomorrow")
	r.exec(`update public.nchat_messages set created_at = 'infinity' where content = 'from tomorrow'`)
	r.told()
	again("three", three)
	for range 2 {
		r.due()
		r.want("looking all the while", TypeMessage, three)
	}
	ends("looking all the while")

	// Who wants mentions alone: of the older one, though a newer one has been noted first.
	r.exec(`update public.nchat_channel_members set notification_level = 'mentions' where user_id = $1`, demo.Bob)
	r.exec(`update public.nchat_channel_members set is_muted = true where user_id = $1`, demo.Carol)
	named := r.say(demo.Team, demo.Alice, "bob!", demo.Bob)
	r.told()
	r.exec(`update realtime.push_held set seq = seq + 1`)
	if err := r.s.putOff(t.Context(), r.pool, r.candidate(named), judged{looking: []uuid.UUID{demo.Bob}}); err != nil {
		t.Fatal(err)
	}
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("mentioned", TypeMessage, named, demo.Bob)
}

func (r *rig) candidate(message uuid.UUID) candidate {
	r.t.Helper()
	m := candidate{tenant: "primary", message: message}
	if err := r.pool.QueryRow(r.t.Context(), `select channel_id, seq from realtime.messages where message_id = $1`, message).Scan(&m.channel, &m.seq); err != nil {
		r.t.Fatal(err)
	}
	return m
}

// TestHeldMeanwhile: who is held back while something else happens to it.
func TestHeldMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hoursChange(t, r)
	r.exec(`delete from realtime.push_held`)
	anotherLetsGo(t, r)
}

// hoursChange: quiet hours that are changed after they were read hold nobody any longer,
// whether that was committed before somebody is held back or is just then.
func hoursChange(t *testing.T, r *rig) {
	t.Helper()
	held := func(what string, m candidate, j judged, want bool) {
		t.Helper()
		if err := r.s.putOff(t.Context(), r.pool, m, j); err != nil {
			t.Error(what, err)
		}
		var quiet bool
		const q = `select until > clock_timestamp() from realtime.push_held where channel_id = $1 and user_id = $2`
		if err := r.pool.QueryRow(t.Context(), q, m.channel, demo.Bob).Scan(&quiet); err != nil || quiet != want {
			t.Errorf("%s: held until later: %v, %v", what, quiet, err)
		}
	}
	judge := func() judged {
		t.Helper()
		r.quiet(demo.Bob, -time.Hour, time.Hour)
		j, err := r.s.judge(t.Context(), r.pool, "primary", []uuid.UUID{demo.Bob})
		if err != nil || len(j.held) != 1 {
			t.Fatal(j, err)
		}
		return j
	}
	h, bob := Hours{r.pool}, viewer.Of("primary", demo.Bob)
	held("as they are", candidate{tenant: "primary", channel: demo.Team, seq: 1}, judge(), true)
	j := judge()
	if _, err := h.Set(t.Context(), bob, nil); err != nil {
		t.Fatal(err)
	}
	held("taken away", candidate{tenant: "primary", channel: demo.General, seq: 1}, j, false)
	j = judge()
	r.quiet(demo.Bob, time.Hour, 2*time.Hour)
	held("changed", candidate{tenant: "primary", channel: demo.AliceBob, seq: 1}, j, false)

	j = judge()
	r.exec(`delete from realtime.push_held`)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	for _, q := range []string{`delete from realtime.quiet_hours`, `update realtime.push_held set until = clock_timestamp()`} { // as Set does
		if _, err := tx.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		held("just then", candidate{tenant: "primary", channel: demo.Team, seq: 2}, j, false)
	}()
	pgtest.WaitsForLock(t, r.pool, 1, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
}

// anotherLetsGo: who is held back anew while another node lets go of what was held before
// is held.
func anotherLetsGo(t *testing.T, r *rig) {
	t.Helper()
	hold := func(seq int64) error {
		return r.s.putOff(t.Context(), r.pool, candidate{tenant: "primary", channel: demo.Team, seq: seq},
			judged{held: []uuid.UUID{demo.Bob}, until: []time.Time{time.Now().Add(time.Hour)}, by: []string{""}})
	}
	if err := hold(1); err != nil {
		t.Fatal(err)
	}
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `delete from realtime.push_held`); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := hold(2); err != nil {
			t.Error(err)
		}
	}()
	pgtest.WaitsForLock(t, r.pool, 1, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	var seq int64
	if err := r.pool.QueryRow(t.Context(), `select coalesce(sum(seq), 0) from realtime.push_held`).Scan(&seq); err != nil || seq != 2 {
		t.Errorf("held from %d on, %v", seq, err)
	}
}
