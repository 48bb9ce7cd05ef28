package wsock

import (
	"context"
	"encoding/json"
	"testing"

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
				f.Next(json.RawMessage(`{"data":{"sent":` + string(f.Sent()) + `}}`))
				return End{}, true
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
