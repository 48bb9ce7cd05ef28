package message

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// thread is the demo world's, in its general channel.
var thread = uuid.MustParse("00000000-0000-4000-a000-000000000001")

// nchatRig is the demo world in nchat's own tables, with nchat's own triggers.
func nchatRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.Nchat(t)}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	o := Options{Pool: r.pool, Committed: func() {}, Settle: r.settle, Content: 10000, Batch: 100, Log: slog.New(slog.DiscardHandler)}
	r.one, r.two = New(o), New(o)
	return r
}

// TestAnAppsTriggersFindTheirTables: by the search path of whoever sends, and not by that of a
// function of ours; which for the rest of what it does has its own back.
func TestAnAppsTriggersFindTheirTables(t *testing.T) {
	t.Parallel()
	r := nchatRig(t)
	counts := func() [2]int {
		return [2]int{r.count(`select message_count from public.nchat_channels where id = $1`, demo.General), r.count(`select message_count from public.nchat_threads where id = $1`, thread)}
	}
	before := counts()
	in := say("k", demo.General, "hello")
	in.Thread = &thread
	res := r.send(r.one, as(demo.Bob), in)
	if res.Err != nil || res.Message == nil {
		t.Fatal(res.Err)
	}
	if now := counts(); now != [2]int{before[0] + 1, before[1] + 1} {
		t.Errorf("%v messages of the channel and of the thread, before it %v", now, before)
	}
	if m, _, err := r.one.Edit(t.Context(), as(demo.Bob), res.Message.ID, "there", 1); err != nil || *m.Content != "there" {
		t.Error("edited:", err)
	}
	if _, err := r.one.Delete(t.Context(), as(demo.Bob), res.Message.ID); err != nil {
		t.Error("deleted:", err)
	}
	if again := r.send(r.one, as(demo.Bob), in); again.Err != nil || !again.Duplicate {
		t.Errorf("once more: %+v", again)
	}
}

// meanwhile sends something of Bob's in a channel, and does something else there while a trigger
// stops that: which one, when says. done is that one's error.
func (r *rig) meanwhile(when, does string, channel uuid.UUID, send func() error) (sent, done error) {
	r.t.Helper()
	r.exec(`drop trigger if exists stops on public.nchat_messages; create trigger stops ` + when + ` insert on public.nchat_messages for each row execute function stops()`)
	held, err := r.pool.Begin(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.WithoutCancel(r.t.Context())) }()
	if _, err := held.Exec(r.t.Context(), `select pg_advisory_xact_lock(1)`); err != nil {
		r.t.Fatal(err)
	}
	first, second := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(first)
		sent = send()
	}()
	pgtest.WaitsForLock(r.t, r.pool, 1, first)
	go func() {
		defer close(second)
		_, done = r.pool.Exec(r.t.Context(), does, channel)
	}()
	pgtest.WaitsForLock(r.t, r.pool, 2, second)
	if err := held.Commit(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	<-first
	<-second
	return sent, done
}

// channel is a new one, of Alice, Bob and Carol; all of it is in the log.
func (r *rig) channel(name string) (id uuid.UUID) {
	r.t.Helper()
	id = uuid.New()
	r.exec(`insert into public.nchat_channels (id, name, slug, type, member_count, message_count) values ($1, $2, $2, 'private', 0, 0)`, id, name)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) select $1, unnest($2::uuid[])`, id, []uuid.UUID{demo.Alice, demo.Bob, demo.Carol})
	if err := r.settle(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// TestAMemberComesWhileSomebodySends: and others go, and the channel is named anew or ends, before
// the message is written and after it. Whatever the app's triggers lock, nobody is undone for a
// deadlock; the log says it in an order that is true; and a right that was lost meanwhile is none.
func TestAMemberComesWhileSomebodySends(t *testing.T) {
	t.Parallel()
	r := nchatRig(t)
	r.exec(`create function stops() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$`)
	member := func(user uuid.UUID) string {
		return `delete from public.nchat_channel_members where channel_id = $1 and user_id = '` + user.String() + `'`
	}
	join := `insert into public.nchat_channel_members (channel_id, user_id) values ($1, '` + demo.Dave.String() + `')`
	const rename, archive, drop = `update public.nchat_channels set name = 'other' where id = $1`, `update public.nchat_channels set is_archived = true where id = $1`,
		`delete from public.nchat_channels where id = $1`
	for _, c := range []struct {
		what, when, does, said string
		denied                 bool
	}{
		{what: "a member comes first", when: "before", does: join, said: "joined, created"},
		{what: "a member comes after", when: "after", does: join, said: "created, joined"},
		{what: "a member goes first", when: "before", does: member(demo.Carol), said: "left, created"},
		{what: "a member goes after", when: "after", does: member(demo.Carol), said: "created, left"},
		{what: "it is named anew first", when: "before", does: rename, said: "channel, created"},
		{what: "it is named anew after", when: "after", does: rename, said: "created, channel"},
		{what: "it ends after", when: "after", does: drop, said: "created, gone"},
		{what: "the sender goes after", when: "after", does: member(demo.Bob), said: "created, left"},
		{what: "the sender goes first", when: "before", does: member(demo.Bob), said: "left", denied: true},
		{what: "it is archived first", when: "before", does: archive, said: "channel", denied: true},
		{what: "it ends first", when: "before", does: drop, said: "gone", denied: true},
		{what: "the sender goes, and nobody counts members", when: "after", does: member(demo.Bob), said: "left", denied: true},
	} {
		if strings.HasSuffix(c.what, "counts members") {
			r.exec(`drop trigger count_members on public.nchat_channel_members`)
		}
		channel := r.channel(c.what)
		last := r.count(`select realtime.last_pos()`)
		var res Result
		var outcome string
		send := func() (err error) {
			if c.denied {
				res, err = r.one.Send(t.Context(), as(demo.Bob), say(c.what, channel, c.what))
				return err
			} // as the service does, but that it does not try again
			const q = `select outcome from realtime.send_message('primary', $1, $2, '', $3, null, null, $2, 'text', null, null)`
			return r.pool.QueryRow(t.Context(), q, demo.Bob, c.what, channel).Scan(&outcome)
		}
		sent, done := r.meanwhile(c.when, c.does, channel, send)
		if sent != nil || done != nil {
			t.Errorf("%s: %v and %v", c.what, sent, done)
		}
		rows := r.count(`select count(*) from public.nchat_messages where content = $1`, c.what) + r.count(`select count(*) from realtime.client_keys where client_message_id = $1`, c.what)
		counted := r.count(`select coalesce(sum(message_count), 0) from public.nchat_channels where id = $1`, channel)
		if c.denied && (res.Err == nil || *res.Err != *fault.Access() || rows != 0 || counted != 0) {
			t.Errorf("%s: %v, and %d rows are left of it, %d counted", c.what, res.Err, rows, counted)
		}
		if !c.denied && outcome != "sent" {
			t.Errorf("%s: %s", c.what, outcome)
		}
		if err := r.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		var said string
		const q = `select coalesce(string_agg(kind, ', ' order by pos), '') from realtime.log where pos > $1 and not (kind = 'left' and $2 like '%ends%')`
		if err := r.pool.QueryRow(t.Context(), q, last, c.what).Scan(&said); err != nil || said != c.said {
			t.Errorf("%s: the log says %q, want %q: %v", c.what, said, c.said, err)
		}
	}
	if n := r.count(`select count(*) from realtime.unnoted()`); n != 0 {
		t.Errorf("%d changes are not in the log", n)
	}
}

// TestWhoIsBeingRemovedWaits: what is not committed yet when somebody sends decides about it.
func TestWhoIsBeingRemovedWaits(t *testing.T) {
	t.Parallel()
	r := nchatRig(t)
	r.exec(`drop trigger count_members on public.nchat_channel_members`) // that would have it wait too
	for what, stays := range map[string]bool{"removed": false, "and not, after all": true} {
		channel := r.channel(what)
		tx, err := r.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
		if _, err := tx.Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, channel, demo.Bob); err != nil {
			t.Fatal(err)
		}
		var res Result
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, err = r.one.Send(t.Context(), as(demo.Bob), say(what, channel, what))
		}()
		pgtest.WaitsForLock(r.t, r.pool, 1, done)
		end := tx.Commit
		if stays {
			end = tx.Rollback
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-done
		if err != nil || stays && res.Err != nil || !stays && (res.Err == nil || *res.Err != *fault.Access()) {
			t.Errorf("%s: %v, %v", what, res.Err, err)
		}
	}
}
