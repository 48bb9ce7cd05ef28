package webhook_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

const remembered = `select count(*) from realtime.hasura_events`

// TestAnEventIsTakenOnce, and whatever it says, the row is read as it is.
func TestAnEventIsTakenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, world(t))
	// Written past the triggers, as by a restore: only the event tells of it.
	r.exec(`alter table public.nchat_messages disable trigger user`)
	const id = "00000000-0000-4000-b000-000000000099"
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'restored')`, id, demo.Team, demo.Alice)
	r.exec(`alter table public.nchat_messages enable trigger user`)
	noted := func() int {
		r.exec(`select realtime.sequence(10000, false, true)`)
		return r.count(`select count(*) from realtime.log where message_id = $1 and kind = 'created'`, id)
	}
	if noted() != 0 {
		t.Fatal("the trigger was not past")
	}
	body := event("once", "nchat_messages", fmt.Sprintf(`{"id":%q,"content":"what the event says"}`, id))
	for i, want := range []string{`"duplicate":false`, `"duplicate":true`} {
		if w := r.post("/hasura/events/t", body); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("delivery %d: %d %s", i+1, w.Code, w.Body)
		}
		if n := noted(); n != 1 {
			t.Errorf("delivery %d: it was created %d times", i+1, n)
		}
	}
	if r.committed.Load() == 0 {
		t.Error("nobody was told that something waits")
	}
	// Another event of the same row says nothing new.
	if w := r.post("/hasura/events/t", event("again", "nchat_messages", fmt.Sprintf(`{"id":%q}`, id))); w.Code != 200 || noted() != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestAnEventThatFailedComesBack: it is remembered with what it did, or not at all.
func TestAnEventThatFailedComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, world(t))
	body := event("e", "nchat_users", fmt.Sprintf(`{"id":%q}`, demo.Alice))
	r.exec(`alter function realtime.reconcile_user(uuid) rename to reconcile_away`)
	if w := r.post("/hasura/events/t", body); w.Code != 500 || r.count(remembered) != 0 || strings.Contains(w.Body.String(), "reconcile") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	r.exec(`alter function realtime.reconcile_away(uuid) rename to reconcile_user`)
	if w := r.post("/hasura/events/t", body); w.Code != 200 || !strings.Contains(w.Body.String(), `"duplicate":false`) || r.count(remembered) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestWhatIsNoEventIsTaken: to deliver it again would not mend it, and nothing
// is kept of it.
func TestWhatIsNoEventIsTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, world(t))
	row := fmt.Sprintf(`{"id":%q}`, demo.Alice)
	for what, body := range map[string]string{
		"no JSON":               `{`,
		"no id":                 event("", "nchat_users", row),
		"an id without end":     event(strings.Repeat("x", 201), "nchat_users", row),
		"another trigger's":     strings.Replace(event("e", "nchat_users", row), `"name":"t"`, `"name":"u"`, 1),
		"no row":                event("e", "nchat_users", `null`),
		"a row that is none":    event("e", "nchat_users", `{"id":5}`),
		"of another table":      event("e", "nchat_bookmarks", row),
		"of another schema":     strings.Replace(event("e", "nchat_users", row), `"public"`, `"private"`, 1),
		"a list":                `[]`,
		"an id that is no text": strings.Replace(event("e", "nchat_users", row), `"id":"e"`, `"id":5`, 1),
	} {
		if w := r.post("/hasura/events/t", body); w.Code != 200 || !strings.Contains(w.Body.String(), `"ignored"`) {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	if n := r.count(remembered); n != 0 || r.committed.Load() != 0 {
		t.Errorf("%d are remembered, %d times something was written", n, r.committed.Load())
	}
}

// TestDeliveriesAreForgotten once Hasura has given them up.
func TestDeliveriesAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, world(t))
	r.exec(`insert into realtime.hasura_events (id, at) values ('old', now() - interval '8 days'), ('new', now() - interval '6 days')`)
	if err := sweep.All(t.Context(), r.handler.Sweeps()...); err != nil {
		t.Fatal(err)
	}
	if n := r.count(`select count(*) from realtime.hasura_events where id = 'new'`); n != 1 || r.count(remembered) != 1 {
		t.Errorf("%d kept, of all %d", n, r.count(remembered))
	}
}
