package wsock

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestElsewhere: who is offered an operation runs it, or leaves it to the
// executor with what it made of it; its results and its end are as the socket's
// protocol has them, and its panics are its operation's.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) {
		o.Elsewhere = func(ctx context.Context, f Foreign) (End, bool) {
			switch f.Params().Query {
			case "theirs":
				return End{Err: f.Next(json.RawMessage(`{"data":{"sent":` + string(f.Sent()) + `}}`))}, true
			case "payload":
				return End{Payload: json.RawMessage(`[{"message":"as it came"}]`)}, true
			case "fault":
				return End{Err: fault.New(fault.Denied, "no")}, true
			case "panics":
				panic("somebody's")
			case "waits":
				<-ctx.Done()
				return End{}, true
			case "other":
				f.Params().Query = `{ hello }`
			}
			return End{}, false
		}
	})
	p := r.open()
	for _, c := range []struct{ query, want string }{
		{"theirs", `{"id":"1","type":"next","payload":{"data":{"sent":{"query":"theirs"}}}}`},
		{"", `{"id":"1","type":"complete"}`},
		{"payload", `{"id":"1","type":"error","payload":[{"message":"as it came"}]}`},
		{"fault", `{"id":"1","type":"error","payload":[{"message":"no","extensions":{"code":"access-denied","retryable":false}}]}`},
		{"panics", `"type":"error","payload":[{"message":"internal error"`},
		{"other", `"payload":{"data":{"hello":"world"}}`},
		{"", `"complete"`},
		{"{ hello }", `"payload":{"data":{"hello":"world"}}`},
		{"", `"complete"`},
	} {
		if c.query != "" {
			b, err := json.Marshal(c.query)
			if err != nil {
				t.Fatal(err)
			}
			p.say(`{"id":"1","type":"subscribe","payload":{"query":` + string(b) + `}}`)
		}
		p.expect(c.want)
	}
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"waits"}}`)
	p.say(`{"id":"1","type":"complete"}`)
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"{ hello }"}}`) // and nothing is said of the first
	p.expect(`"payload":{"data":{"hello":"world"}}`)
}

// TestForeignResultsHaveRoom of their caller's, the large ones, until they are written; where
// there is none the result is not sent. What was not run has its socket read more slowly.
func TestForeignResultsHaveRoom(t *testing.T) {
	t.Parallel()
	const most = 300 << 10
	var held, taken atomic.Int64
	var before atomic.Pointer[float64]
	began := time.Now()
	conns := make(chan *Conn, 10)
	r := newRig(t, func(o *Options) {
		o.Limits.MessageRate = 0.5
		o.Operation = func(ctx context.Context, _ *Conn) context.Context { return context.WithValue(ctx, &held, "whose") }
		o.Room = func(ctx context.Context, bytes int) (func(), error) {
			if ctx.Value(&held) != "whose" {
				return nil, fault.New(fault.Unexpected, "whose room is taken cannot be told")
			}
			if bytes > most {
				return nil, fault.Later(fault.RateLimited, time.Second, "no room")
			}
			taken.Add(int64(bytes))
			held.Add(int64(bytes))
			return func() { held.Add(-int64(bytes)) }, nil
		}
		o.Elsewhere = func(_ context.Context, f Foreign) (End, bool) {
			now := f.o.c.pace.TokensAt(began)
			before.Store(&now)
			conns <- f.o.c
			result := json.RawMessage(`"` + strings.Repeat("x", len(f.Params().Query)*(100<<10)) + `"`)
			if err := f.Next(result); err != nil {
				return End{Err: err, Refused: true}, true
			}
			return End{}, true
		}
	})
	p := r.open()
	for _, c := range []struct {
		query    string
		want     []string
		costMost float64 // of the socket's pace
		least    float64
	}{{"xx", []string{"xxxx", `"complete"`}, 1.5, -9}, {"xxxx", []string{"no room"}, 10, 2}} {
		p.say(`{"id":"1","type":"subscribe","payload":{"query":"` + c.query + `"}}`)
		for _, want := range c.want {
			p.expect(want)
		}
		if cost := *before.Load() - (<-conns).pace.TokensAt(began); cost > c.costMost || cost < c.least {
			t.Errorf("%s costs %f of the socket's pace", c.query, cost)
		}
	}
	if n := held.Load(); n != 0 || taken.Load() < 200<<10 {
		t.Errorf("%d bytes of %d are held of what was written", n, taken.Load())
	}
}
