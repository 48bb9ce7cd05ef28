package wsock_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// tcp is what is under a peer's socket.
func (p *peer) tcp() *net.TCPConn {
	p.t.Helper()
	c, ok := p.ws.NetConn().(*net.TCPConn)
	if !ok {
		p.t.Fatal("not TCP")
	}
	return c
}

func TestAPeerThatIgnoresACloseIsCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{WriteTimeout: time.Hour, PingEvery: time.Hour}})
	p := r.modern(t)
	c := r.only(t)
	c.Close(4403, "Signed out")
	c.Close(4400, "too late")
	// It answers no close frame, and goes on talking.
	talk := time.NewTicker(50 * time.Millisecond)
	defer talk.Stop()
	until := time.After(patience)
	for r.Len() > 0 {
		select {
		case <-talk.C:
			_ = p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
		case <-until:
			t.Fatal("still there")
		}
	}
	if got := r.ending(t); got.Code != 4403 || got.ByPeer {
		t.Errorf("%+v", got)
	}
}

func TestAStuckWriterHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*rig, *peer){
		"drain":   func(r *rig, _ *peer) { r.Drain(context.Background(), 0) },
		"close":   func(r *rig, p *peer) { r.only(p.t).Close(4403, "") },
		"FIN":     func(_ *rig, p *peer) { _ = p.tcp().CloseWrite() },
		"request": func(_ *rig, p *peer) { p.send(`nonsense`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 100 << 10, WriteTimeout: time.Hour, PingEvery: time.Hour}})
			p := r.modern(t)
			r.stall(t, p)
			end(r, p)
			eventually(t, "it ends", func() bool { return r.Len() == 0 })
		})
	}
}

func TestCloseInfoTellsWhoAndHow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end    func(p *peer)
		code   int
		byPeer bool
	}{
		"close frame": {func(p *peer) {
			_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
			p.wantClose(1000, "")
		}, 1000, true},
		"no status": {func(p *peer) {
			_ = p.ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(patience))
			p.wantClose(1005, "")
		}, 1005, true},
		"FIN":  {func(p *peer) { _ = p.tcp().CloseWrite() }, 1006, true},
		"RST":  {func(p *peer) { _ = p.tcp().SetLinger(0); _ = p.tcp().Close() }, 1006, true},
		"4400": {func(p *peer) { p.send(`x`); p.wantClose(4400, "") }, 4400, false},
		"1002": {func(p *peer) { _, _ = p.tcp().Write([]byte{0xff, 0x80, 0, 0, 0, 0}); p.wantClose(1002, "") }, 1002, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, wsock.Options{})
			r.wide = true // the close frame comes behind what is under way
			before := time.Now()
			p := r.modern(t)
			p.subscribe("1", "subscription { flood(kb: 1) }") // there is always something being written
			p.want("next")
			tt.end(p)
			got := r.ending(t)
			if got.Code != tt.code || got.ByPeer != tt.byPeer {
				t.Errorf("%+v, want %d %v", got, tt.code, tt.byPeer)
			}
			if got.LastSeen.Before(before) || got.LastSeen.After(time.Now()) {
				t.Errorf("last seen %v", got.LastSeen)
			}
			eventually(t, "the socket is no more", func() bool { return r.Len() == 0 })
			if n := len(r.endings()); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// What was sent before the limit was passed must not turn the close into a
// reset, which would hide its code.
func TestAnOversizeFrameIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{FrameBytes: 4096}})
	for range 5 {
		p := r.modern(t)
		p.send(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 256<<10) + `"}}`)
		p.wantClose(websocket.CloseMessageTooBig, "")
	}
	if got := r.ending(t); got.Code != websocket.CloseMessageTooBig || got.ByPeer {
		t.Errorf("%+v", got)
	}
}

func TestASocketTooManyIsToldToComeBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerIP: 2}})
	first, _ := r.modern(t), r.modern(t)
	third := r.dial(t, wsock.TransportWS)
	if n := r.Len(); n != 2 {
		t.Errorf("%d sockets", n)
	}
	third.wantClose(websocket.CloseTryAgainLater, "Too many sockets")
	// Those that are being turned away count too: a flood is not upgraded.
	eventually(t, "it is refused by HTTP", func() bool {
		_, status, err := r.try(t, nil, wsock.TransportWS)
		return err != nil && status == http.StatusTooManyRequests
	})
	_ = first.ws.Close()
	eventually(t, "there is room again", func() bool { return r.letsIn(t) })
}

func TestADrainTurnsAwayKindly(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p := r.modern(t)
	p.subscribe("1", "subscription { forever }")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Drain(ctx, 1000*time.Hour) }()
	eventually(t, "newcomers are told", func() bool {
		q := r.dial(t, wsock.TransportWS)
		_ = q.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`))
		_, err := q.read()
		return websocket.IsCloseError(err, websocket.CloseServiceRestart)
	})
	p.settle() // it is not its turn yet, and nothing was said of its operation
	cancel()
	<-done
	if _, err := p.read(); err == nil {
		t.Error("a message, not the end")
	}
	if _, status, err := r.try(t, nil, wsock.TransportWS); err == nil || status != http.StatusServiceUnavailable {
		t.Errorf("afterwards: %d %v", status, err)
	}
	if r.Len() != 0 || r.schema.live.Load() != 0 {
		t.Errorf("%d sockets and %d streams are left", r.Len(), r.schema.live.Load())
	}
}

func TestADrainIsSpread(t *testing.T) {
	t.Parallel()
	const sockets, over = 40, 800 * time.Millisecond
	r := newRig(t, wsock.Options{})
	for range sockets {
		p := r.modern(t)
		go func() { // as a real one: it answers the close
			for {
				if _, _, err := p.ws.ReadMessage(); err != nil {
					_ = p.ws.Close()
					return
				}
			}
		}()
	}
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); r.Drain(context.Background(), over) }()
	eventually(t, "half are gone", func() bool { return r.Len() <= sockets/2 })
	if d := time.Since(began); d < over/8 { // 20 of 40 in the first eighth: once in 10^8
		t.Errorf("half are gone after %v of %v", d, over)
	}
	<-done
	for _, e := range r.endings() {
		if e.Code != websocket.CloseServiceRestart {
			t.Errorf("%+v", e)
		}
	}
}

// TestSocketsThatOnlyOpen: of those that have not said who they are an address has few
// at a time; whoever is let in makes room for the next.
func TestSocketsThatOnlyOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerIP: 100, OpeningPerIP: 2, InitTimeout: time.Hour}})
	first, _ := r.dial(t, wsock.TransportWS), r.dial(t, wsock.TransportWS)
	r.dial(t, wsock.TransportWS).wantClose(websocket.CloseTryAgainLater, "Too many sockets")
	_ = first.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`))
	if m, err := first.read(); err != nil || m.Type != "connection_ack" {
		t.Fatal(m, err)
	}
	eventually(t, "there is room for the next", func() bool { return r.letsIn(t) })
}

// letsIn reports whether one more socket is upgraded and acknowledged.
func (r *rig) letsIn(t *testing.T) bool {
	t.Helper()
	p, _, err := r.try(t, nil, wsock.TransportWS)
	if err != nil {
		return false
	}
	_ = p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`))
	m, err := p.read()
	return err == nil && m.Type == "connection_ack"
}
