package wsock

import (
	"context"
	"encoding/json"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

func TestTheUrgentLaneIsBounded(t *testing.T) {
	t.Parallel()
	q := newQueue(4, 1000)
	if !q.urgent(frame{data: make([]byte, 5000)}) {
		t.Error("a large answer does not go at all")
	}
	if q.urgent(frame{data: make([]byte, 1)}) {
		t.Error("more bytes than the queue may hold")
	}
	q = newQueue(4, 1000)
	for range urgentMost {
		if !q.urgent(frame{}) {
			t.Fatal("refused early")
		}
	}
	if q.urgent(frame{}) {
		t.Error("more frames than the lane may hold")
	}
	for range urgentMost {
		if _, ok := q.pop(chunk); !ok {
			t.Fatal("closed")
		}
	}
	if !q.urgent(frame{data: make([]byte, 900)}) || q.urgent(frame{data: make([]byte, 101)}) {
		t.Error("what was taken still counts, or what waits does not")
	}
}

func TestDataWaitsForRoomAndUrgentGoesAhead(t *testing.T) {
	t.Parallel()
	q := newQueue(2, 1000)
	ended, end := context.WithCancel(t.Context())
	end()
	put := func(ctx context.Context, n int) bool { return q.put(ctx, frame{data: make([]byte, n)}) }
	if !put(t.Context(), 600) || put(ended, 1) {
		t.Error("the first goes, and nothing of an ended operation")
	}
	got := make(chan bool)
	go func() { got <- put(t.Context(), 600) }() // more bytes than there is room for
	q.urgent(frame{kind: 1})
	for i, want := range []int{1, 0, 0} {
		if f, ok := take(q); !ok || f.kind != want || (want == 0 && len(f.data) != 600) {
			t.Errorf("frame %d: %+v %v", i, f.kind, ok)
		}
	}
	if !<-got {
		t.Error("it waited in vain")
	}
	put(t.Context(), 1)
	put(t.Context(), 1)
	go func() { got <- put(t.Context(), 1) }() // more frames than there is room for
	q.close([]byte("bye"))
	if <-got || put(t.Context(), 1) {
		t.Error("let into a closed queue")
	}
	if _, ok := q.pop(chunk); ok || string(q.last()) != "bye" {
		t.Error("not closed")
	}
}

// flowing is a subscription that always has more to say.
func flowing(q *queue, r *runner, f frame) *task {
	x := &task{r: r}
	x.do = func() {
		for q.last() == nil && q.space(x) {
			q.add(f)
		}
		if !x.rest() {
			r.step(x)
		}
	}
	r.step(x)
	return x
}

// TestALargeFrameComesBesideAFlow that fills what each frame leaves, however slow the
// peer is, and beside another large one.
func TestALargeFrameComesBesideAFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r runner
		q := newQueue(256, 1<<20)
		flowing(q, &r, frame{data: make([]byte, 16<<10)})
		synctest.Wait()
		for range 2 {
			go q.put(t.Context(), frame{data: make([]byte, 600<<10), kind: 1})
		}
		came := 0
		for range 200 { // 1 MiB is 64 of the flow's
			synctest.Wait()
			if f, _ := q.pop(math.MaxInt); f.kind == 1 {
				came++
			}
			if _, bytes := q.waiting(); bytes > 1<<20+16<<10 {
				t.Fatalf("%d bytes wait", bytes)
			}
		}
		if came != 2 {
			t.Errorf("%d of two came", came)
		}
		q.close([]byte("bye"))
	})
}

// TestAllOfManyGoOn whose frames wait for the same room.
func TestAllOfManyGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const each, flow = 64, 64
		var r runner
		q, came := newQueue(8, 1000), [each + 1]int{}
		flowing(q, &r, frame{kind: flow})
		for i := range each {
			go func() {
				for q.put(t.Context(), frame{kind: i, data: make([]byte, 1+i*10)}) {
				}
			}()
		}
		for range 20 * (each + 1) {
			synctest.Wait()
			f, _ := q.pop(math.MaxInt)
			came[f.kind]++
		}
		for i, n := range came {
			if n < 18 {
				t.Errorf("%d came %d times in 20 rounds", i, n)
			}
		}
		q.close([]byte("bye"))
	})
}

// TestWhoLeavesTheLineHoldsUpNobody who stands behind it.
func TestWhoLeavesTheLineHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r runner
		q, got := newQueue(8, 1000), make(chan bool, 2)
		put := func(ctx context.Context, n int) { got <- q.put(ctx, frame{data: make([]byte, n)}) }
		put(t.Context(), 500)
		<-got
		ctx, end := context.WithCancel(t.Context())
		woken := &task{r: &r, do: func() {}}
		go put(ctx, 600)
		synctest.Wait()
		go put(t.Context(), 400)
		synctest.Wait()
		if q.space(woken) {
			t.Error("it went past those who wait")
		}
		end()
		synctest.Wait()
		if a, b := <-got, <-got; a == b {
			t.Errorf("both: %v", a)
		}
		if frames, bytes := q.waiting(); frames != 2 || bytes != 900 || len(q.line) != 0 || woken.rest() {
			t.Errorf("%d frames of %d bytes, %d in line", frames, bytes, len(q.line))
		}
	})
}

// take waits for a frame.
func take(q *queue) (frame, bool) {
	for {
		if f, ok := q.pop(chunk); ok {
			return f, true
		}
		runtime.Gosched()
	}
}

func FuzzMessages(f *testing.F) {
	for _, s := range []string{`{"type":"ping","payload":{}}`, `{"id":"1","type":"subscribe","payload":{"query":"{a}","variables":{"a":1}}}`,
		`{"id":null,"type":"x","payload":null}`, `{"type":"a","type":"b"}`, `{"type":"\ud800"}`, ` { "type" : "ping" } `, `{"type":1}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		var plain map[string]any
		bad := json.Unmarshal(data, &plain) != nil
		kind, isText := plain["type"].(string)
		switch id, hasID := plain["id"].(string); {
		case err != nil:
			if !bad && isText && (plain["id"] == nil || hasID && len(id) <= longestID) {
				t.Errorf("refused: %v", err)
			}
			return
		case bad, m.kind != kind, m.hasID != hasID, m.id != id, (m.payload == nil) != (plain["payload"] == nil):
			t.Errorf("%+v of %q", m, data)
		}
		a, ok := askedIn(m)
		if ok && m.id == "" {
			t.Error("a subscribe without an id")
		}
		op := operation{id: m.id}
		if ok {
			want, _ := plain["payload"].(map[string]any)
			query, _ := want["query"].(string)
			vars, _ := want["variables"].(map[string]any)
			if variables, _, err := a.decode(Limits{}.withDefaults()); err != nil || len(variables) != len(vars) || a.params().Query != query {
				t.Errorf("%v, %v of %q", variables, err, data)
			}
		}
		if out := op.envelope("next", []byte(`{}`)); !json.Valid(out) || !utf8.Valid(out) {
			t.Errorf("answered with %q", out)
		}
		if reason := cut(string(data), longestReason); len(reason) > longestReason || !utf8.ValidString(reason) {
			t.Errorf("reason %q", reason)
		}
	})
}
