package wsock_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func TestLegacyErrorsOfFields(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).legacy(t)
	p.subscribe("1", "{ half }")
	if m := p.wantOf("1", "data"); string(m.Payload) != `{"errors":[{"message":"no half"}],"data":null}` {
		t.Errorf("%s", m.Payload)
	}
	p.wantOf("1", "complete")
}

// The old one's confirmation must not end the new one.
func TestLegacyStopAndStartAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{QueuedBytes: 100 << 10, WriteTimeout: patience}})
	p := r.legacy(t)
	r.stall(t, p)
	p.subscribe("1", "subscription { forever }")
	p.send(`{"id":"1","type":"stop"}`)
	p.subscribe("1", "subscription { gatedTicks }")
	p.send(`{"id":"1","type":"start","payload":{}}`) // bad, and no error of the running one
	p.send(`{"id":"flood","type":"stop"}`)
	r.schema.gate <- struct{}{}
	for {
		m := p.next()
		if m.ID == nil || *m.ID != "1" {
			continue
		}
		if m.Type != "data" {
			t.Errorf("%s of the one that runs", m.Type)
		}
		return
	}
}

func TestAnImpossibleLengthIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p := r.modern(t)
	frame := binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<63)
	if _, err := p.tcp().Write(append(frame, 0, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	p.wantClose(websocket.CloseMessageTooBig, "")
	if got := r.ending(t); got.Code != websocket.CloseMessageTooBig || got.ByPeer {
		t.Errorf("%+v", got)
	}
}

// A socket closed while a large message is on its way out: what the peer makes
// of the pieces must not be a message.
func TestNothingComesWithinAMessage(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		for range 5 {
			c, _ := b.dial(wsock.TransportWS)
			c.send(`{"type":"connection_init"}`)
			var ack said
			if err := c.ws.ReadJSON(&ack); err != nil || ack.Type != "connection_ack" {
				b.t.Fatal(ack, err)
			}
			c.subscribe("1", "{ big(kb: 256) }")
			_, message, err := c.ws.NextReader() // it has begun
			if err != nil {
				b.t.Fatal(err)
			}
			for range 5 {
				c.send(`{"type":"ping"}`)
			}
			b.only(b.t).Close(4403, "Signed out")
			if _, err := io.Copy(io.Discard, message); !websocket.IsCloseError(err, 4403) {
				b.t.Errorf("the message ended with %v", err)
			}
			_ = c.ws.Close()
			synctest.Wait()
			if n := b.Len(); n != 0 {
				b.t.Fatalf("%d sockets are left", n)
			}
		}
	})
}

func TestWhatIsSentIsUTF8(t *testing.T) {
	t.Parallel()
	p := newRig(t, wsock.Options{}).modern(t)
	p.subscribe("1", "{ garbled }")
	if m := p.wantOf("1", "next"); string(m.Payload) != "{\"data\":{\"garbled\":\"a\uFFFDb\"}}" {
		t.Errorf("%q", m.Payload)
	}
}

func TestASlowUploadIsNotSilence(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c := b.open()
		_ = c.ws.SetWriteDeadline(time.Time{})
		w, err := c.ws.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		text := `{"id":"1","type":"subscribe","payload":{"query":"{ hello }","x":"` + strings.Repeat("x", 100<<10) + `"}}`
		for len(text) > 0 { // 4 KiB in five seconds: more than two minutes
			n := min(len(text), 4<<10)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
			pause(5 * time.Second)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if m := <-c.got; m.Type != "next" {
			t.Errorf("%+v", m)
		}
	})
}

// A context that was not derived from Init's, against the contract.
func TestOperationsEndWithTheirSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Init: func(context.Context, wsock.Request) (wsock.Accepted, error) {
		return wsock.Accepted{Context: context.Background()}, nil
	}})
	p := r.modern(t)
	p.subscribe("1", "subscription { forever }")
	p.settle()
	_ = p.ws.Close()
	eventually(t, "all is free", func() bool { return r.Len() == 0 && r.schema.live.Load() == 0 })
}

// Not parallel: it counts goroutines.
func TestGoroutinesEndWithTheirSocket(t *testing.T) { //nolint:paralleltest // see above
	eventually(t, "nothing is left of other tests", func() bool { return len(ours()) == 0 })
	for name, end := range map[string]func(*rig, *peer){
		"close frame": func(_ *rig, p *peer) {
			_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
		},
		"FIN":        func(_ *rig, p *peer) { _ = p.tcp().CloseWrite() },
		"RST":        func(_ *rig, p *peer) { _ = p.tcp().SetLinger(0); _ = p.tcp().Close() },
		"half frame": func(_ *rig, p *peer) { _, _ = p.tcp().Write([]byte{0x81, 0xfe}); _ = p.tcp().CloseWrite() },
		"breach":     func(_ *rig, p *peer) { _, _ = p.tcp().Write([]byte{0xff, 0x80, 0, 0, 0, 0}) },
		"bad":        func(_ *rig, p *peer) { p.send(`x`) },
		"drain":      func(r *rig, _ *peer) { r.Drain(context.Background(), 10*time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerIP: 1000}})
			const sockets = 12
			var all []*peer
			for i := range sockets {
				p := r.modern(t)
				for j := range 4 {
					p.subscribe(fmt.Sprint(j), "subscription { forever }")
				}
				if i%2 == 0 { // half of them are being written to, and do not read
					p.subscribe("f", "subscription { flood(kb: 64) }")
				}
				all = append(all, p)
			}
			eventually(t, "all run", func() bool { return r.schema.live.Load() == sockets*4+sockets/2 })
			for _, p := range all {
				end(r, p)
			}
			eventually(t, "nothing is left", func() bool { return r.Len() == 0 && len(ours()) == 0 && r.schema.live.Load() == 0 })
			if n := len(r.endings()); n != sockets {
				t.Errorf("told of %d ends of %d", n, sockets)
			}
		})
	}
}

// Not parallel: it counts goroutines.
func TestAnIdleSocketIsOneGoroutine(t *testing.T) { //nolint:paralleltest // see above
	eventually(t, "nothing is left of other tests", func() bool { return len(ours()) == 0 })
	const sockets = 500
	r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerIP: sockets}})
	for range sockets {
		r.modern(t)
	}
	eventually(t, "one each", func() bool { return len(ours()) == sockets })
}
