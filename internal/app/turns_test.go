package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// drained has a stream end with the test.
func drained[T any](t *testing.T, what string, in <-chan T, err error) <-chan T {
	t.Helper()
	if err != nil {
		t.Fatal(what, err)
	}
	t.Cleanup(func() {
		for range in { //nolint:revive // until it has ended
		}
	})
	return in
}

func came[T any](t *testing.T, what string, in <-chan T) T {
	t.Helper()
	select {
	case x, ok := <-in:
		if !ok {
			t.Fatal(what, "has ended")
		}
		return x
	case <-time.After(time.Minute):
		t.Fatal(what, "tells nothing")
	}
	panic("unreachable")
}

// TestWhatStreamsReadTakesTurns: while all of a user's turns are taken everything
// that its subscriptions read after their beginning waits, each for one turn: what was
// missed, deliveries, counts, relations, members, and what many streams of it
// acknowledge, once. Another's go on. When there are turns again all of it is told.
func TestWhatStreamsReadTakesTurns(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"FIELDS_AT_ONCE": "2"})
	db := pgtest.Pool(t, p.config.DatabaseURL)
	carol, bob, key := viewer.Of("primary", demo.Carol), viewer.Of("primary", demo.Bob), "primary/"+demo.Carol.String()
	ctx, cancel := context.WithCancel(auth.With(t.Context(), auth.Identity{Tenant: "primary", UserID: demo.Carol, Role: "user", Via: auth.ViaJWT}))
	others, stop := context.WithCancel(auth.With(t.Context(), auth.Identity{Tenant: "primary", UserID: demo.Bob, Role: "user", Via: auth.ViaJWT}))
	t.Cleanup(stop)
	t.Cleanup(cancel)
	fail := func(err error) {
		if ctx.Err() == nil {
			t.Error(err)
		}
	}
	says := func(from uuid.UUID, text string) (id uuid.UUID) {
		t.Helper()
		if err := db.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, $3) returning id`, demo.Team, from, text).Scan(&id); err != nil {
			t.Fatal(err)
		}
		p.feed.Committed()
		return id
	}
	before := here(t, p, ctx, carol)
	says(demo.Alice, "before this node began")
	mine := says(demo.Carol, "and by carol")
	if err := p.feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(t, p)

	var held []func()
	for range 2 {
		done, err := p.budgets.turns.Take(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, done)
	}
	waiting := 0
	waits := func(what string, more int) {
		t.Helper()
		waiting += more
		soon(t, what, func() bool { return p.budgets.turns.Waiting(key) == waiting })
	}
	replay, err := p.events.Events(ctx, carol, events.Query{Cursor: before, Kinds: []events.Kind{events.KindMessages}}, fail)
	drained(t, "replay", replay, err)
	waits("what was missed", 1)
	sums, err := p.events.Totals(ctx, carol, fail)
	drained(t, "totals", sums, err)
	waits("totals", 1)
	seen := drained(t, "presence", p.presence.Watch.Presence(ctx, carol, []uuid.UUID{demo.Alice}), nil)
	waits("relations", 1)
	page, err := p.presence.Watch.Window(ctx, carol, demo.Team, nil, nil, fail)
	drained(t, "window", page, err)
	waits("members", 1)
	states, err := p.events.ReadStates(ctx, carol, fail)
	drained(t, "read states", states, err)
	passed, err := p.events.Deliveries(ctx, carol, nil, fail)
	drained(t, "deliveries", passed, err)
	if _, err := p.receipts.Acknowledge(t.Context(), bob, []receipt.Mark{{Channel: demo.Team, Message: mine}}, false); err != nil {
		t.Fatal(err)
	}
	waits("deliveries", 1)
	var told []<-chan events.MessageEvent
	for range 5 {
		list, err := p.events.Messages(ctx, carol, demo.Team, true, fail)
		told = append(told, drained(t, "messages", list, err))
	}
	bobs, err := p.events.Totals(others, bob, fail)
	drained(t, "bob's totals", bobs, err)
	came(t, "bob's totals", bobs)
	last := says(demo.Alice, "to be drained")
	came(t, "bob's totals", bobs)
	for _, list := range told {
		if m := came(t, "messages", list); m.Message.ID != last {
			t.Fatalf("%+v comes", m)
		}
	}
	waits("counts, and what five streams acknowledge", 2)

	for _, done := range held {
		done()
	}
	if e := came(t, "replay", replay); e.Payload == nil {
		t.Errorf("%+v", e)
	}
	came(t, "totals", sums)
	came(t, "presence", seen)
	came(t, "window", page)
	came(t, "read states", states)
	for came(t, "deliveries", passed).MessageID != mine { //nolint:revive // what she had written before comes too
	}
	soon(t, "it is delivered", func() bool {
		list, err := p.receipts.Deliveries(t.Context(), viewer.Of("primary", demo.Alice), []uuid.UUID{last})
		return err == nil && len(list) == 1 && list[0].DeliveredCount == 1
	})
	waiting = 0
	waits("nothing", 0)
}

// TestUnreadReplaysHaveABudget: of a user's streams only so many hold what they have read
// for themselves and nobody takes; the others wait, with no turn of the database's. Where one
// ends, or is read, the next goes on, and another user's wait for none of them.
func TestUnreadReplaysHaveABudget(t *testing.T) {
	t.Parallel()
	const all = replaysAtOnce + 4
	p := built(t, map[string]string{"FIELDS_AT_ONCE": "2"})
	db := pgtest.Pool(t, p.config.DatabaseURL)
	carol, key := viewer.Of("primary", demo.Carol), "primary/"+demo.Carol.String()
	as := func(user uuid.UUID) context.Context {
		return auth.With(t.Context(), auth.Identity{Tenant: "primary", UserID: user, Role: "user", Via: auth.ViaJWT})
	}
	before, bobs := here(t, p, as(demo.Carol), carol), here(t, p, as(demo.Bob), viewer.Of("primary", demo.Bob))
	var id uuid.UUID
	if err := db.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'x') returning id`, demo.Team, demo.Alice).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := p.feed.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(t, p) // and its tail begins after that
	replay := func(user uuid.UUID, cursor string) (out <-chan events.Event, end context.CancelFunc) {
		ctx, end := context.WithCancel(as(user))
		out, err := p.events.Events(ctx, viewer.Of("primary", user), events.Query{Cursor: cursor, Kinds: []events.Kind{events.KindMessages}}, func(error) {})
		drained(t, "replay", out, err)
		t.Cleanup(end)
		return out, end
	}
	brings := func(out <-chan events.Event) {
		t.Helper()
		if e, ok := came(t, "replay", out).Payload.(events.MessageCreated); !ok || e.Message.ID != id {
			t.Errorf("%+v comes", e)
		}
	}
	waits := func(want int) {
		t.Helper()
		soon(t, fmt.Sprint(want, " wait"), func() bool { return p.budgets.replays.Waiting(key) == want && p.budgets.turns.Waiting(key) == 0 })
	}
	var outs []<-chan events.Event
	var ends []context.CancelFunc
	for i := range all {
		out, end := replay(demo.Carol, before)
		outs, ends = append(outs, out), append(ends, end)
		if i == replaysAtOnce-1 {
			waits(0)
		}
	}
	waits(all - replaysAtOnce)
	var turns []func()
	for range 2 { // all that she may have at a time
		done, err := p.budgets.turns.Take(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		turns = append(turns, done)
	}
	other, _ := replay(demo.Bob, bobs)
	brings(other)
	for _, done := range turns {
		done()
	}
	ends[0]()
	waits(all - replaysAtOnce - 1)
	for _, out := range outs[1:] {
		brings(out)
	}
	waits(0)
}

// here is where the log is, for a viewer.
func here(t *testing.T, p *parts, ctx context.Context, v viewer.Viewer) (cursor string) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	out, err := p.events.Events(ctx, v, events.Query{Kinds: []events.Kind{events.KindMessages}}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	cursor = came(t, "the first", out).Cursor
	cancel()
	for range out { //nolint:revive // until it has ended
	}
	return cursor
}

// act calls an action as Hasura does.
func act(ctx context.Context, h http.Handler, user uuid.UUID, name, input string) (int, string) {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/hasura/actions/"+name, strings.NewReader(fmt.Sprintf(
		`{"action":{"name":%q},"input":%s,"session_variables":{"x-hasura-role":"user","x-hasura-user-id":%q}}`, name, input, user)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Nchat-Webhook-Secret", testHooks)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestActionsArePaidFor: an action of Hasura's costs what the root field costs that
// does the same, messages by their size, and waits for its turn.
func TestActionsArePaidFor(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"POINTS_PER_MINUTE": "12", "MESSAGES_PER_MINUTE": "4", "FIELDS_AT_ONCE": "1"})
	h := publicHandler(p)
	do := func(ctx context.Context, user uuid.UUID, name, input string) (int, string) {
		return act(ctx, h, user, name, input)
	}
	who := fmt.Sprintf(`{"channelId":%q}`, demo.Team)
	for i, want := range []int{200, 200, 400} { // five points each
		if code, body := do(t.Context(), demo.Bob, "whoIsOnline", who); code != want || want != 200 && !strings.Contains(body, "more than 12 points a minute") {
			t.Errorf("whoIsOnline, %d: %d %s", i, code, body)
		}
	}
	send := fmt.Sprintf(`{"channelId":%q,"content":%q}`, demo.Team, strings.Repeat("x", 9000)) // three each
	for i, want := range []int{200, 400} {
		if code, body := do(t.Context(), demo.Carol, "sendChatMessage", send); code != want || want != 200 && !strings.Contains(body, "more than 4 messages a minute") {
			t.Errorf("sendChatMessage, %d: %d %s", i, code, body)
		}
	}
	key := "primary/" + demo.Alice.String()
	done, err := p.budgets.turns.Take(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		code, _ := do(t.Context(), demo.Alice, "whoIsOnline", who)
		answered <- code
	}()
	soon(t, "it waits for its turn", func() bool { return p.budgets.turns.Waiting(key) == 1 })
	done()
	if code := came(t, "it", answered); code != 200 {
		t.Errorf("in its turn: %d", code)
	}
	if p.budgets.turns.Waiting(key) != 0 {
		t.Error("it waits still")
	}
	if again, err := p.budgets.turns.Take(t.Context(), key); err != nil {
		t.Error(err)
	} else {
		again()
	}
}

// TestAJoinsDocument beside Hasura's secret: fields without number in one root field
// are refused before they are parsed, and a long document is paid for.
func TestAJoinsDocument(t *testing.T) {
	t.Parallel()
	h := publicHandler(built(t, map[string]string{"POINTS_PER_MINUTE": "500"}))
	bearing := []string{"x-nchat-webhook-secret", testHooks, "x-hasura-role", "user", "x-hasura-user-id", demo.Bob.String()}
	if _, body := ask(t, h, "{ myPresence {"+aliases(300, "status")+"} }", bearing...); !strings.Contains(body, "one name more than 250 times in one root field") {
		t.Errorf("300 names of a field: %.300s", body)
	}
	join := "{" + aliases(3000, `presence(userId: "`+demo.Alice.String()+`") { status }`) + "}" // some 170 kB for 60 points
	if _, body := ask(t, h, join, bearing...); strings.Contains(body, `"errors"`) {
		t.Errorf("a join: %.300s", body)
	}
	if _, body := ask(t, h, join+strings.Repeat(" ", 1<<20), bearing...); !strings.Contains(body, "points a minute") {
		t.Errorf("one of a megabyte more: %.300s", body)
	}
}
