package wsock

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

// many is a JSON array of n small objects.
func many(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"":0},`, n), ",") + "]" }

// TestExtensionsAreNotKept: of a subscription's a persisted query's version and hash are
// held as long as it lives, and nothing else.
func TestExtensionsAreNotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { forever }","extensions":{"x":` + many(1000) +
		`,"persistedQuery":{"version":1,"sha256Hash":"x","y":` + many(1000) + `}}}}`)
	eventually(t, "it runs", func() bool { return r.engine.running.Load() == 1 })
	if got := fmt.Sprint(r.engine.asked.Load().Extensions); got != "map[persistedQuery:map[sha256Hash:x version:1]]" {
		t.Errorf("kept: %.200s", got)
	}
}

// TestTooManyValues: what would take many times its bytes is refused before it is
// decoded, and costs its operation and not the socket. What is to run elsewhere is not
// decoded at all.
func TestTooManyValues(t *testing.T) {
	t.Parallel()
	seen := make(chan Foreign, 1)
	r := newRig(t, func(o *Options) {
		o.Elsewhere = func(_ context.Context, f Foreign) (End, bool) {
			if f.Params().OperationName != "there" {
				return End{}, false
			}
			seen <- f
			return End{}, true
		}
	})
	p := r.open()
	ask := func(id, name string, n int) {
		p.say(`{"id":"` + id + `","type":"subscribe","payload":{"query":"query ` + name + ` { hello }","operationName":"` + name + `","variables":{"x":` + many(n) + `}}}`)
	}
	ask("1", "here", 3000)
	p.expect(`"id":"1"`, `"next"`)
	p.expect(`"id":"1"`, `"complete"`)
	ask("2", "here", 4000)
	p.expect(`"id":"2"`, `"error"`, "variables have more than 32768 values; an object counts for 8", "validation-failed")
	ask("3", "there", 4000)
	p.expect(`"id":"3"`, `"complete"`)
	if f := <-seen; f.Params().Variables != nil {
		t.Error("they are decoded")
	} else if _, err := f.Whole(); err == nil || len(f.Sent()) < 4000 {
		t.Errorf("%v, %d bytes", err, len(f.Sent()))
	}
}

// TestRoomForASubscriptionsVariables: they are held as long as it lives.
func TestRoomForASubscriptionsVariables(t *testing.T) {
	t.Parallel()
	var held atomic.Int64
	r := newRig(t, func(o *Options) {
		o.Room = func(_ context.Context, bytes int) (func(), error) {
			held.Add(int64(bytes))
			return func() { held.Add(-int64(bytes)) }, nil
		}
	})
	p := r.open()
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { forever }","variables":{"x":` + many(3000) + `}}}`)
	eventually(t, "it runs", func() bool { return r.engine.running.Load() == 1 })
	if n := held.Load(); n < 1<<20 || n > 3<<20 {
		t.Errorf("%d bytes are held", n)
	}
	p.say(`{"id":"1","type":"complete"}`)
	eventually(t, "it is given back", func() bool { return held.Load() == 0 })
}

// TestBeforeTheAckLittleIsTaken: 64 KiB a message, and of a connection_init few values; and
// what the older protocol's clients send ahead is not decoded before it runs. Who is in
// may send more.
func TestBeforeTheAckLittleIsTaken(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	r := newRig(t, func(o *Options) {
		in := o.Init
		o.Init = func(ctx context.Context, q Request) (Accepted, error) {
			if q.Payload["waits"] == true {
				<-let
			}
			return in(ctx, q)
		}
	})
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, protocol := range []string{TransportWS, LegacyWS} {
		p := r.dial(protocol)
		p.say(`{"type":"connection_init","payload":{"x":` + text(70<<10) + `}}`)
		p.ends(websocket.CloseMessageTooBig)
		p = r.dial(protocol)
		p.say(`{"type":"connection_init","payload":{"x":` + text(60<<10) + `}}`)
		p.expect(`"connection_ack"`)
		kind := map[string]string{TransportWS: "subscribe", LegacyWS: "start"}[protocol]
		p.say(`{"id":"1","type":"` + kind + `","payload":{"query":"{ hello }","x":` + text(100<<10) + `}}`)
		for got := p.expect(); !strings.Contains(got, `"world"`); got = p.expect() {
		}
	}
	p := r.dial(TransportWS)
	p.say(`{"type":"connection_init","payload":{"x":` + many(200) + `}}`)
	p.ends(4400)

	p = r.dial(LegacyWS)
	p.say(`{"type":"connection_init","payload":{"waits":true}}`)
	p.say(`{"id":"1","type":"start","payload":{"query":"{ hello }","variables":{"x":` + many(1000) + `}}}`)
	var ahead []*operation
	eventually(t, "it waits", func() bool {
		for _, c := range r.tr.list() {
			c.ops.mu.Lock()
			ahead = append(ahead, c.ops.held...)
			c.ops.mu.Unlock()
		}
		return len(ahead) > 0
	})
	if op := ahead[0]; op.params != nil || op.asked == nil {
		t.Errorf("it is decoded: %v", op.params)
	}
	close(let)
	p.expect(`"connection_ack"`)
}
