package wsock_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func TestInitHasTenSeconds(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c, _ := b.dial(wsock.TransportWS)
		c.listen().send(`{"type":"ping"}`) // which does not help
		c.endsAt(10*time.Second, 4408)
	})
}

func TestJudgingHasTenSeconds(t *testing.T) {
	inBubble(t, wsock.Options{Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
		<-ctx.Done()
		return wsock.Accepted{}, ctx.Err()
	}}, func(b *bubble) {
		c, _ := b.dial(wsock.TransportWS)
		c.listen()
		pause(4 * time.Second)
		c.send(`{"type":"connection_init"}`)
		c.endsAt(14*time.Second, websocket.CloseTryAgainLater)
	})
}

func TestSilenceIsGivenUpAfter45Seconds(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		var pings atomic.Int64
		c := b.open(func(c *client) { c.ws.SetPingHandler(func(string) error { pings.Add(1); return nil }) })
		c.subscribe("1", "subscription { forever }")
		c.endsAt(45*time.Second, websocket.CloseAbnormalClosure)
		synctest.Wait()
		if got := b.endings(); len(got) != 1 || got[0].Code != websocket.CloseAbnormalClosure {
			t.Errorf("%+v", got)
		}
		if n := pings.Load(); n != 2 { // with the ack, and 25 s later
			t.Errorf("%d pings", n)
		}
	})
}

func TestWhoAnswersPingsStays(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		var pings atomic.Int64
		c := b.open(func(c *client) {
			answer := c.ws.PingHandler()
			c.ws.SetPingHandler(func(data string) error { pings.Add(1); return answer(data) })
		})
		pause(time.Hour + time.Second)
		synctest.Wait()
		if conn := b.only(b.t); time.Since(conn.LastSeen()) > 25*time.Second || pings.Load() != 145 {
			t.Errorf("last seen %v ago, %d pings", time.Since(conn.LastSeen()), pings.Load())
		}
		c.saidNothing()
	})
}

func TestLegacyKeepAlive(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c, _ := b.dial(wsock.LegacyWS)
		c.listen().send(`{"type":"connection_init"}`)
		<-c.got
		pause(101 * time.Second)
		for range 5 {
			if m := <-c.got; m.Type != "ka" {
				t.Fatalf("%+v", m)
			}
		}
		c.saidNothing()
	})
}

// accept lets in until an instant that a test sets.
func accept(until *time.Time) wsock.Options {
	return wsock.Options{Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
		return wsock.Accepted{Context: ctx, ExpiresAt: *until}, nil
	}}
}

func TestExpiryIsExactAndSilent(t *testing.T) {
	var until time.Time
	inBubble(t, accept(&until), func(b *bubble) {
		until = time.Now().Add(time.Hour)
		c := b.open()
		c.subscribe("1", "subscription { forever }")
		c.endsAt(time.Hour, 4403)
		c.saidNothing() // neither complete nor error: the client is to subscribe again
	})
}

func TestExtend(t *testing.T) {
	var until time.Time
	inBubble(t, accept(&until), func(b *bubble) {
		until = time.Now().Add(time.Hour)
		c := b.open()
		c.subscribe("1", "subscription { gatedTicks }")
		conn := b.only(b.t)
		pause(59 * time.Minute)
		conn.Extend(time.Time{}) // for good
		pause(10 * time.Hour)
		conn.Extend(time.Now().Add(time.Hour))
		conn.Extend(time.Now().Add(2 * time.Hour))
		b.schema.gate <- struct{}{}
		if m := <-c.got; m.Type != "next" {
			t.Errorf("the subscription did not go on: %+v", m)
		}
		c.endsAt(12*time.Hour+59*time.Minute, 4403)
		c.saidNothing()
		conn.Extend(time.Now().Add(time.Hour)) // too late, and harmless
	})
}

func TestLatencyIsOfTheLastFive(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		var trip atomic.Int64
		trip.Store(int64(300 * time.Millisecond))
		b.open(func(c *client) {
			answer := c.ws.PingHandler()
			c.ws.SetPingHandler(func(data string) error { pause(time.Duration(trip.Load())); return answer(data) })
		})
		conn := b.only(b.t)
		if d, ok := conn.Latency(); ok {
			t.Errorf("%v before the first answer", d)
		}
		pause(time.Second)
		if d, _ := conn.Latency(); d != 300*time.Millisecond {
			t.Errorf("%v, want 300ms", d)
		}
		trip.Store(int64(100 * time.Millisecond))
		pause(4 * 25 * time.Second)
		if d, _ := conn.Latency(); d != 140*time.Millisecond {
			t.Errorf("%v, want 140ms", d)
		}
		pause(25 * time.Second)
		if d, _ := conn.Latency(); d != 100*time.Millisecond {
			t.Errorf("%v, want 100ms", d)
		}
	})
}

// deaf reads close frames and answers none.
func deaf(c *client) {
	c.ws.SetCloseHandler(func(int, string) error { return nil })
}

func TestGoodbyeLastsASecond(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c := b.open(deaf)
		stop := make(chan struct{})
		go func() { // it goes on talking
			defer close(stop)
			for c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)) == nil {
				pause(100 * time.Millisecond)
			}
		}()
		began := time.Now()
		b.only(b.t).Close(4403, "Signed out")
		b.Drain(context.Background(), 0)
		if d := time.Since(began); d != time.Second {
			t.Errorf("gone after %v", d)
		}
		<-stop
		if got := b.endings(); len(got) != 1 || got[0].Code != 4403 || got[0].ByPeer {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheStuckAreCutAfterTenSeconds(t *testing.T) {
	var cut chan time.Time
	inBubble(t, wsock.Options{Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
		return wsock.Accepted{Context: ctx, Closed: func(wsock.CloseInfo) { cut <- time.Now() }}, nil
	}}, func(b *bubble) {
		cut = make(chan time.Time, 1) // the bubble's own
		c, _ := b.dial(wsock.TransportWS)
		began := time.Now()
		c.send(`{"type":"connection_init"}`) // and nobody reads
		if d := (<-cut).Sub(began); d != 10*time.Second {
			t.Errorf("cut after %v", d)
		}
		synctest.Wait()
		if got := b.endings(); len(got) != 1 || got[0].Code != 4499 || got[0].ByPeer {
			t.Errorf("%+v", got)
		}
	})
}

func TestAStuckWriterDoesNotHoldAClose(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c, _ := b.dial(wsock.TransportWS)
		c.send(`{"type":"connection_init"}`)
		synctest.Wait()
		began := time.Now()
		b.Drain(context.Background(), 0)
		if d := time.Since(began); d != time.Second {
			t.Errorf("drained after %v", d)
		}
	})
}

// slow takes a page of at most 4 KiB a second.
type slow struct{ net.Conn }

func (s slow) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b[:min(len(b), 4<<10)])
	pause(time.Second)
	return n, err
}

func TestSlowIsNotDead(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		d := websocket.Dialer{Subprotocols: []string{wsock.TransportWS}, ReadBufferSize: 4 << 10,
			NetDialContext: func(context.Context, string, string) (net.Conn, error) {
				mine, theirs := net.Pipe()
				b.pipes.calls <- theirs
				return slow{mine}, nil
			}}
		ws, resp, err := d.DialContext(b.t.Context(), "ws://pipe/graphql", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		defer ws.Close() //nolint:errcheck // the test is over
		p := &peer{t: b.t, ws: ws}
		_ = ws.SetReadDeadline(time.Time{})
		p.send(`{"type":"connection_init"}`)
		if m := p.read1(); m.Type != "connection_ack" {
			t.Fatalf("%+v", m)
		}
		began := time.Now()
		p.subscribe("1", "{ big(kb: 400) }")
		if m := p.read1(); m.Type != "next" || len(m.Payload) < 400<<10 {
			t.Fatalf("%s of %d bytes", m.Type, len(m.Payload))
		}
		if d := time.Since(began); d < 90*time.Second {
			t.Errorf("not slow: %v", d)
		}
	})
}

// read1 reads without a deadline: it is the server's patience that is tried.
func (p *peer) read1() said {
	p.t.Helper()
	var m said
	if err := p.ws.ReadJSON(&m); err != nil {
		p.t.Fatal(err)
	}
	return m
}

func TestDrainIsSpread(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		var all []*client
		for i := range 60 {
			c := b.open(func(c *client) {
				if i%2 == 0 {
					deaf(c)
				}
			})
			c.since = time.Now()
			c.subscribe("1", "subscription { forever }")
			all = append(all, c)
		}
		began := time.Now()
		done := make(chan time.Duration, 1)
		go func() { b.Drain(context.Background(), 30*time.Second); done <- time.Since(began) }()
		synctest.Wait()
		late, _ := b.dial(wsock.TransportWS)
		late.listen().endsAt(0, websocket.CloseServiceRestart)
		var thirds [3]int
		for _, c := range all {
			<-c.ended
			var e *websocket.CloseError
			if !errors.As(c.err, &e) || e.Code != websocket.CloseServiceRestart {
				t.Fatal(c.err)
			}
			c.saidNothing()
			thirds[min(2, int(c.after/(10*time.Second)))]++
		}
		if min(thirds[0], thirds[1], thirds[2]) == 0 {
			t.Errorf("not spread: %v", thirds)
		}
		if d := <-done; d > 31*time.Second {
			t.Errorf("drained after %v", d)
		}
		if _, status := b.dial(wsock.TransportWS); status != http.StatusServiceUnavailable {
			t.Errorf("after the drain: %d", status)
		}
	})
}

func TestAFloodIsReadNoFasterThanTheRate(t *testing.T) {
	inBubble(t, wsock.Options{}, func(b *bubble) {
		c := b.open()
		began := time.Now()
		for range 6000 {
			c.send(`{"type":"ping"}`)
			if m := <-c.got; m.Type != "pong" {
				t.Fatalf("%+v", m)
			}
		}
		// 5,000 at once, and 500 a second from there.
		if d := time.Since(began).Round(100 * time.Millisecond); d != 2*time.Second {
			t.Errorf("6000 pings in %v", d)
		}
		// One of 3 KiB is four.
		began = time.Now()
		for range 100 {
			c.send(`{"type":"ping","payload":{"x":"` + strings.Repeat("x", 3<<10) + `"}}`)
			<-c.got
		}
		if d := time.Since(began).Round(100 * time.Millisecond); d != 800*time.Millisecond {
			t.Errorf("100 large pings in %v", d)
		}
		asks := func(n int, query, answer string) time.Duration {
			t.Helper()
			began := time.Now()
			for i := range n {
				c.send(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"%s"}}`, i, query))
				for m := <-c.got; m.Type != answer; m = <-c.got {
					if m.Type != "next" {
						t.Fatalf("%+v", m)
					}
				}
			}
			return time.Since(began).Round(time.Second)
		}
		// Pings have cost nothing: 500 at once, and 50 a second from there; the init was one of them.
		if d := asks(600, "{hello}", "complete"); d != 2*time.Second {
			t.Errorf("600 subscribes in %v", d)
		}
		// One that is refused before it runs is six, and so is one of 5 KiB.
		if d := asks(100, "{", "error"); d != 12*time.Second {
			t.Errorf("100 refused ones in %v", d)
		}
		if d := asks(100, "{hello} #"+strings.Repeat(" ", 5<<10), "complete"); d != 12*time.Second {
			t.Errorf("100 large ones in %v", d)
		}
	})
}

// TestOneTooManyIsReadMoreSlowly: an operation past those a socket may have.
func TestOneTooManyIsReadMoreSlowly(t *testing.T) {
	inBubble(t, wsock.Options{Limits: wsock.Limits{Operations: 1}}, func(b *bubble) {
		c := b.open()
		c.send(`{"id":"1","type":"subscribe","payload":{"query":"subscription { gatedTicks }"}}`)
		began := time.Now()
		for range 100 {
			c.send(`{"id":"2","type":"subscribe","payload":{"query":"{hello}"}}`)
			if m := <-c.got; m.Type != "error" {
				t.Fatalf("%+v", m)
			}
		}
		if d := time.Since(began).Round(time.Second); d != 2*time.Second { // 600, and 500 at once
			t.Errorf("in %v", d)
		}
	})
}
