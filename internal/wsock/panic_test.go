package wsock_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

func TestAPanicEndsOneOperation(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{})
	p, neighbour := r.modern(t), r.modern(t)
	p.subscribe("same socket", "subscription { forever }")
	neighbour.subscribe("1", "subscription { gatedTicks }")
	eventually(t, "both run", func() bool { return r.schema.live.Load() == 2 })
	for _, field := range []string{"{ boom }", "subscription { panics }", "subscription { marshalPanics }"} {
		p.subscribe("x", field)
		if strings.Contains(field, "marshal") {
			p.wantOf("x", "next")
		}
		m := p.wantOf("x", "error")
		if !strings.Contains(string(m.Payload), "internal error") || strings.Contains(string(m.Payload), "'s") {
			t.Errorf("%s: %s", field, m.Payload)
		}
		p.settle() // nothing follows
	}
	eventually(t, "the two still run", func() bool { return r.schema.live.Load() == 2 })
	r.schema.gate <- struct{}{}
	neighbour.wantOf("1", "next")
}

func TestAPanicInAHookEndsOneOperation(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{
		Operation: func(context.Context, *wsock.Conn) context.Context { panic("a hook's") },
		Recover:   func(context.Context, any) error { panic("the recovery's") },
	})
	for _, p := range []*peer{r.modern(t), r.legacy(t)} {
		p.subscribe("1", "{ hello }")
		m := p.wantOf("1", "error")
		if list := strings.HasPrefix(string(m.Payload), "["); list == (p.ws.Subprotocol() == wsock.LegacyWS) || !strings.Contains(string(m.Payload), `"unexpected"`) {
			t.Errorf("%s: %s", p.ws.Subprotocol(), m.Payload)
		}
	}
}

func TestAPanicInAnErrorPresenterEndsOneOperation(t *testing.T) {
	t.Parallel()
	r := &rig{schema: newSchema()}
	exec := executor.New(r.schema)
	exec.SetErrorPresenter(func(context.Context, error) *gqlerror.Error { panic("the presenter's") })
	p := r.serve(t, wsock.Options{}, exec).modern(t)
	p.subscribe("1", "{ nope }")
	p.wantOf("1", "error")
	p.subscribe("1", "{ boom }")
	p.wantOf("1", "error")
	p.subscribe("1", "{ hello }")
	p.wantOf("1", "next")
}

func TestErrorsThatCannotBeEncodedAreSentBare(t *testing.T) {
	t.Parallel()
	r := &rig{schema: newSchema()}
	exec := executor.New(r.schema)
	exec.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error {
		e := graphql.DefaultErrorPresenter(ctx, err)
		e.Extensions = map[string]any{"bad": func() {}}
		return e
	})
	r.serve(t, wsock.Options{}, exec)
	for _, p := range []*peer{r.modern(t), r.legacy(t)} {
		p.subscribe("1", "{ nope }")
		m := p.wantOf("1", "error")
		if !strings.Contains(string(m.Payload), "nope") || strings.HasPrefix(string(m.Payload), "[") == (p.ws.Subprotocol() == wsock.LegacyWS) {
			t.Errorf("%s: %s", p.ws.Subprotocol(), m.Payload)
		}
	}
}

func TestInitsThatFail(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		init func(ctx context.Context) (wsock.Accepted, error)
		code int
		text string
	}{
		"panic":  {func(context.Context) (wsock.Accepted, error) { panic(errTest) }, 1013, "internal error"},
		"outage": {func(context.Context) (wsock.Accepted, error) { return wsock.Accepted{}, errTest }, 1013, "internal error"},
		"credentials": {func(context.Context) (wsock.Accepted, error) {
			return wsock.Accepted{}, fault.New(fault.InvalidJWT, "no")
		}, 4403, "no"},
		"long text": {func(context.Context) (wsock.Accepted, error) {
			return wsock.Accepted{}, fault.New(fault.InvalidJWT, "%s", strings.Repeat("é", 200))
		}, 4403, strings.Repeat("é", 61)},
		"unreadable text": {func(context.Context) (wsock.Accepted, error) {
			return wsock.Accepted{}, fault.New(fault.InvalidJWT, "a\xffb")
		}, 4403, "a\uFFFDb"},
		"no ack": {func(ctx context.Context) (wsock.Accepted, error) {
			return wsock.Accepted{Context: ctx, UserKey: "u", Ack: map[string]any{"bad": func() {}}}, nil
		}, 1013, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerUser: 1},
				Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) { return tt.init(ctx) }})
			for range 3 { // a place that was taken is given back each time
				for _, protocol := range []string{wsock.TransportWS, wsock.LegacyWS} {
					p := r.dial(t, protocol)
					p.send(`{"type":"connection_init"}`)
					if protocol == wsock.LegacyWS {
						p.want("connection_error")
					}
					p.wantClose(tt.code, tt.text)
					_ = p.ws.Close()
					eventually(t, "it has ended", func() bool { return r.Len() == 0 })
				}
			}
		})
	}
}

func TestAPanicAsASocketEndsKeepsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, wsock.Options{Limits: wsock.Limits{SocketsPerUser: 1},
		Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
			return wsock.Accepted{Context: ctx, UserKey: "u", Closed: func(wsock.CloseInfo) { panic(errors.New("closed")) }}, nil
		}})
	for range 2 {
		_ = r.modern(t).ws.Close()
		eventually(t, "it has ended", func() bool { return r.Len() == 0 })
	}
}
