package wsock_test

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

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
	payload := strings.Repeat("x", 64<<10)
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
