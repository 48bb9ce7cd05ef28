package events

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestADatabaseSetBackIsNoticed: a snapshot of its disk is put in its place, and
// it grows past where it was before anybody looks. It says of itself that it is
// the same; whoever read what is no more is told to begin anew, and everything
// that is there now reaches them.
func TestADatabaseSetBackIsNoticed(t *testing.T) {
	t.Parallel()
	own := pgtest.Cluster(t)
	hole, url := pgtest.NewHole(t, own.Migrated())
	r := rigOn(t, pgtest.Pool(t, url)).run()
	if _, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{}); err != nil {
		t.Fatal(err)
	}
	restore := own.Snapshot()
	r.pool.Reset()

	at := r.synced("")
	for range 3 {
		r.says(demo.Alice, demo.Team, "is taken back")
	}
	old := at
	if at = r.synced(at); at == old {
		t.Fatal("nothing was read")
	}
	live := r.events(bob, Query{Kinds: []Kind{KindMessages}})
	if b, _ := want[StreamReset](t, live); b.Reason != feed.Started {
		t.Fatal(b)
	}
	last := r.says(demo.Alice, demo.Team, "is told, and taken back")
	if m, _ := want[MessageCreated](t, live); m.Message.ID != last {
		t.Fatal(m)
	}
	kept, err := r.o.Feed.Sync(t.Context(), alice, feed.Query{})
	if err != nil {
		t.Fatal(err)
	}

	hole.Shut(true)
	restore()
	wrote := rewritten(t, own)
	hole.Shut(false)
	r.pool.Reset()

	p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: at})
	if err != nil || p.Reset != feed.Changed {
		t.Fatalf("a cursor from what is no more: reset %q, %v", p.Reset, err)
	}
	for _, id := range wrote {
		if !slices.ContainsFunc(p.Messages, func(b feed.Body) bool { m, _ := MessageOf(b); return m.ID == id }) {
			t.Error("the fresh start lacks", id)
		}
	}
	if p, err = r.o.Feed.Sync(t.Context(), alice, feed.Query{Cursor: kept.Cursor}); err != nil || p.Reset != feed.Changed {
		t.Errorf("another's cursor: reset %q, %v", p.Reset, err)
	}
	if p, err = r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: old}); err != nil || p.Reset != "" || len(p.Messages) != len(wrote) {
		t.Errorf("a cursor from before the snapshot: reset %q, %d messages, %v", p.Reset, len(p.Messages), err)
	}
	if b, _ := want[StreamReset](t, live); b.Reason != feed.Changed {
		t.Fatalf("the live stream begins anew because %q", b.Reason)
	}
	next := r.says(demo.Alice, demo.Team, "and on")
	if m, _ := want[MessageCreated](t, live); m.Message.ID != next {
		t.Fatal(m)
	}
}

// synced is bob's cursor after all there is.
func (r *rig) synced(cursor string) string {
	r.t.Helper()
	p, err := r.o.Feed.Sync(r.t.Context(), bob, feed.Query{Cursor: cursor})
	if err != nil || p.Reset != "" {
		r.t.Fatal(p.Reset, err)
	}
	return p.Cursor
}

// rewritten writes more messages than were taken back, and gives them positions.
func rewritten(t *testing.T, own *pgtest.Own) (ids []uuid.UUID) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), own.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for range 7 {
		id := uuid.New()
		ids = append(ids, id)
		const q = `insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'other')`
		if _, err := conn.Exec(t.Context(), q, id, demo.Team, demo.Alice); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `select realtime.sequence(100, false)`); err != nil {
		t.Fatal(err)
	}
	return ids
}
