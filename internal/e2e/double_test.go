package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/hasura/rolesdl"
)

// double behaves as Hasura does where this server meets it: it is no Hasura.
// What it does was read in Hasura's sources and documentation.
type double struct {
	t    *testing.T
	srv  *httptest.Server
	pool *pgxpool.Pool
	env  map[string]string // of Hasura's container

	mu      sync.Mutex
	meta    hasura.Tree                    // guarded by mu
	version int                            // guarded by mu
	busy    int                            // guarded by mu: how often somebody else is first
	cache   *ast.Schema                    // guarded by mu: introspected once, until a reload
	remote  *ast.Schema                    // guarded by mu: as introspected
	roles   map[string]*ast.SchemaDocument // guarded by mu
	asked   []string                       // guarded by mu: the operations sent to the remote schema
	client  http.Header                    // guarded by mu: of the operation that runs
}

func newDouble(t *testing.T, n *node, pool *pgxpool.Pool) *double {
	t.Helper()
	d := &double{t: t, pool: pool, version: 1, env: map[string]string{"NCHAT_REALTIME_URL": n.base, "HASURA_WEBHOOK_SECRET": hookSecret},
		meta: hasura.Tree{"version": json.Number("3"), "sources": []any{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/version", d.json(func(*http.Request, []byte) (int, any) {
		return 200, hasura.Tree{"version": "v2.44.0", "server_type": "ce"}
	}))
	mux.HandleFunc("GET /v1alpha1/config", d.json(func(*http.Request, []byte) (int, any) {
		return 200, hasura.Tree{"version": "v2.44.0", "is_remote_schema_permissions_enabled": true, "is_jwt_set": true}
	}))
	mux.HandleFunc("POST /v1/metadata", d.json(d.metadata))
	mux.HandleFunc("POST /v1/graphql", d.json(d.graphql))
	d.srv = httptest.NewServer(mux)
	t.Cleanup(d.srv.Close)
	return d
}

func (d *double) json(f func(*http.Request, []byte) (int, any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status, out := f(r, body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(out) //nolint:errchkjson // what we made
	}
}

// decode keeps numbers as they are.
func decode(text []byte) (x any) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&x) != nil {
		return nil
	}
	return x
}

func at(x any, path ...string) any {
	for _, key := range path {
		m, _ := x.(hasura.Tree)
		x = m[key]
	}
	return x
}

func objects(x any) (out []hasura.Tree) {
	l, _ := x.([]any)
	for _, o := range l {
		if m, ok := o.(hasura.Tree); ok {
			out = append(out, m)
		}
	}
	return out
}

// metadata is the metadata API: versions, all or nothing, inconsistencies.
func (d *double) metadata(r *http.Request, body []byte) (int, any) {
	if r.Header.Get("X-Hasura-Admin-Secret") != admin {
		return 401, hasura.Tree{"path": "$", "error": `invalid "x-hasura-admin-secret"/"x-hasura-access-key"`, "code": "access-denied"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	call := decode(body)
	switch at(call, "type") {
	case "export_metadata":
		return 200, hasura.Tree{"resource_version": d.version, "metadata": d.meta}
	case "get_inconsistent_metadata":
		wrong := d.inconsistent(d.meta)
		return 200, hasura.Tree{"is_consistent": len(wrong) == 0, "inconsistent_objects": wrong}
	case "reload_remote_schema":
		for _, rs := range objects(d.meta["remote_schemas"]) {
			if s, err := d.introspect(rs); err == nil && rs["name"] == at(call, "args", "name") {
				d.cache = s
				d.version++ // it counts as a change
				return 200, hasura.Tree{"message": "success"}
			}
		}
		return 400, hasura.Tree{"path": "$.args.name", "error": "remote schema with name does not exist, or is inconsistent", "code": "not-exists"}
	case "replace_metadata":
		if d.busy > 0 {
			d.busy--
			d.version++
		}
		if fmt.Sprint(at(call, "resource_version")) != fmt.Sprint(d.version) {
			return 409, hasura.Tree{"path": "$", "error": fmt.Sprintf("metadata resource version referenced (%v) did not match current version", at(call, "resource_version")), "code": "conflict"}
		}
		next, _ := at(call, "args", "metadata").(hasura.Tree)
		if wrong := d.inconsistent(next); len(wrong) > 0 {
			return 400, hasura.Tree{"path": "$.args", "error": "cannot continue due to inconsistent metadata", "code": "unexpected", "internal": wrong}
		}
		d.meta = next
		d.version++
		return 200, hasura.Tree{"message": "success"}
	}
	return 400, hasura.Tree{"path": "$.type", "error": "unknown", "code": "parse-failed"}
}

func (d *double) fill(template string) string {
	for k, v := range d.env {
		template = strings.ReplaceAll(template, "{{"+k+"}}", v)
	}
	return template
}

// headers are those that metadata configure.
func (d *double) headers(def any) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"hasura-graphql-engine/v2.44.0"}}
	for _, x := range objects(def) {
		value, _ := x["value"].(string)
		if env, ok := x["value_from_env"].(string); ok {
			value = d.env[env]
		}
		h.Set(fmt.Sprint(x["name"]), value)
	}
	return h
}

// forwarded adds a client's own headers where metadata want them forwarded: all
// but what Hasura keeps to itself, and never over one that is there.
func (d *double) forwarded(h http.Header, def any) http.Header {
	on, _ := at(def, "forward_client_headers").(bool)
	for name, values := range d.client {
		own := strings.HasPrefix(strings.ToLower(name), "x-hasura-") || strings.Contains(" Accept Content-Length Content-Type User-Agent Accept-Encoding ", " "+name+" ")
		if on && !own && h.Get(name) == "" {
			h[name] = values
		}
	}
	return h
}

// inconsistent introspects remote schemas and checks what stands on them.
func (d *double) inconsistent(meta hasura.Tree) (wrong []any) {
	say := func(kind string, name any, reason any) {
		wrong = append(wrong, hasura.Tree{"type": kind, "name": fmt.Sprint(name), "reason": fmt.Sprint(reason)})
	}
	d.remote, d.roles = nil, map[string]*ast.SchemaDocument{}
	for _, rs := range objects(meta["remote_schemas"]) {
		s, err := d.introspect(rs)
		if err != nil {
			say("remote_schema", rs["name"], err)
			continue
		}
		if d.cache == nil {
			d.cache = s
		}
		s = d.cache
		d.remote = s
		for _, p := range objects(rs["permissions"]) {
			sdl, _ := at(p, "definition", "schema").(string)
			for _, line := range rolesdl.Wrong(sdl, s) {
				say("remote_schema_permission", p["role"], line)
			}
			if doc, err := parser.ParseSchema(&ast.Source{Input: sdl}); err == nil {
				d.roles[fmt.Sprint(p["role"])] = doc
			}
		}
	}
	for _, src := range objects(meta["sources"]) {
		for _, table := range objects(src["tables"]) {
			for _, r := range objects(table["remote_relationships"]) {
				fields, _ := at(r, "definition", "to_remote_schema", "remote_field").(hasura.Tree)
				for name := range fields {
					if d.remote == nil || d.remote.Query.Fields.ForName(name) == nil {
						say("remote_relationship", r["name"], "field not found: "+name)
					}
				}
			}
		}
	}
	return wrong
}

// introspect asks as Hasura does: as admin, without a token, and takes nothing
// that Hasura would not.
func (d *double) introspect(rs hasura.Tree) (*ast.Schema, error) {
	query, err := os.ReadFile("testdata/hasura_introspection.graphql")
	if err != nil {
		return nil, err
	}
	h := d.headers(at(rs, "definition", "headers"))
	h.Set("X-Hasura-Role", "admin")
	url, _ := at(rs, "definition", "url").(string)
	status, body := d.post(d.fill(url), h, hasura.Tree{"query": string(query), "operationName": "IntrospectionQuery", "variables": nil})
	answer, _ := decode(body).(hasura.Tree)
	if _, ok := answer["errors"]; ok || answer == nil || status != 200 {
		return nil, fmt.Errorf("introspection: %d %.300s", status, body)
	}
	sdl, err := sdlOf(at(answer, "data", "__schema"))
	if err != nil {
		return nil, err
	}
	s, gerr := gqlparser.LoadSchema(&ast.Source{Name: "remote", Input: sdl})
	if gerr != nil {
		return nil, gerr
	}
	return s, nil
}

// sdlOf reads an introspection by Hasura's rules.
func sdlOf(schema any) (string, error) {
	var b strings.Builder
	var wrong error
	must := func(ok bool, format string, args ...any) {
		if !ok && wrong == nil {
			wrong = fmt.Errorf(format, args...)
		}
	}
	var typ func(x any) string
	typ = func(x any) string {
		name, _ := at(x, "name").(string)
		switch at(x, "kind") {
		case "NON_NULL":
			must(at(x, "ofType") != nil, "NON_NULL of nothing")
			return typ(at(x, "ofType")) + "!"
		case "LIST":
			must(at(x, "ofType") != nil, "LIST of nothing")
			return "[" + typ(at(x, "ofType")) + "]"
		}
		must(name != "", "a type without a name")
		return name
	}
	values := func(x any) string {
		var out []string
		for _, v := range objects(x) {
			line := fmt.Sprintf("%s: %s", v["name"], typ(v["type"]))
			if def, ok := v["defaultValue"].(string); ok {
				line += " = " + def
			}
			out = append(out, line)
		}
		return strings.Join(out, "\n")
	}
	for _, x := range objects(at(schema, "types")) {
		name := fmt.Sprint(x["name"])
		if strings.HasPrefix(name, "__") || strings.Contains(" Int Float String Boolean ID ", " "+name+" ") {
			continue
		}
		switch x["kind"] {
		case "SCALAR":
			fmt.Fprintf(&b, "scalar %s\n", name)
		case "ENUM":
			fmt.Fprintf(&b, "enum %s {", name)
			must(len(objects(x["enumValues"])) > 0, "enum %s without values", name)
			for _, v := range objects(x["enumValues"]) {
				fmt.Fprintf(&b, " %s", v["name"])
			}
			b.WriteString(" }\n")
		case "INPUT_OBJECT":
			fmt.Fprintf(&b, "input %s {\n%s\n}\n", name, values(x["inputFields"]))
		case "UNION":
			var of []string
			for _, p := range objects(x["possibleTypes"]) {
				must(p["kind"] == "OBJECT", "union %s of no object", name)
				of = append(of, fmt.Sprint(p["name"]))
			}
			must(len(of) > 0, "union %s of nothing", name)
			fmt.Fprintf(&b, "union %s = %s\n", name, strings.Join(of, " | "))
		case "OBJECT":
			fmt.Fprintf(&b, "type %s {\n", name)
			for _, f := range objects(x["fields"]) {
				_, ok := f["args"].([]any)
				must(ok, "%s.%s without args", name, f["name"])
				args := values(f["args"])
				if args != "" {
					args = "(" + args + ")"
				}
				fmt.Fprintf(&b, "  %s%s: %s\n", f["name"], args, typ(f["type"]))
			}
			b.WriteString("}\n")
		default:
			must(false, "unknown kind %v", x["kind"])
		}
	}
	must(at(schema, "queryType", "name") != nil, "no query root")
	must(at(schema, "subscriptionType") == nil, "a subscription root, which Hasura publishes and refuses")
	return b.String(), wrong
}

func (d *double) post(url string, h http.Header, body any) (int, []byte) {
	text, err := json.Marshal(body)
	if err != nil {
		d.t.Error(err)
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(text)) //nolint:noctx // the test's server ends with it
	if err != nil {
		d.t.Error(err)
		return 0, nil
	}
	req.Header = h
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, _ := io.ReadAll(res.Body)
	return res.StatusCode, answer
}

// asks is who asks Hasura, by its own rules; false: nobody it lets in. With
// no credentials, what the client says of itself is its session.
func asks(h http.Header) (vars map[string]string, role string, ok bool) {
	vars = map[string]string{}
	own := func() {
		for name := range h {
			if low := strings.ToLower(name); strings.HasPrefix(low, "x-hasura-") && low != "x-hasura-admin-secret" && low != "x-hasura-access-key" {
				vars[low] = h.Get(name)
			}
		}
	}
	if s := h.Get("X-Hasura-Admin-Secret"); s != "" {
		own()
		if vars["x-hasura-role"] == "" {
			vars["x-hasura-role"] = "admin"
		}
		return vars, vars["x-hasura-role"], s == admin
	}
	bearer, found := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !found {
		own()
		vars["x-hasura-role"] = "anonymous"
		return vars, "anonymous", true
	}
	claims := jwt.MapClaims{}
	var key struct{ Key string }
	_ = json.Unmarshal([]byte(secret), &key)
	if _, err := jwt.ParseWithClaims(bearer, claims, func(*jwt.Token) (any, error) { return []byte(key.Key), nil }); err != nil {
		return nil, "", false
	}
	for name, value := range claims["https://hasura.io/jwt/claims"].(map[string]any) {
		if text, ok := value.(string); ok && name != "x-hasura-default-role" {
			vars[strings.ToLower(name)] = text
		} else if name == "x-hasura-default-role" {
			vars["x-hasura-role"] = text
		}
	}
	return vars, vars["x-hasura-role"], true
}
