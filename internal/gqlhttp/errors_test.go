package gqlhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// pgError is what a Postgres driver's error looks like from here.
type pgError struct{ code, text string }

func (e *pgError) Error() string    { return e.text }
func (e *pgError) SQLState() string { return e.code }

// at is the context of a field asked for by an alias, as gqlgen's own code makes it.
func at(ctx context.Context, alias, name string) context.Context {
	return graphql.WithFieldContext(ctx, &graphql.FieldContext{Object: "Query",
		Field: graphql.CollectedField{Field: &ast.Field{Alias: alias, Name: name}}})
}

func coded(code, message string, path ...ast.PathElement) error {
	return &gqlerror.Error{Message: message, Path: path, Extensions: map[string]any{"code": code}}
}

func TestPresenter(t *testing.T) {
	t.Parallel()
	request := func(ctx context.Context) context.Context { return ctx }
	field := func(ctx context.Context) context.Context { return at(ctx, "mine", "presence") }
	argument := func(err error) error {
		return gqlerror.WrapPath(ast.Path{ast.PathName("mine"), ast.PathName("input"), ast.PathName("text")}, err)
	}
	long := strings.Repeat("é", 1000)
	for name, c := range map[string]struct {
		in   func(context.Context) context.Context
		err  error
		want string // what the client sees
		log  string // what the log has; "": nothing at all
	}{
		"a fault": {field, fault.Access(), `{"message":"access denied","path":["mine"],"extensions":{"code":"access-denied","retryable":false}}`, ""},
		"a wrapped fault": {field, fmt.Errorf("reading "+secret+": %w", fault.Later(fault.RateLimited, 1500*time.Millisecond, "slow down")),
			`{"message":"slow down","path":["mine"],"extensions":{"code":"rate-limited","retryAfterMs":1500,"retryable":true}}`, ""},
		"a fault of a request": {request, fault.New(fault.InvalidJWT, "JWTExpired"), `{"message":"JWTExpired","extensions":{"code":"invalid-jwt","retryable":false}}`, ""},
		"a fault about an argument": {field, argument(fault.New(fault.Invalid, "invalid uuid")),
			`{"message":"invalid uuid","path":["mine"],"extensions":{"code":"validation-failed","field":"input.text","retryable":false}}`, ""},
		"a fault that knows its field": {field, argument(fault.Field("userIds", "too many")),
			`{"message":"too many","path":["mine"],"extensions":{"code":"validation-failed","field":"userIds","retryable":false}}`, ""},
		"an argument gqlgen could not read": {field, argument(errors.New("bool is not a string")),
			`{"message":"bool is not a string","path":["mine"],"extensions":{"code":"validation-failed","field":"input.text","retryable":false}}`, ""},
		"the parser": {request, coded(errcode.ParseFailed, "Expected Name"), `{"message":"Expected Name","extensions":{"code":"validation-failed","retryable":false}}`, ""},
		"the validator": {request, coded(errcode.ValidationFailed, `Unknown argument "x". Did you mean "secretArgument"?`),
			`{"message":"Unknown argument \"x\".","extensions":{"code":"validation-failed","retryable":false}}`, ""},
		"a rule of the validator": {request, &gqlerror.Error{Message: "no", Rule: "KnownTypeNames", Locations: []gqlerror.Location{{Line: 1, Column: 2}}},
			`{"message":"no","locations":[{"line":1,"column":2}],"extensions":{"code":"validation-failed","retryable":false}}`, ""},
		"a variable": {request, coded(errcode.ValidationFailed, "must be defined", ast.PathName("variable"), ast.PathName("input"), ast.PathIndex(3)),
			`{"message":"must be defined","extensions":{"code":"validation-failed","field":"input[3]","retryable":false}}`, ""},
		"a value at length":   {request, coded(errcode.ValidationFailed, long), `{"message":"` + long[:2*longestMessage] + `…","extensions":{"code":"validation-failed","retryable":false}}`, ""},
		"an extension's own":  {request, gqlerror.Errorf("unsupported APQ version"), `{"message":"unsupported APQ version","extensions":{"code":"validation-failed","retryable":false}}`, ""},
		"a persisted query":   {request, coded(persistedNotFound, "PersistedQueryNotFound"), `{"message":"PersistedQueryNotFound","extensions":{"code":"PERSISTED_QUERY_NOT_FOUND","retryable":false}}`, ""},
		"introspection off":   {func(ctx context.Context) context.Context { return at(ctx, "x", "__schema") }, gqlerror.WrapPath(ast.Path{ast.PathName("x")}, errors.New("introspection disabled")), `{"message":"introspection is off","path":["x"],"extensions":{"code":"not-supported","retryable":false}}`, ""},
		"anything else":       {field, gqlerror.WrapPath(ast.Path{ast.PathName("mine")}, errors.New("dial tcp 10.0.0.5")), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, `msg="operation failed" field=Query.presence error="dial tcp 10.0.0.5"`},
		"a resolver's own":    {field, gqlerror.Errorf("host %s", "10.0.0.5"), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, "10.0.0.5"},
		"of a request":        {request, errors.New("dial tcp 10.0.0.5"), `{"message":"internal error","extensions":{"code":"unexpected","retryable":true}}`, "10.0.0.5"},
		"a value in Postgres": {field, fmt.Errorf("load presence: %w", &pgError{"22P02", `invalid input syntax for type uuid: "` + secret + `"`}), `{"message":"presence has a value that the database does not take","path":["mine"],"extensions":{"code":"validation-failed","retryable":false}}`, `error="load presence: SQLSTATE 22P02"`},
		"an app's constraint": {field, fmt.Errorf("load presence: %w", &pgError{"23514", "violates " + "check"}), `{"message":"the database refuses presence","path":["mine"],"extensions":{"code":"constraint-violation","retryable":false}}`, "violates check"},
		"an app's trigger":    {field, fmt.Errorf("load presence: %w", &pgError{"P0001", "not on Sundays"}), `{"message":"the database refuses presence","path":["mine"],"extensions":{"code":"constraint-violation","retryable":false}}`, "not on Sundays"},
		"an app's own code":   {field, fmt.Errorf("load presence: %w", &pgError{"PT403", "not on Sundays"}), `{"message":"the database refuses presence","path":["mine"],"extensions":{"code":"constraint-violation","retryable":false}}`, "not on Sundays"},
		"too deep a value":    {field, fmt.Errorf("load presence: %w", &pgError{"54001", "stack depth"}), `{"message":"presence has a value that the database does not take","path":["mine"],"extensions":{"code":"validation-failed","retryable":false}}`, "stack depth"},
		"a fault of ours":     {field, fmt.Errorf("load presence: %w", &pgError{"42P01", "no such table"}), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, "no such table"},
		"a race":              {field, fmt.Errorf("load presence: %w", &pgError{"23505", "duplicate key"}), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, "duplicate key"},
		"an outage":           {field, fmt.Errorf("load presence: %w", &pgError{"57P01", "terminating connection"}), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, "terminating connection"},
		"a deadline":          {field, context.DeadlineExceeded, `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, "deadline exceeded"},
		"the caller has gone": {field, fmt.Errorf("load presence: %w", context.Canceled), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, ""},
		"gone, by the context": {func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(field(ctx))
			cancel()
			return ctx
		}, errors.New("read tcp: i/o timeout"), `{"message":"internal error","path":["mine"],"extensions":{"code":"unexpected","retryable":true}}`, ""},
	} {
		var log logged
		got, err := json.Marshal(Presenter(slog.New(slog.NewTextHandler(&log, nil)))(c.in(t.Context()), c.err))
		if err != nil {
			t.Fatal(name, err)
		}
		if string(got) != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
		text := log.String()
		if !strings.Contains(text, c.log) || c.log == "" && text != "" || strings.Count(text, "\n") > 1 {
			t.Errorf("%s: the log has %q", name, text)
		}
		if strings.Contains(text, secret) || strings.Contains(text, "mine") {
			t.Errorf("%s: the log has what the caller wrote: %q", name, text)
		}
	}
}

// A panic is logged once, with its place, and told as any error of ours.
func TestRecover(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	exchange{body: `{"query":"{ alias: marshals }"}`, code: "unexpected", ran: 1}.check(t, s)
	text := s.log.String()
	if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, `panic="a marshaller's own"`) || !strings.Contains(text, "rig_test.go") {
		t.Errorf("the log has %q", text)
	}
	exchange{ran: 1}.check(t, s) // and nothing else has come to harm
}

func TestAnOperationThatFailsIsLoggedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	exchange{body: `{"query":"{ broken }"}`, code: "unexpected", ran: 1}.check(t, s)
	exchange{body: `{"query":"{ denied }"}`, code: "access-denied", ran: 1}.check(t, s)
	exchange{body: `{"query":"{ nothing }"}`, code: valid}.check(t, s)
	exchange{body: `{"` + secret, status: 400, code: valid}.check(t, s)
	if text := s.log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "secret-host") || strings.Contains(text, secret) {
		t.Errorf("the log has %q", text)
	}
}

// What stands before the transport answers as the transport would.
func TestFail(t *testing.T) {
	t.Parallel()
	tr := New(Options{AlwaysOK: func(r *http.Request) bool { return r.Header.Get("X-Hasura") != "" }})
	for name, c := range map[string]struct {
		accept, hasura string
		err            error
		status         int
		media, want    string
	}{
		"as GraphQL":       {gql, "", fault.New(fault.InvalidJWT, "no"), 401, gql, `{"errors":[{"message":"no","extensions":{"code":"invalid-jwt","retryable":false}}]}`},
		"as JSON":          {"", "", fault.New(fault.InvalidJWT, "no"), 401, mediaJSON, `{"errors":[{"message":"no","extensions":{"code":"invalid-jwt","retryable":false}}]}`},
		"to event streams": {mediaSSE, "", fault.New(fault.InvalidJWT, "no"), 401, mediaJSON, `{"errors":[{"message":"no","extensions":{"code":"invalid-jwt","retryable":false}}]}`},
		"to anything":      {"text/html", "", errors.New(secret), 401, mediaJSON, `{"errors":[{"message":"internal error","extensions":{"code":"unexpected","retryable":true}}]}`},
		"to Hasura":        {"", "yes", fault.Access(), 200, mediaJSON, `{"errors":[{"message":"access denied","extensions":{"code":"access-denied","retryable":false}}]}`},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/graphql", nil)
		r.Header.Set("Accept", c.accept)
		r.Header.Set("X-Hasura", c.hasura)
		w := httptest.NewRecorder()
		tr.Fail(w, r, http.StatusUnauthorized, c.err)
		if w.Code != c.status || w.Body.String() != c.want || w.Header().Get("Content-Type") != c.media+"; charset=utf-8" || w.Header().Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, w.Header())
		}
	}
}

func TestStatusOfRefusals(t *testing.T) {
	t.Parallel()
	for code, want := range map[fault.Code]int{
		fault.Invalid: 400, fault.Unsupported: 400, fault.Conflict: 400, persistedNotFound: 400, "": 400,
		fault.Denied: 403, fault.RateLimited: 429, fault.Unexpected: 500,
		fault.InvalidJWT: 401, fault.InvalidHeaders: 401, fault.MissingRoleClaims: 401, fault.InvalidClaims: 401,
	} {
		if got := statusOf(gqlerror.List{{Extensions: map[string]any{"code": string(code)}}}); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestSocketsAreNotThisTransports(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/graphql", nil)
	if !New(Options{}).Supports(r) {
		t.Error("a plain request is not supported")
	}
	r.Header.Set("Upgrade", "WebSocket")
	if New(Options{}).Supports(r) {
		t.Error("a socket is taken")
	}
}
