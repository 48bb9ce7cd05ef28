package app

import (
	"context"
	"net/http"
	"strings"

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
	"github.com/nself-org/nchat-realtime/internal/limit"
)

// newDoor is the endpoint of both servers; nil: there is no Hasura behind this one.
func newDoor(p *parts) (*door.Door, error) {
	c := p.config
	if c.HasuraUpstream == "" {
		return nil, nil
	}
	ips := clientip.New(c.TrustedProxies)
	o := door.Options{Upstream: c.HasuraUpstream, BodyTimeout: c.Limits.RequestTimeout, Paths: c.FrontDoorPaths, Schema: generated.NewExecutableSchema(generated.Config{}).Schema(),
		Own: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.own.ServeHTTP(w, r) }), Executor: shows(p),
		Role: func(ctx context.Context, h http.Header) (string, error) {
			if h == nil { // of a socket
				return auth.From(ctx).Role, nil
			}
			id, err := p.authn.Authenticate(ctx, h)
			return id.Role, err
		},
		Admit: admit(p, ips),
		Take:  func(ctx context.Context) (func(), error) { return p.budgets.operation(ctx, 1) },
		Room: func(ctx context.Context, bytes int) (func(), error) {
			if bytes <= limit.Roomy {
				return func() {}, nil
			}
			return p.budgets.room(ctx, bytes)
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

// admit says who asks at the one endpoint, by what Hasura will be shown of its headers:
// by all of them Hasura might take it for another than it is here. What Hasura might read
// as a token, and is none here, does not go there: it could be one that was revoked.
func admit(p *parts, ips clientip.Finder) func(*http.Request, http.Header) (context.Context, error) {
	pages := ownPages(p)
	return func(r *http.Request, upstream http.Header) (context.Context, error) {
		if !pages.Allowed(r) {
			return nil, fault.New(fault.Denied, "origin not allowed")
		}
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") { // of a socket connection_init says who it is, and what is no token is refused then
			if err := p.authn.Plain(upstream); err != nil {
				return nil, err
			}
		}
		id, err := p.authn.Authenticate(r.Context(), upstream)
		if err != nil && err.Error() == auth.Revoked().Error() {
			return nil, err
		}
		// Also where the token is none for us: it may be one for Hasura.
		if name, _ := p.jwt.Bears(""); len(upstream.Values("Cookie")) > 0 && !pages.MayUseCookie(r) && (err == nil && id.FromCookie || err != nil && name == "Cookie") {
			return nil, cookieRefused()
		}
		if err != nil { // Hasura says what is wrong with other credentials; their address pays
			id = auth.Identity{}
		}
		return context.WithValue(auth.With(r.Context(), id), ipKey{}, clientip.Bucket(ips.From(r))), nil
	}
}

func cookieRefused() error {
	return fault.New(fault.Denied, "a token in a cookie needs a POST of JSON, from a listed Origin if from a page")
}

// Introspection of a schema of thousands of types multiplies by each alias of a
// list in a list; no tool needs any.
const (
	metaDepth   = 30
	metaAliases = 2
)

// shows executes introspection of any schema, which costs what that of ours does. What is
// larger than a caller may leave unread is not built: lists in lists of it soon are.
func shows(p *parts) func(*ast.Schema) graphql.GraphExecutor {
	return func(s *ast.Schema) graphql.GraphExecutor {
		e := runs.New(generated.NewExecutableSchema(generated.Config{Schema: s}))
		e.SetErrorPresenter(gqlhttp.Presenter(p.log))
		e.SetRecoverFunc(gqlhttp.Recover(p.log))
		e.SetParserTokenLimit(limit.ParserTokens)
		e.Use(limit.Length{Bytes: p.config.Limits.DocumentBytes})
		e.Use(limit.Size{Depth: metaDepth, Roots: metaAliases + 1, Aliases: metaAliases})
		e.Use(limit.Answer{Bytes: heldAnswers})
		e.Use(p.budgets.cost(p.config.Limits, 0))
		e.Use(extension.Introspection{})
		return e
	}
}
