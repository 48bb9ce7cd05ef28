package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

type refusal []any

func refuse(code, message string) refusal {
	return refusal{hasura.Tree{"message": message, "extensions": hasura.Tree{"path": "$", "code": code}}}
}

// graphql runs one operation: each root field by itself, in order, and the first
// that fails is the whole answer.
func (d *double) graphql(r *http.Request, body []byte) (int, any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.client = r.Header
	vars, role, ok := asks(r.Header)
	if !ok {
		return 200, hasura.Tree{"errors": refuse("invalid-jwt", "Could not verify JWT: JWSError JWSInvalidSignature")}
	}
	call := decode(body)
	query, _ := at(call, "query").(string)
	doc, err := parser.ParseQuery(&ast.Source{Input: query})
	if err != nil || len(doc.Operations) != 1 {
		return 200, hasura.Tree{"errors": refuse("validation-failed", "not a valid graphql query")}
	}
	op := doc.Operations[0]
	given, _ := at(call, "variables").(hasura.Tree)
	data := hasura.Tree{}
	for _, f := range flatten(op.SelectionSet, doc) {
		f := f.(*ast.Field)
		var value any
		var wrong refusal
		if action := d.action(f.Name); action != nil {
			value, wrong = d.act(action, f, op, given, vars, role)
		} else if table := d.table(f.Name); table != nil {
			value, wrong = d.rows(table, f, vars)
		} else {
			value, wrong = d.forward(f, op, given, vars, role)
		}
		if wrong != nil {
			return 200, hasura.Tree{"errors": []any(wrong)}
		}
		data[f.Alias] = value
	}
	return 200, hasura.Tree{"data": data}
}

// flatten puts fragments in the place of their spreads, and leaves directives out.
func flatten(set ast.SelectionSet, doc *ast.QueryDocument) (out ast.SelectionSet) {
	for _, s := range set {
		switch x := s.(type) {
		case *ast.Field:
			f := *x
			f.Directives = nil
			f.SelectionSet = flatten(x.SelectionSet, doc)
			out = append(out, &f)
		case *ast.InlineFragment:
			f := *x
			f.Directives = nil
			f.SelectionSet = flatten(x.SelectionSet, doc)
			out = append(out, &f)
		case *ast.FragmentSpread:
			out = append(out, flatten(doc.Fragments.ForName(x.Name).SelectionSet, doc)...)
		}
	}
	return out
}

func printed(op *ast.OperationDefinition) string {
	var b bytes.Buffer
	formatter.NewFormatter(&b).FormatQueryDocument(&ast.QueryDocument{Operations: ast.OperationList{op}})
	return b.String()
}

// forward sends one root field to the remote schema.
func (d *double) forward(f *ast.Field, op *ast.OperationDefinition, given hasura.Tree, vars map[string]string, role string) (any, refusal) {
	if d.remote == nil { // inconsistent: Hasura serves the rest
		return nil, refuse("validation-failed", "field '"+f.Name+"' not found in type: 'query_root'")
	}
	root := d.remote.Query
	if op.Operation == ast.Mutation {
		root = d.remote.Mutation
	}
	if f.Name == "__typename" {
		return root.Name, nil
	}
	if root.Fields.ForName(f.Name) == nil {
		return nil, refuse("validation-failed", "field '"+f.Name+"' not found in type: 'query_root'")
	}
	out := *f
	if role != "admin" {
		doc := d.roles[role]
		if doc == nil || doc.Definitions.ForName(root.Name) == nil || doc.Definitions.ForName(root.Name).Fields.ForName(f.Name) == nil {
			return nil, refuse("validation-failed", "field '"+f.Name+"' not found in type: 'query_root'")
		}
		for _, a := range doc.Definitions.ForName(root.Name).Fields.ForName(f.Name).Arguments {
			p := a.Directives.ForName("preset")
			if p == nil {
				continue
			}
			if f.Arguments.ForName(a.Name) != nil {
				return nil, refuse("validation-failed", "'"+f.Name+"' has no argument named '"+a.Name+"'")
			}
			out.Arguments = append(slices.Clone(out.Arguments), &ast.Argument{Name: a.Name, Value: p.Arguments.ForName("value").Value})
		}
	}
	one := &ast.OperationDefinition{Operation: op.Operation, SelectionSet: ast.SelectionSet{&out}}
	text, send := printed(one), hasura.Tree{}
	for _, v := range op.VariableDefinitions {
		if strings.Contains(text, "$"+v.Variable) {
			one.VariableDefinitions = append(one.VariableDefinitions, v)
			send[v.Variable] = given[v.Variable]
		}
	}
	answer, wrong := d.remotely(printed(one), send, vars)
	if wrong != nil {
		return nil, wrong
	}
	value, ok := answer[f.Alias]
	if !ok {
		return nil, refuse("unexpected", "expecting key "+f.Alias)
	}
	return value, nil
}

// remotely posts an anonymous operation with what a user's session holds; what
// comes back is data or errors and never both.
func (d *double) remotely(query string, variables hasura.Tree, vars map[string]string) (hasura.Tree, refusal) {
	var rs hasura.Tree
	for _, x := range objects(d.meta["remote_schemas"]) {
		if x["name"] == hasura.Name {
			rs = x
		}
	}
	h := d.headers(at(rs, "definition", "headers"))
	for name, value := range vars {
		if h.Get(name) == "" {
			h.Set(name, value)
		}
	}
	h = d.forwarded(h, at(rs, "definition"))
	d.asked = append(d.asked, query)
	body := hasura.Tree{"query": query}
	if len(variables) > 0 {
		body["variables"] = variables
	}
	url, _ := at(rs, "definition", "url").(string)
	status, text := d.post(d.fill(url), h, body)
	answer, ok := decode(text).(hasura.Tree)
	if !ok {
		return nil, refuse("remote-schema-error", fmt.Sprintf("HTTP exception occurred while sending the request to %s", url))
	}
	if status != 200 {
		d.t.Errorf("a remote schema answers %d to Hasura: %.200s", status, text)
	}
	if errs, there := answer["errors"]; there {
		list, ok := errs.([]any)
		if !ok {
			return nil, refuse("unexpected", `Invalid "errors" field in response from remote`)
		}
		return nil, refusal(list)
	}
	data, ok := answer["data"].(hasura.Tree)
	if !ok {
		return nil, refuse("unexpected", `Missing "data" field in response from remote`)
	}
	return data, nil
}

func (d *double) action(name string) hasura.Tree {
	for _, a := range objects(d.meta["actions"]) {
		if a["name"] == name {
			return a
		}
	}
	return nil
}

// act calls an action's webhook. Of a status that is neither 2xx nor 4xx the
// client learns nothing.
func (d *double) act(action hasura.Tree, f *ast.Field, op *ast.OperationDefinition, given hasura.Tree, vars map[string]string, role string) (any, refusal) {
	allowed := role == "admin"
	for _, p := range objects(action["permissions"]) {
		allowed = allowed || p["role"] == role
	}
	if !allowed {
		return nil, refuse("validation-failed", "field '"+f.Name+"' not found")
	}
	input := hasura.Tree{}
	for _, a := range f.Arguments {
		v, err := a.Value.Value(given)
		if err != nil {
			return nil, refuse("validation-failed", err.Error())
		}
		input[a.Name] = v
	}
	handler, _ := at(action, "definition", "handler").(string)
	status, text := d.post(d.fill(handler), d.forwarded(d.headers(at(action, "definition", "headers")), at(action, "definition")), hasura.Tree{
		"action": hasura.Tree{"name": f.Name}, "input": input, "session_variables": vars, "request_query": printed(op)})
	answer := decode(text)
	switch {
	case answer == nil:
		return nil, refuse("unexpected", "not a valid json response from webhook")
	case status >= 200 && status < 300:
		return answer, nil
	case status >= 400 && status < 500:
		message, ok := at(answer, "message").(string)
		if !ok {
			return nil, refuse("unexpected", "internal error")
		}
		return nil, refusal{hasura.Tree{"message": message, "extensions": at(answer, "extensions")}}
	}
	return nil, refuse("unexpected", "internal error")
}

func (d *double) table(field string) hasura.Tree {
	for _, s := range objects(d.meta["sources"]) {
		for _, t := range objects(s["tables"]) {
			if at(t, "table", "name") == field {
				return t
			}
		}
	}
	return nil
}

// rows answers a table's ids and what is joined to them: each relationship by
// one operation of aliases f0, f1, … with the values as literals.
func (d *double) rows(table hasura.Tree, f *ast.Field, vars map[string]string) (any, refusal) {
	rows, err := d.pool.Query(d.t.Context(), `select id::text from public.`+f.Name+` order by id`)
	if err != nil {
		return nil, refuse("postgres-error", err.Error())
	}
	var out []any
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, refuse("postgres-error", err.Error())
		}
		out = append(out, hasura.Tree{"id": id})
	}
	for _, s := range f.SelectionSet {
		x, _ := s.(*ast.Field)
		for _, r := range objects(table["remote_relationships"]) {
			if r["name"] != x.Name {
				continue
			}
			if wrong := d.join(r, x, out, vars); wrong != nil {
				return nil, wrong
			}
		}
	}
	return out, nil
}

func (d *double) join(r hasura.Tree, x *ast.Field, rows []any, vars map[string]string) refusal {
	fields, _ := at(r, "definition", "to_remote_schema", "remote_field").(hasura.Tree)
	op := &ast.OperationDefinition{Operation: ast.Query}
	for name, def := range fields {
		args, _ := at(def, "arguments").(hasura.Tree)
		for i, row := range rows {
			one := &ast.Field{Alias: fmt.Sprintf("f%d", i), Name: name, SelectionSet: x.SelectionSet}
			for arg, value := range args {
				column := strings.TrimPrefix(fmt.Sprint(value), "$")
				one.Arguments = append(one.Arguments, &ast.Argument{Name: arg, Value: &ast.Value{Kind: ast.StringValue, Raw: fmt.Sprint(at(row, column))}})
			}
			op.SelectionSet = append(op.SelectionSet, one)
		}
	}
	data, wrong := d.remotely(printed(op), nil, vars)
	if wrong != nil {
		return refusal{hasura.Tree{"message": "Errors from remote server", "extensions": hasura.Tree{"code": "unexpected", "path": "$", "internal": hasura.Tree{"errors": []any(wrong)}}}}
	}
	for i, row := range rows {
		value, ok := data[fmt.Sprintf("f%d", i)]
		if !ok {
			return refuse("unexpected", fmt.Sprintf("failed to lookup key 'f%d' in response", i))
		}
		row.(hasura.Tree)[x.Alias] = value
	}
	return nil
}

// deliver calls an event trigger's webhook as metadata say, n times.
func (d *double) deliver(trigger, table string, n int, event string) (statuses []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range objects(d.table(table)["event_triggers"]) {
		if e["name"] != trigger {
			continue
		}
		for range n {
			status, _ := d.post(d.fill(fmt.Sprint(e["webhook"])), d.headers(e["headers"]), json.RawMessage(event))
			statuses = append(statuses, status)
		}
	}
	return statuses
}
