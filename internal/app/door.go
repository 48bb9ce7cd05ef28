package app

import (
	"context"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	runs "github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/door"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/gqlhttp"
)

// newDoor is the endpoint of both servers; nil: there is no Hasura behind this one.
func newDoor(p *parts) (*door.Door, error) {
	c := p.config
	if c.HasuraUpstream == "" {
		return nil, nil
	}
	pages, ips := ownPages(p), clientip.New(c.TrustedProxies)
	o := door.Options{Upstream: c.HasuraUpstream, Paths: c.FrontDoorPaths, Schema: generated.NewExecutableSchema(generated.Config{}).Schema(),
		Own: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.own.ServeHTTP(w, r) }), Executor: shows(p),
		Role: func(ctx context.Context, h http.Header) (string, error) {
			if h == nil { // of a socket
				return auth.From(ctx).Role, nil
			}
			id, err := p.authn.Authenticate(ctx, h)
			return id.Role, err
		},
		Admit: func(r *http.Request) error {
			if !pages.Allowed(r) {
				return fault.New(fault.Denied, "origin not allowed")
			}
			if len(r.Header.Values("Cookie")) == 0 || pages.MayUseCookie(r) {
				return nil
			}
			if id, err := p.authn.Authenticate(r.Context(), r.Header); err == nil && id.FromCookie {
				return cookieRefused()
			}
			return nil // Hasura says of other credentials what is wrong with them
		},
		Take: func(ctx context.Context) error {
			key, exempt := rateKey(ctx)
			if exempt {
				return nil
			}
			if f := p.budgets.operations.Take(key); f != nil {
				return f
			}
			return nil
		},
		ClientIP: ips.From, Encrypted: ips.Encrypted, BodyBytes: int64(c.Limits.BodyBytes) * hasuraBody, HeldBytes: 4 * c.Limits.FrameBytes, WriteTimeout: c.Limits.WriteTimeout,
		Observer: p.metrics.door(), Log: p.log}
	o.Sockets = o.Own
	if name, _ := p.jwt.Bears(""); name != "Authorization" && name != "Cookie" {
		o.Header = name
	}
	if c.FrontDoorDirect == "auto" {
		p.direct = &door.Direct{}
		o.Direct = p.direct
	}
	return door.New(o)
}

func cookieRefused() error {
	return fault.New(fault.Denied, "a token in a cookie needs a POST of JSON, from a listed Origin if from a page")
}

// shows executes introspection of any schema.
func shows(p *parts) func(*ast.Schema) graphql.GraphExecutor {
	return func(s *ast.Schema) graphql.GraphExecutor {
		e := runs.New(generated.NewExecutableSchema(generated.Config{Schema: s}))
		e.SetErrorPresenter(gqlhttp.Presenter(p.log))
		e.SetRecoverFunc(gqlhttp.Recover(p.log))
		e.Use(extension.Introspection{})
		return e
	}
}
