package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestWhatIsSharedIsWhatEachIsTold: three members run the same document, on a
// socket whose events are encoded once for all, and on one whose events are
// executed for each. Both tell the same, whoever sends, edits and deletes: a
// sender's key and how far its message came to the sender alone; and each gets
// cursors that are its own.
func TestWhatIsSharedIsWhatEachIsTold(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's choices
	const body = `{ id clientMessageId senderId content metadata mentions seq version editedAt deletedAt delivery { totalRecipients } }`
	doc := `subscription { messageChanged(channelId: "` + demo.General.String() + `") { kind cursor message ` + body + ` } }`
	all := `subscription { events(kinds: [messages]) { cursor payload { ... on MessageCreated { message ` + body + ` } ... on MessageUpdated { message ` + body + ` } ... on MessageDeleted { messageId } } } }`
	people := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}
	var socks []*sock
	var shared, alone, everything []<-chan result
	for _, p := range people {
		one, other := n.dial(token(t, p)), n.dial(token(t, p), map[string]any{"autoDeliver": true})
		socks = append(socks, one)
		shared, alone, everything = append(shared, one.start(doc)), append(alone, other.start(doc)), append(everything, one.start(all))
	}
	probes := 0 // they say nothing when they begin
	eventually(t, "all subscriptions stand", func() bool {
		probes++
		n.says(demo.Alice, demo.General, fmt.Sprint("probe", probes), "is this on?")
		for i := range people {
			if len(shared[i]) == 0 || len(alone[i]) == 0 {
				return false
			}
		}
		return true
	})
	last := n.says(demo.Alice, demo.General, "all stand", "all stand")
	for i := range people {
		until(t, shared[i], last)
		until(t, alone[i], last)
	}
	var ids []string
	var by []int
	for step := range 60 {
		who := r.IntN(len(people))
		switch at := r.IntN(max(1, len(ids))); {
		case len(ids) < 3 || r.IntN(3) == 0:
			key := fmt.Sprint("k", step)
			ids = append(ids, field[string](t, socks[who].run(sendMessage(demo.General, key, "said "+key)), "sendMessage", "message", "id"))
			by = append(by, who)
		case r.IntN(4) == 0:
			socks[by[at]].run(fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id } }`, ids[at]))
			ids, by = append(ids[:at], ids[at+1:]...), append(by[:at], by[at+1:]...)
		default:
			socks[by[at]].run(fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "edited %d", baseVersion: 1) { message { id } } }`, ids[at], step))
		}
	}
	end := field[string](t, socks[0].run(sendMessage(demo.General, "end", "the end")), "sendMessage", "message", "id")
	told := make([][]any, len(people))
	cursors := map[string]int{}
	for i, p := range people {
		var others []any
		told[i], others = allUntil(t, shared[i], end, i, cursors), allUntil(t, alone[i], end, i, cursors)
		if len(told[i]) < 20 || len(told[i]) != len(others) {
			t.Fatalf("%s is told %d events, and by itself %d", p, len(told[i]), len(others))
		}
		alike := 0
		for k, x := range told[i] { // a message that changed again meanwhile may be told as it is by then
			one, other := message(x), message(others[k])
			if one["id"] != other["id"] {
				t.Fatalf("%s, event %d: %v, and by itself %v", p, k, x, others[k])
			}
			if one["version"] == other["version"] {
				if alike++; !reflect.DeepEqual(x, others[k]) {
					t.Errorf("%s, event %d: %v, and by itself %v", p, k, x, others[k])
				}
			}
		}
		if alike < 10 {
			t.Errorf("%d events could be compared", alike)
		}
		compareEvents(t, everything[i], others, end)
		for _, x := range told[i] {
			m := message(x)
			if own := m["senderId"] == p.String(); !own && (m["clientMessageId"] != nil || m["delivery"] != nil) || own && m["deletedAt"] == nil && m["delivery"] == nil {
				t.Errorf("%s is told of a message of %v: %v", p, m["senderId"], m)
			}
		}
	}
	for cursor, i := range cursors { // one of each is enough
		delete(cursors, cursor)
		for k, p := range people {
			_, refused := fieldOf(n.post(fmt.Sprintf(`{ sync(cursor: %q) { hasMore } }`, cursor), bearer(token(t, p))))
			if refused != (k != i) {
				t.Errorf("%s asks with a cursor of %s: refused is %v", p, people[i], refused)
			}
		}
		if len(cursors) < 3*len(told[0]) {
			break
		}
	}
}

// compareEvents: the one subscription to everything tells of messages as by itself.
func compareEvents(t *testing.T, c <-chan result, alone []any, end string) {
	t.Helper()
	by, alike := map[string]map[string]any{}, 0
	version := func(m map[string]any) string { return fmt.Sprint(m["id"], "/", m["version"]) }
	for _, x := range alone {
		by[version(message(x))] = message(x)
	}
	for {
		var got struct {
			Events struct {
				Cursor  string
				Payload map[string]any
			}
		}
		r := next(t, c)
		if err := json.Unmarshal(r.Data, &got); err != nil || len(r.Errors) > 0 {
			t.Fatalf("%s %v", r, err)
		}
		if !sealed.MatchString(got.Events.Cursor) {
			t.Errorf("no cursor: %s", r)
		}
		m := message(got.Events.Payload)
		if m["id"] == end {
			break
		}
		if same := by[version(m)]; same != nil {
			if alike++; !reflect.DeepEqual(m, same) {
				t.Errorf("events tells %v, and by itself %v", m, same)
			}
		}
	}
	if alike < 10 {
		t.Errorf("%d events could be compared", alike)
	}
}

func message(event any) map[string]any {
	e, _ := event.(map[string]any)
	m, _ := e["message"].(map[string]any)
	return m
}

func fieldOf(r result) (string, bool) { return r.String(), len(r.Errors) > 0 }

var sealed = regexp.MustCompile(`^[A-Za-z0-9_-]{100,}$`)

// allUntil are the events up to the one of a message, without their cursors,
// which it takes note of.
func allUntil(t *testing.T, c <-chan result, id string, who int, cursors map[string]int) []any {
	t.Helper()
	for out := []any{}; ; {
		r := next(t, c)
		var got struct{ MessageChanged map[string]any }
		if err := json.Unmarshal(r.Data, &got); err != nil || len(r.Errors) > 0 {
			t.Fatalf("%s %v", r, err)
		}
		cursor, _ := got.MessageChanged["cursor"].(string)
		if owner, twice := cursors[cursor]; !sealed.MatchString(cursor) || twice && owner != who {
			t.Errorf("a cursor of another, or none: %q", cursor)
		}
		cursors[cursor] = who
		delete(got.MessageChanged, "cursor")
		m, _ := got.MessageChanged["message"].(map[string]any)
		if m["id"] == id {
			return out
		}
		out = append(out, got.MessageChanged)
	}
}

// TestEachEventIsExecutedForAClass: what many are told alike is executed once,
// whatever users else they ask for; and those who may see less are told less.
func TestEachEventIsExecutedForAClass(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t))
	const doc = `subscription ($u: [uuid!]!) { presenceChanged(userIds: $u) { userId status customStatus { text } } }`
	alice := n.dial(token(t, demo.Alice))
	var told []<-chan result
	for _, viewer := range []uuid.UUID{demo.Bob, demo.Carol, demo.Frank} {
		told = append(told, n.dial(token(t, viewer)).startWith(doc, map[string]any{"u": []uuid.UUID{demo.Alice, viewer}}))
	}
	const rounds = 10
	for i := range rounds {
		line := fmt.Sprint("line ", i)
		alice.run(fmt.Sprintf(`mutation { setCustomStatus(input: {text: %q}) { userId } }`, line))
		for _, c := range told {
			until(t, c, line)
		}
	}
	count := func(whom string) float64 { return n.metric("realtime_events_executed_total", `for="`+whom+`"`) }
	// For itself is executed what the first is told before there is another.
	if class, viewer := count("class"), count("viewer"); class < rounds || class > 2*rounds+10 || viewer > 6 {
		t.Errorf("executed %v times for a class and %v for a viewer, of %d changes to three", class, viewer, rounds)
	}
}
