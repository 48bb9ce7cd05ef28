package door

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func (r *rig) insert(text string) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), `insert into items (text) values ($1)`, text); err != nil {
		r.t.Fatal(err)
	}
}

// silence is one of which all but a second is said to have passed: a short one would be
// any slow machine's.
func silence(r *rig) {
	life, most := r.life(), int64(r.d.times.silence-time.Second)
	r.h.Silence()
	passed := life.Add(-most)
	eventually(r.t, "it is noticed", func() bool {
		if life.Load() > passed { // of a frame that was under way
			passed = life.Add(-most)
		}
		return r.seen.of("lost silent") == 1
	})
}

// life is when the last sign of it came from Hasura.
func (r *rig) life() *atomic.Int64 {
	l := r.link()
	l.mu.Lock()
	defer l.mu.Unlock()
	return &l.cur.seen
}

// losses are the ways in which a socket to Hasura ends.
var losses = map[string]func(r *rig){
	"1012":        func(r *rig) { r.h.Close(1012, "Server state changed, restarting the server") },
	"1000":        func(r *rig) { r.h.Close(1000, "") },
	"no frame":    func(r *rig) { r.h.Close(0, "") },
	"reset":       func(r *rig) { r.h.Close(-1, "") },
	"long reason": func(r *rig) { r.h.Close(1012, strings.Repeat("the reason is long ", 8)) },
	"silence":     silence,
	"garbage":     func(r *rig) { r.h.Say(`{"type":`) },
	"no text":     func(r *rig) { r.h.Say("\"\xff\"") },
	"down for a while": func(r *rig) {
		r.h.Down(true)
		eventually(r.t, "it is dialled again in vain", func() bool { return r.seen.of("dialed unavailable") > 1 })
		r.h.Down(false)
	},
}

// TestALostUpstream: live queries are told what changed and nothing else; ours
// go on; a stream, a query and a mutation each as they must. In both protocols.
func TestALostUpstream(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, protocol string) {
				r := newRig(t, setup{tables: true})
				p := r.open(protocol)
				p.start("ours", `subscription { ours }`)
				p.expect(`"id":"ours"`, `{"ours":0}`)
				p.start("live", `subscription { items { id text } }`)
				p.expect(`"id":"live"`, `"first"`)
				p.start("log", `subscription { items_stream(batch_size: 1, cursor: {initial_value: {id: 0}}) { id } }`)
				p.expect(`"id":"log"`, `"first"`)
				lose(r)
				p.expect(`"id":"log"`, `"type":"error"`, `"code":"upstream-unavailable"`, `"retryable":true`)
				eventually(t, "the live query is subscribed again", func() bool { return r.seen.of("resubscribed") == 1 })
				r.engine.tell(1)
				p.expect(`"id":"ours"`, `{"ours":1}`)
				eventually(t, "its first result is what the client has", func() bool { return r.seen.of("unchanged") == 1 })
				r.insert("second")
				p.expect(`"id":"live"`, `"second"`)
				// Changed while nobody was there: told once.
				r.h.Close(1012, "")
				r.insert("third")
				p.expect(`"id":"live"`, `"third"`)
				p.stop("live")
				if protocol == wsock.LegacyWS {
					p.expect(`"id":"live"`, `"complete"`)
				}
				eventually(t, "a stopped operation ends upstream", func() bool { return r.h.Doing.Load() == 0 })
				if n := r.seen.of("upstream"); n != 1 {
					t.Errorf("%d sockets upstream", n)
				}
			})
		})
	}
}

// TestWhatWasInFlight: a query is asked once more and no more, a mutation never;
// what was not sent yet is, when Hasura is there again.
func TestWhatWasInFlight(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		r := newRig(t, setup{tables: true, double: func(o *double.Options) { o.Era.Payload = double.Object }})
		p := r.open(protocol)
		r.h.Gate(true)
		p.start("q", `{ held }`)
		eventually(t, "asked", func() bool { return r.h.Asked.Load() == 1 })
		r.h.Close(1012, "")
		r.h.Gate(false)
		p.expect(`"id":"q"`, `"done"`)
		p.expect(`"id":"q"`, `"complete"`)
		p.start("q", `{ hang }`)
		eventually(t, "asked", func() bool { return r.h.Asked.Load() == 3 })
		r.h.Close(0, "")
		eventually(t, "asked once more", func() bool { return r.h.Asked.Load() == 4 })
		r.h.Close(0, "")
		p.expect(`"id":"q"`, `"code":"upstream-unavailable"`)
		p.start("m", `mutation { hang }`)
		eventually(t, "asked", func() bool { return r.h.Asked.Load() == 5 })
		r.h.Close(1000, "")
		p.expect(`"id":"m"`, `"code":"outcome-unknown"`, `"retryable":false`)
		for _, text := range []string{`{ half }`, `mutation { half }`} { // what has its result is over, not asked again
			asked := r.h.Asked.Load()
			p.start("h", text)
			p.expect(`"id":"h"`, `of it`)
			r.h.Close(1012, "")
			p.expect(`"id":"h"`, `"complete"`)
			if n := r.h.Asked.Load() - asked; n != 1 {
				t.Errorf("%s was asked %d times", text, n)
			}
		}
		r.h.Down(true)
		p.start("w", `mutation { add(into: "items", text: "waited") }`)
		eventually(t, "it is dialled in vain", func() bool { return r.seen.of("dialed unavailable") > 1 })
		r.h.Down(false)
		p.expect(`"id":"w"`, `{"add":2}`)
		p.expect(`"id":"w"`, `"complete"`)
		if n := r.h.Asked.Load(); n != 8 {
			t.Errorf("%d operations were sent", n)
		}
	})
}

// TestHasuraStaysAway: everything that waits for it ends with an error that says
// so, in time, and ours does not notice.
func TestHasuraStaysAway(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, protocol string) {
		for name, away := range map[string]func(r *rig){
			"down":            func(r *rig) { r.h.Down(true) },
			"503":             func(r *rig) { r.h.Answer(503) },
			"404":             func(r *rig) { r.h.Answer(404) },
			"redirect":        func(r *rig) { r.h.Answer(302) },
			"it never acks":   func(r *rig) { r.h.Hold(true) },
			"it is no Hasura": nil,
			"another echo":    nil,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := setup{tables: true, times: func(x *times) {
					x.first, x.again = time.Second, 2*time.Second
					if name == "it never acks" {
						x.dial = 300 * time.Millisecond
					}
				}}
				if away == nil {
					echo := "soap"
					if name == "another echo" { // the other protocol's, though nobody asked for it
						if echo = wsock.LegacyWS; protocol == echo {
							echo = wsock.TransportWS
						}
					}
					s.double = func(o *double.Options) { o.Era.Echo = echo }
				}
				r := newRig(t, s)
				p := r.open(protocol)
				p.start("ours", `subscription { ours }`)
				p.expect(`"id":"ours"`, `{"ours":0}`)
				live := 0
				if away != nil && name != "it never acks" {
					for live == 0 { // a slow machine may take longer than it is waited for
						p.start("live", `subscription { items { id } }`)
						live = strings.Count(p.expect(`"id":"live"`), `{"items":`)
					}
				}
				if away != nil {
					away(r)
					r.h.Close(1012, "")
					eventually(t, "the loss is noticed", func() bool { return live == 0 || r.seen.of("dialed unavailable") > 0 })
				}
				p.start("new", `{ items { id } }`)
				p.start("change", `mutation { add(into: "items", text: "x") }`)
				said := map[string]bool{}
				for range 2 + live {
					got := p.expect(`"type":"error"`, `"code":"upstream-unavailable"`, `"retryable":true`)
					for _, id := range []string{"live", "new", "change"} {
						if strings.Contains(got, `"id":"`+id+`"`) {
							said[id] = true
						}
					}
				}
				if len(said) != 2+live {
					t.Error("told were", said)
				}
				r.engine.tell(1)
				p.expect(`"id":"ours"`, `{"ours":1}`)
				r.h.Hold(false)
			})
		}
	})
}

// TestEachWaitsItsOwnTime: what has had nothing yet does not wait as long as a live query
// that waits already, and neither as long as the other.
func TestEachWaitsItsOwnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &Link{d: &Door{times: times{first: 10 * time.Second, again: time.Minute}}}
		began := time.Now()
		wait := func(has bool) *op {
			o := &op{since: time.Now(), done: make(chan wsock.End, 1)}
			o.has.Store(has)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.waiting = append(l.waiting, o)
			lateLocked(l)
			return o
		}
		live := wait(true)
		<-time.After(time.Second)
		first := wait(false)
		<-time.After(time.Second)
		second := wait(false)
		for i, o := range []*op{first, second, live} {
			end := <-o.done
			if after, want := time.Since(began), []time.Duration{11 * time.Second, 12 * time.Second, time.Minute}[i]; after != want || end.Err == nil {
				t.Errorf("%d ends after %v, not %v: %v", i, after, want, end.Err)
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.late != nil || len(l.waiting) > 0 {
			t.Error("something waits still")
		}
	})
}

// TestManySocketsAtOnce: a change of metadata closes them all in the same
// second; they come back no faster than the whole node may, and each is told what
// changed and nothing else.
func TestManySocketsAtOnce(t *testing.T) {
	t.Parallel()
	const n = 120
	r := newRig(t, setup{tables: true, times: func(x *times) { x.silence, x.pulse = patient, 5*time.Second },
		double: func(o *double.Options) { o.Poll, o.KeepAlive = 2*time.Second, 5*time.Second }, // so many sockets leave the machine room for anything else
		limits: wsock.Limits{PingEvery: 5 * time.Minute}})                                      // its clients do not read meanwhile
	all := make([]*peer, n)
	for i := range all {
		all[i] = r.open(wsock.TransportWS)
		all[i].start("1", `subscription { items { id text } }`)
		all[i].expect(`"first"`)
	}
	began := time.Now()
	r.h.Close(1012, "")
	eventually(t, "all are subscribed again", func() bool { return r.seen.of("unchanged") == n })
	if least := time.Duration(n-redialsBurst) * time.Second / redialsEach; time.Since(began) < least {
		t.Errorf("all were dialled again in %s: no sooner than in %s", time.Since(began), least)
	}
	r.insert("second")
	for i, p := range all {
		if got := p.expect(`"id":"1"`); !strings.Contains(got, `"second"`) {
			t.Fatal(fmt.Sprint(i), got)
		}
	}
}

// TestASecondUpstreamAtOnce: where another came first, the one that came later is
// closed, and is in no count.
func TestASecondUpstreamAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{tables: true})
	p := r.open(wsock.TransportWS)
	p.start("1", `subscription { items { text } }`)
	p.expect(`"first"`)
	up, err := r.link().dial()
	if err != nil {
		t.Fatal(err)
	}
	r.link().adopt(up)
	eventually(t, "it is closed", func() bool { return r.h.Sockets() == 1 })
	if n := r.seen.of("upstream"); n != 1 {
		t.Errorf("%d sockets are counted", n)
	}
	r.insert("second")
	p.expect(`"second"`)
}
