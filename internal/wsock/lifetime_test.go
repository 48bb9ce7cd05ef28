package wsock

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all []*peer
	for range 30 {
		p := r.open()
		p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription {forever}"}}`)
		all = append(all, p)
	}
	half := r.dial(TransportWS) // says nothing, and never answers
	done := make(chan struct{})
	go func() { defer close(done); r.tr.Drain(context.Background(), 300*time.Millisecond) }()
	for _, p := range all {
		p.ends(websocket.CloseServiceRestart)
	}
	half.ends(websocket.CloseServiceRestart)
	select {
	case <-done:
	case <-time.After(patient):
		t.Fatal("Drain does not end")
	}
	if r.tr.Len() != 0 || r.engine.running.Load() != 0 {
		t.Fatal("something is left")
	}
	if _, res, err := websocket.DefaultDialer.DialContext(t.Context(), r.url, nil); err == nil || res.StatusCode != http.StatusServiceUnavailable { //nolint:bodyclose // a refused handshake has none to close
		t.Fatal("let in while draining", res)
	}
	for _, c := range r.closings() {
		if c.Code != websocket.CloseServiceRestart {
			t.Fatalf("%+v", c)
		}
	}
}

func TestDrainCutsOffWhoDoesNotGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.open()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r.tr.Drain(ctx, time.Hour)
	if r.tr.Len() != 0 {
		t.Fatal("still there")
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	neighbour := r.open()
	neighbour.say(`{"id":"n","type":"subscribe","payload":{"query":"subscription {forever}"}}`)
	p := r.open()
	p.say(`{"id":"n","type":"subscribe","payload":{"query":"subscription {forever}"}}`)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription {breaks}"}}`)
	p.expect(`"next"`)
	if got := p.expect(`{"id":"1","type":"error"`); strings.Contains(got, "resolver") {
		t.Fatal("the panic is shown:", got)
	}
	p.say(`{"id":"2","type":"subscribe","payload":{"query":"subscription {spoils}"}}`)
	p.expect(`{"id":"2","type":"error"`)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`)
	p.expect(`"world"`)
	eventually(t, "the neighbours alone run on", func() bool { return r.engine.running.Load() == 2 })
}

func TestSlowReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) {
		o.Limits.WriteTimeout, o.Limits.QueuedFrames, o.Limits.QueuedBytes = 500*time.Millisecond, 8, 64<<10
	})
	slow := r.open()
	slow.say(`{"id":"s","type":"subscribe","payload":{"query":"subscription {state}"}}`)
	// It reads nothing: buffers fill, and then the stream is not even asked.
	last := int64(-1)
	eventually(t, "the stream waits", func() bool {
		now := r.engine.stated.Load()
		still := now == last && now > 0
		last = now
		return still || r.tr.Len() == 0
	})
	quick := r.open()
	quick.say(`{"id":"q","type":"subscribe","payload":{"query":"{hello}"}}`)
	quick.expect(`"world"`)
	eventually(t, "the slow one is closed", func() bool {
		for _, c := range r.closings() {
			if c.Code == closeSlow && !c.ByPeer {
				return true
			}
		}
		return false
	})
	eventually(t, "it has left", func() bool { return r.tr.Len() < 2 })
	quick.expect(`"complete"`)
	quick.say(`{"id":"r","type":"subscribe","payload":{"query":"{hello}"}}`)
	quick.expect(`"world"`) // it is the slow one that has
}

func TestCaps(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) {
		o.Limits.Operations, o.Limits.SocketsPerUser, o.Limits.SocketsPerIP = 2, 2, 4
	})
	p := r.open()
	for i := range 3 {
		p.say(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"subscription {forever}"}}`, i))
	}
	p.expect(`{"id":"2","type":"error"`, `"validation-failed"`, "more than 2")
	p.say(`{"id":"1","type":"complete"}`)
	p.say(`{"id":"2","type":"subscribe","payload":{"query":"{hello}"}}`)
	p.expect(`"world"`)
	p.expect(`"complete"`)
	var mine []*peer
	for range 2 {
		s := r.dial(TransportWS)
		s.say(`{"type":"connection_init","payload":{"user":"u"}}`)
		s.expect(`"connection_ack"`)
		mine = append(mine, s)
	}
	free := func() { // also of the places of those that were only told to go
		t.Helper()
		eventually(t, "its place is free", func() bool {
			r.tr.mu.Lock()
			defer r.tr.mu.Unlock()
			return r.tr.sockets == 3
		})
	}
	third := r.dial(TransportWS)
	third.say(`{"type":"connection_init","payload":{"user":"u"}}`)
	third.ends(websocket.CloseTryAgainLater)
	free()
	r.dial(TransportWS)
	r.dial(TransportWS).ends(websocket.CloseTryAgainLater) // a fifth socket from one address
	_ = mine[0].ws.Close()
	free()
	s := r.dial(TransportWS)
	s.say(`{"type":"connection_init","payload":{"user":"u"}}`)
	s.expect(`"connection_ack"`)
}

func TestSilence(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Limits.PingEvery = 100 * time.Millisecond })
	p := r.open()
	p.ws.SetPingHandler(func(string) error { return nil }) // a peer that is gone without a word
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			if _, _, err := p.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	select {
	case <-closed:
	case <-time.After(patient):
		t.Fatal("a silent peer is kept")
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Limits.PingEvery = patient }) // the first goes with the ack
	began := time.Now()
	p := r.open()
	go func() { // answers pings, as every WebSocket does
		for {
			if _, _, err := p.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	eventually(t, "measured", func() bool {
		ok := false
		r.tr.Each(func(c *Conn) {
			d, measured := c.Latency()
			ok = measured && d > 0 && d < time.Since(began) && c.LastSeen().After(began)
		})
		return ok
	})
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.CheckOrigin = nil })
	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), r.url, nil) //nolint:bodyclose // a refused handshake has none to close
	if err == nil || res.StatusCode != http.StatusForbidden {
		t.Fatal("let in", res)
	}
}

func TestEveryEndFreesEverything(t *testing.T) { //nolint:paralleltest // counts goroutines
	r := newRig(t)
	base := runtime.NumGoroutine()
	for name, end := range map[string]func(*peer){
		"close frame": func(p *peer) {
			_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
			p.ends(1000)
		},
		"FIN":           func(p *peer) { _ = p.ws.NetConn().Close() },
		"RST":           abort,
		"bad message":   func(p *peer) { p.say(`x`); p.ends(4400) },
		"never inited":  func(*peer) {},
		"half a frame":  func(p *peer) { _, _ = p.ws.NetConn().Write([]byte{0x81, 0xfe, 0x10}); _ = p.ws.NetConn().Close() },
		"no such frame": func(p *peer) { _, _ = p.ws.NetConn().Write([]byte{0xff, 0xff, 0xff, 0xff}) },
	} {
		for range 20 {
			p := r.dial(TransportWS)
			if name != "never inited" {
				p.say(`{"type":"connection_init"}`)
				p.expect(`"connection_ack"`)
				for i := range 5 {
					p.say(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"subscription {forever}"}}`, i))
				}
			}
			end(p)
			if name == "never inited" {
				_ = p.ws.Close()
			}
		}
		eventually(t, name+": all is free", func() bool { return r.tr.Len() == 0 && r.engine.running.Load() == 0 })
	}
	eventually(t, "goroutines are back to the base", func() bool { return runtime.NumGoroutine() <= base+2 })
}

func TestTwoGoroutinesASocket(t *testing.T) { //nolint:paralleltest // counts goroutines
	r := newRig(t, func(o *Options) { o.Limits.SocketsPerIP = 1000 })
	base := runtime.NumGoroutine()
	const n = 300
	for range n {
		r.open()
	}
	// httptest keeps one for each connection that was hijacked no longer than its handler.
	eventually(t, "two each", func() bool { return runtime.NumGoroutine()-base <= 2*n+10 })
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"type":"ping"}`, `{"id":"1","type":"subscribe","payload":{"query":"{a}"}}`, `{"type":1}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err == nil && m.kind == "" && !strings.Contains(string(data), `""`) {
			t.Errorf("no type and no error: %q", data)
		}
		if a, ok := askedIn(m); ok {
			a.params()
		}
		if begins(m.payload, '{') && object(m.payload) == nil {
			t.Errorf("%q is no object", m.payload)
		}
	})
}
