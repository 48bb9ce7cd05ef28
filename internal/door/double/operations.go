package double

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// asked is an operation as it is read: its first root field decides what it does.
type asked struct {
	Extensions struct {
		PersistedQuery struct {
			Hash string `json:"sha256Hash"`
		}
	}
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
	op            *ast.OperationDefinition
	field         *ast.Field
}

// persisted are the documents that it knows by their hash.
var persisted = map[string]string{"who": "subscription { whoami }"}

func read(payload []byte) (asked, bool) {
	var a asked
	if json.Unmarshal(payload, &a) != nil {
		return a, false
	}
	if a.Query == "" {
		a.Query = persisted[a.Extensions.PersistedQuery.Hash]
	}
	doc, err := parser.ParseQuery(&ast.Source{Input: a.Query})
	if err != nil || len(doc.Operations) == 0 {
		return a, false
	}
	a.op = doc.Operations[0]
	if a.OperationName != "" {
		if a.op = doc.Operations.ForName(a.OperationName); a.op == nil {
			return a, false
		}
	}
	a.field = first(doc, a.op.SelectionSet)
	return a, a.field != nil
}

func first(doc *ast.QueryDocument, set ast.SelectionSet) *ast.Field {
	for _, s := range set {
		switch x := s.(type) {
		case *ast.Field:
			return x
		case *ast.InlineFragment:
			return first(doc, x.SelectionSet)
		case *ast.FragmentSpread:
			if f := doc.Fragments.ForName(x.Name); f != nil {
				return first(doc, f.SelectionSet)
			}
		}
	}
	return nil
}

func isSubscription(payload []byte) bool {
	a, ok := read(payload)
	return ok && a.op.Operation == ast.Subscription
}

func (a asked) arg(name string) string {
	arg := a.field.Arguments.ForName(name)
	if arg == nil {
		return ""
	}
	v, err := arg.Value.Value(a.Variables)
	if err != nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (a asked) number(name string) int {
	n, _ := strconv.Atoi(a.arg(name)) //nolint:errcheck // then 0
	return n
}

func (a asked) data(value []byte) json.RawMessage {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"data":{%q:`, a.field.Alias)
	b.Write(value)
	b.WriteString("}}")
	return b.Bytes()
}

// once is the answer to a query or a mutation.
func (h *server) once(ctx context.Context, payload []byte, vars map[string]string) json.RawMessage {
	a, ok := read(payload)
	switch {
	case !ok:
		return refused("validation-failed", "not a valid graphql query")
	case a.op.Operation == ast.Subscription:
		return refused("unexpected", "subscriptions are not supported over HTTP, use websockets instead")
	}
	switch name := a.field.Name; name {
	case "__schema", "__type":
		if h.o.Schema == nil {
			return refused("validation-failed", "introspection is disabled for role "+vars["x-hasura-role"])
		}
		return h.o.Schema(a.Query, a.Variables)
	case "__typename":
		return a.data([]byte(`"query_root"`))
	case "whoami":
		b, _ := json.Marshal(vars) //nolint:errchkjson // plain
		return a.data(b)
	case "slow":
		wait(ctx, time.Duration(a.number("ms"))*time.Millisecond)
		return a.data([]byte(`"done"`))
	case "held":
		var gate chan struct{}
		h.locked(func() { gate = h.gate })
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		return a.data([]byte(`"done"`))
	case "hang": // a mutation that is done and not answered
		<-ctx.Done()
		return nil
	case "big":
		return a.data([]byte(`"` + strings.Repeat("x", a.number("kb")<<10) + `"`))
	case "add":
		return h.add(ctx, a)
	default:
		rows, err := h.rows(ctx, name)
		if err != nil {
			return refused("validation-failed", "field '"+name+"' not found in type: 'query_root'")
		}
		return a.data(rows)
	}
}

// wait waits, but for the context's end.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// add inserts a row.
func (h *server) add(ctx context.Context, a asked) json.RawMessage {
	var id int
	err := h.o.Pool.QueryRow(ctx, "insert into "+pgx.Identifier{a.arg("into")}.Sanitize()+" (text) values ($1) returning id", a.arg("text")).Scan(&id)
	if err != nil {
		return refused("constraint-violation", err.Error())
	}
	return a.data([]byte(strconv.Itoa(id)))
}

// rows are those of a table, as JSON.
func (h *server) rows(ctx context.Context, table string) ([]byte, error) {
	if h.o.Pool == nil {
		return nil, fmt.Errorf("no table %s", table)
	}
	h.Polled.Add(1)
	var out []byte
	err := h.o.Pool.QueryRow(ctx, "select coalesce(json_agg(t order by t.id), '[]') from "+pgx.Identifier{table}.Sanitize()+" t").Scan(&out)
	return out, err
}

// answer answers an operation that has one answer.
func (c *conn) answer(ctx context.Context, id string, payload []byte, vars map[string]string) {
	a, ok := read(payload)
	switch {
	case !ok, a.field.Name == "fails":
		c.failed(id, `{"message":"it failed","extensions":{"path":"$","code":"validation-failed"}}`)
		return
	case a.field.Name == "garbage":
		c.write([]byte(`{"type":"next","id":`))
		return
	}
	if a.field.Name == "half" { // a result, and never its end
		c.result(id, a.data([]byte(`"of it"`)))
		<-ctx.Done()
		return
	}
	r := c.h.once(ctx, payload, vars)
	if ctx.Err() != nil {
		return
	}
	if bytes.HasPrefix(r, []byte(`{"errors"`)) {
		c.failed(id, strings.TrimSuffix(strings.TrimPrefix(string(r), `{"errors":[`), `]}`))
		return
	}
	c.result(id, r)
	c.say(id, "complete", nil)
}

// subscribed runs a subscription: a live query, told when it changes; or a
// stream, told what lies after its cursor.
func (c *conn) subscribed(ctx context.Context, id string, payload []byte, vars map[string]string) {
	a, _ := read(payload)
	if a.field.Name == "flood" { // as much as goes
		for ctx.Err() == nil {
			c.result(id, a.data([]byte(`"`+strings.Repeat("x", a.number("kb")<<10)+`"`)))
		}
		return
	}
	if a.field.Name == "big" { // once
		c.result(id, a.data([]byte(`"`+strings.Repeat("x", a.number("kb")<<10)+`"`)))
		<-ctx.Done()
		return
	}
	if table, ok := strings.CutSuffix(a.field.Name, "_stream"); ok {
		c.stream(ctx, id, a, table)
		return
	}
	tick := time.NewTicker(c.h.o.Poll)
	defer tick.Stop()
	var last []byte
	for {
		var rows []byte
		var err error
		if a.field.Name == "whoami" {
			rows, _ = json.Marshal(vars) //nolint:errchkjson // plain
		} else {
			rows, err = c.h.rows(ctx, a.field.Name)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.failed(id, `{"message":"field '`+a.field.Name+`' not found in type: 'subscription_root'","extensions":{"path":"$","code":"validation-failed"}}`)
			return
		case !bytes.Equal(rows, last):
			last = rows
			c.result(id, a.data(rows))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) stream(ctx context.Context, id string, a asked, table string) {
	from := 0
	if cursor := a.field.Arguments.ForName("cursor"); cursor != nil {
		if v, err := cursor.Value.Value(a.Variables); err == nil {
			text, _ := json.Marshal(v) //nolint:errchkjson // plain
			var is struct {
				Initial struct{ ID int } `json:"initial_value"`
			}
			_ = json.Unmarshal(text, &is) //nolint:errcheck // then from the beginning
			from = is.Initial.ID
		}
	}
	tick := time.NewTicker(c.h.o.Poll)
	defer tick.Stop()
	for {
		var rows []byte
		var to *int
		q := "select coalesce(json_agg(t order by t.id), '[]'), max(t.id) from (select * from " + pgx.Identifier{table}.Sanitize() + " where id > $1 order by id limit $2) t"
		if err := c.h.o.Pool.QueryRow(ctx, q, from, max(1, a.number("batch_size"))).Scan(&rows, &to); err != nil {
			return
		}
		if to != nil {
			from = *to
			c.result(id, a.data(rows))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
