package wsock_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// A stream of state is not even asked while its reader is slow, so that it
// coalesces; when the reader goes on, it gets what is true then.
func TestStateCoalescesForASlowReader(t *testing.T) {
	t.Parallel()
	const changes = 2000
	r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedFrames: 4, QueuedBytes: 32 << 10, WriteTimeout: patience}})
	p := r.modern(t)
	p.subscribe("s", "subscription { state }")
	p.wantOf("s", "next")
	for range changes { // nothing is read meanwhile
		r.schema.state.Add(1)
		select {
		case r.schema.gate <- struct{}{}: // it is waiting for news
		default:
			continue
		}
	}
	close(r.schema.gate)
	if made := r.schema.made.Load(); made > changes/2 {
		t.Fatalf("%d of %d changes were made into responses nobody reads", made, changes)
	}
	for seen, last := int64(0), int64(0); seen != changes; last = seen {
		m := p.wantOf("s", "next")
		var body struct{ Data struct{ State string } }
		if err := json.Unmarshal(m.Payload, &body); err != nil {
			t.Fatal(err)
		}
		var err error
		if seen, err = strconv.ParseInt(strings.TrimRight(body.Data.State, "."), 10, 64); err != nil || seen < last {
			t.Fatalf("%d after %d: %v", seen, last, err)
		}
	}
	p.send(`{"id":"s","type":"complete"}`)
	p.settle()
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 100 << 10, WriteTimeout: time.Second}})
	quick, slow := r.modern(t), r.modern(t)
	quick.subscribe("1", "subscription { gatedTicks }")
	r.stall(t, slow)
	made := r.schema.made.Load()
	for range 200 {
		r.schema.gate <- struct{}{}
		quick.wantOf("1", "next")
	}
	if now := r.schema.made.Load(); now != made {
		t.Errorf("%d responses were made for a reader that takes none", now-made)
	}
	got := r.ending(t)
	if got.Code != 4499 || got.ByPeer {
		t.Errorf("%+v", got)
	}
	eventually(t, "only the quick one is left", func() bool { return r.Len() == 1 && r.schema.live.Load() == 1 })
	quick.settle()
}

// A message that takes longer than the write deadline is no reason to give up
// a reader that takes it, bit by bit.
func TestASlowLinkIsNotADeadOne(t *testing.T) {
	const bit, kb, limit = 8 << 10, 192, time.Second
	inBubble(t, wsock.Options{Limits: wsock.Limits{WriteTimeout: limit}}, func(b *bubble) {
		c, _ := b.dial(wsock.TransportWS)
		next := func() (m said) {
			if err := c.ws.ReadJSON(&m); err != nil {
				b.t.Fatal(err)
			}
			return m
		}
		c.send(`{"type":"connection_init"}`)
		if m := next(); m.Type != "connection_ack" {
			b.t.Fatalf("%+v", m)
		}
		c.subscribe("1", "{ big(kb: 192) }")
		_, message, err := c.ws.NextReader()
		if err != nil {
			b.t.Fatal(err)
		}
		began, size := time.Now(), int64(0)
		for err == nil {
			pause(60 * time.Millisecond)
			var n int64
			n, err = io.CopyN(io.Discard, message, bit)
			size += n
		}
		if size < kb<<10 {
			b.t.Fatalf("%d bytes: %v", size, err)
		}
		if d := time.Since(began); d < limit {
			b.t.Fatalf("read in %v: this proves nothing", d)
		}
		if m := next(); m.Type != "complete" {
			b.t.Fatalf("%+v", m)
		}
	})
}

func TestAPeerThatAsksAndDoesNotReadIsGivenUp(t *testing.T) {
	t.Parallel()
	payload := strings.Repeat("x", 3<<10)
	for name, ask := range map[string]func(p *peer) error{
		"ping": func(p *peer) error {
			return p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","payload":{"x":"`+payload+`"}}`))
		},
		"refused operations": func(p *peer) error {
			return p.ws.WriteMessage(websocket.TextMessage, []byte(`{"id":"`+payload[:1000]+`","type":"subscribe","payload":{"query":"{hello}"}}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 256 << 10, Operations: 1, MessageRate: 1e6, WriteTimeout: time.Hour}})
			r.wide = true
			p := r.modern(t)
			p.subscribe("1", "subscription { forever }")
			for ask(p) == nil { //nolint:revive // until it is cut off
			}
			if got := r.ending(t); got.Code != 4499 || got.ByPeer {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAFloodIsReadNoFasterThanAllowed(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]int{"messages": websocket.TextMessage, "control frames": websocket.PongMessage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rate = 100 // of pongs: ten for each message that counts
			r := newRig(t, wsock.Options{Limits: wsock.Limits{MessageRate: rate / 10}})
			p := r.modern(t)
			began := time.Now()
			for range 10*rate + rate/2 { // a burst of ten seconds' worth, and half a second
				if err := p.ws.WriteMessage(kind, []byte(`{"type":"pong"}`)); err != nil {
					t.Fatal(err)
				}
			}
			p.settle()
			if d := time.Since(began); d < 400*time.Millisecond {
				t.Errorf("read in %v", d)
			}
		})
	}
}

// roomFor is a rig with room for so many bytes of answers, and how many are held.
func roomFor(t *testing.T, most int64) (r *rig, held, refused *atomic.Int64) {
	t.Helper()
	held, refused = new(atomic.Int64), new(atomic.Int64)
	r = newRig(t, wsock.Options{Limits: wsock.Limits{WriteTimeout: time.Hour}, Room: func(_ context.Context, bytes int) (func(), error) {
		if held.Add(int64(bytes)) > most {
			held.Add(-int64(bytes))
			refused.Add(1)
			return nil, fault.Later(fault.RateLimited, time.Second, "no room")
		}
		return func() { held.Add(-int64(bytes)) }, nil
	}})
	return r, held, refused
}

const noRoom = `[{"message":"no room","extensions":{"code":"rate-limited","retryAfterMs":1000,"retryable":true}}]`

// TestUnreadAnswersHaveABudget: large ones, and a subscription's events, that a peer does
// not read are held as far as there is room, and the others refused. Whatever becomes of
// them, what was held is given back.
func TestUnreadAnswersHaveABudget(t *testing.T) {
	t.Parallel()
	const all, fit, kb, room = 10, 3, 70, 250 << 10
	for name, ask := range map[string]string{"answers": "{ big(kb: 70) }", "events": "subscription { flood(kb: 70) }"} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " read: ", reads), func(t *testing.T) {
				t.Parallel()
				r, held, refused := roomFor(t, room)
				p := r.modern(t)
				for i := range all {
					p.subscribe(strconv.Itoa(i), ask)
				}
				eventually(t, "those that do not fit are refused", func() bool { return refused.Load() == all-fit })
				if n := held.Load(); n < fit*(kb<<10) || n > room {
					t.Errorf("%d bytes are held", n)
				}
				if tcp, ok := p.ws.NetConn().(*net.TCPConn); ok && reads {
					_ = tcp.SetReadBuffer(1 << 20)
				}
				switch {
				case !reads:
					_ = p.ws.NetConn().Close()
				case name == "events":
					for i := range all {
						p.send(fmt.Sprintf(`{"id":"%d","type":"complete"}`, i))
					}
					go func() {
						for err := error(nil); err == nil; {
							_, err = p.read()
						}
					}()
				default:
					for range all + fit { // the ends of those that fit
						if m := p.next(); m.Type == "error" && string(m.Payload) != noRoom {
							t.Errorf("%s", m.Payload)
						}
					}
				}
				eventually(t, "all is given back", func() bool { return held.Load() == 0 })
			})
		}
	}
}

// TestAMutationThatRanIsNotToBeTriedAgain: what might be refused for its answer is refused
// before it runs; what ran and cannot be answered whole says that it ran.
func TestAMutationThatRanIsNotToBeTriedAgain(t *testing.T) {
	t.Parallel()
	const ran = `{"errors":[{"message":"it was carried out; its answer is larger than there is room for: ask for less","extensions":{"code":"validation-failed","retryable":false}}],"data":null}`
	much := `mutation { set(v: "` + strings.Repeat("x", 20<<10) + `") }`
	for name, c := range map[string]struct {
		room  int64
		query string
		want  string // what its payload begins with
		runs  int64
	}{
		"small":                 {0, `mutation { set(v: "x") }`, `{"data":{"set":"x"}}`, 1},
		"much is sent":          {0, much, noRoom, 0},
		"much is sent, and may": {200 << 10, much, `{"data":{"set":"xxx`, 1},
		"much is answered":      {0, "mutation { swell(kb: 70) }", ran, 1},
		"and may":               {200 << 10, "mutation { swell(kb: 70) }", `{"data":{"swell":"xxx`, 1},
	} {
		r, held, _ := roomFor(t, c.room)
		p := r.modern(t)
		p.subscribe("1", c.query)
		if m := p.next(); !strings.HasPrefix(string(m.Payload), c.want) || r.schema.ran.Load() != c.runs {
			t.Errorf("%s: %.300s, and %d ran", name, m.Payload, r.schema.ran.Load())
		} else if m.Type == "next" {
			p.wantOf("1", "complete")
		}
		eventually(t, "all is given back", func() bool { return held.Load() == 0 })
	}
}
