package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// value is one of an argument, to be written as JSON or as a literal of GraphQL.
type value struct {
	json   string // where it is neither of these
	enum   bool   // a name in GraphQL
	list   []value
	fields []namedValue
	kind   byte // 'l' a list, 'o' an object, else json
}

type namedValue struct {
	name string
	value
}

func raw(json string) value    { return value{json: json} }
func listOf(of ...value) value { return value{kind: 'l', list: of} }
func text(s string) value      { return raw(strconv.QuoteToASCII(s)) } // of ASCII and \u only, as used here
func (v value) as(jsonText bool) string {
	var b strings.Builder
	switch v.kind {
	case 'l':
		b.WriteByte('[')
		for i, x := range v.list {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(x.as(jsonText))
		}
		b.WriteByte(']')
	case 'o':
		b.WriteByte('{')
		for i, f := range v.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			if jsonText {
				b.WriteString(strconv.Quote(f.name) + ":" + f.as(true))
			} else {
				b.WriteString(f.name + ":" + f.as(false))
			}
		}
		b.WriteByte('}')
	default:
		switch {
		case jsonText:
			return v.json
		case v.enum:
			return strings.Trim(v.json, `"`)
		case strings.HasPrefix(v.json, "{"):
			return keys.ReplaceAllString(v.json, "$1:") // of metadata
		}
		return v.json
	}
	return b.String()
}

var keys = regexp.MustCompile(`"([A-Za-z_]\w*)":`)

func raws(list ...string) (out []value) {
	for _, x := range list {
		out = append(out, raw(x))
	}
	return out
}

var long = strings.Repeat("x", 70000)

// oddOf are values of each scalar: right ones, wrong ones, and those in between.
var oddOf = map[string][]value{
	"Boolean": raws(`true`, `false`, `null`, `"true"`, `1`, `{}`, `[true]`),
	"Int": raws(`0`, `-1`, `1`, `7`, `100`, `1000`, `1001`, `2147483647`, `2147483648`, `-2147483648`, `-2147483649`, `9223372036854775807`, `9223372036854775808`,
		`-9223372036854775808`, `-9223372036854775809`, `1e2`, `1e308`, `1e400`, `-1e400`, `1.5`, `1e-400`, `"1"`, `true`, `null`, `{}`, `[1]`, `-0`),
	"String": raws(`""`, `"a"`, `" "`, `"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\udc00\ud800"`, `"\u202e"`, `"\u200b"`, `"\n"`, `"\u0001"`, `"\uffff"`, `"\ufeff"`,
		`"\ud83d\udc4b"`, `"\ud83c\udf89\ud83c\udf89"`, `"'; drop table x; --"`, `"%s%n$1"`, `"\\u0000"`, `"null"`, `"AAAA"`, `"ey.ey.x"`, `"`+long+`"`,
		`"`+strings.Repeat(`\u0001`, 300)+`"`, `7`, `1e400`, `true`, `null`, `{}`, `["a"]`),
	"uuid": raws(`"`+demo.Alice.String()+`"`, `"`+demo.Bob.String()+`"`, `"`+demo.Erin.String()+`"`, `"`+demo.Team.String()+`"`, `"`+demo.AliceBob.String()+`"`,
		`"00000000-0000-0000-0000-000000000000"`, `"ffffffff-ffff-ffff-ffff-ffffffffffff"`, `"FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF"`, `"5a0e1d14-9d5c-4e9e-b9d1-0a4d1f6b2c3d"`,
		`""`, `"x"`, `"{00000000-0000-4000-8000-000000000001}"`, `"00000000000040008000000000000001"`, `"00000000-0000-4000-8000-00000000000\u0000"`, `7`, `true`, `null`, `{}`, `[]`),
	"timestamptz": raws(`"2026-01-31T12:00:00Z"`, `"2126-01-31T12:00:00Z"`, `"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999Z"`, `"9999-12-31T23:59:59.999999999Z"`,
		`"0000-01-01T00:00:00Z"`, `"10000-01-01T00:00:00Z"`, `"-0001-01-01T00:00:00Z"`, `"infinity"`, `"-infinity"`, `"now"`, `"2026-02-30T00:00:00Z"`, `"2026-01-31"`, `"2026-12-31T23:59:60Z"`,
		`"2026-01-31T12:00:00+23:59"`, `"2026-01-31T12:00:00+24:00"`, `"0001-01-01T00:00:00+14:00"`, `"1969-12-31T23:59:59Z"`, `""`, `1700000000`, `1e400`, `true`, `null`, `{}`),
	"jsonb": raws(`{}`, `{"a":1}`, `{"a":{"b":[1,"x",null,true]}}`, `[]`, `"x"`, `1`, `true`, `null`, `1e400`, `{"n":1e308}`, `{"n":1e309}`, `{"n":1e131072}`, `{"n":-1e131072}`,
		`{"n":1e-400}`, `{"n":1e-20000}`, `{"n":0e-20000}`, `{"n":0e999999999999}`, `{"n":1e999999999999}`, `{"n":-0}`, `{"n":0.1e-5}`, `{"n":123456789012345678901234567890}`,
		`{"s":"\u0000"}`, `{"s":"\\u0000"}`, `{"s":"\ud800"}`, `{"s":"\ufffe"}`, `{"s":"`+long+`"}`,
		`{"a":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`, `{"a":`+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+`}`, `[`+strings.Repeat(`1e308,`, 500)+`1]`),
}

// phrases writes operations for a schema.
type phrases struct {
	schema  *ast.Schema
	message uuid.UUID // of Alice's, in Team
}

// good is a value that is let in, for the argument of a name.
func (a phrases) good(t *ast.Type, name string) value {
	if t.Elem != nil {
		return listOf(a.good(t.Elem, name))
	}
	def := a.schema.Types[t.NamedType]
	switch {
	case def.Kind == ast.Enum:
		return value{json: strconv.Quote(def.EnumValues[0].Name), enum: true}
	case def.Kind == ast.InputObject:
		out := value{kind: 'o'}
		for _, f := range def.Fields {
			if f.Type.NonNull || f.Name == "channelId" || f.Name == "content" || f.Name == "text" || f.Name == "visibility" {
				out.fields = append(out.fields, namedValue{f.Name, a.good(f.Type, f.Name)})
			}
		}
		return out
	}
	switch name {
	case "channelId", "channelIds":
		return text(demo.Team.String())
	case "messageId", "messageIds", "id":
		return text(a.message.String())
	case "waitMs":
		return raw(`0`)
	}
	switch t.NamedType {
	case "uuid":
		return text(demo.Bob.String())
	case "Int":
		return raw(`1`)
	case "Boolean":
		return raw(`true`)
	case "timestamptz":
		return raw(`"2026-12-31T12:00:00Z"`)
	case "jsonb":
		return raw(`{"a":1}`)
	}
	return text("a")
}

// odd are the values to be tried where a type is wanted: at each place within it
// by itself, the others good.
func (a phrases) odd(t *ast.Type, name string, depth int) []value {
	if t.Elem != nil {
		one := a.good(t.Elem, name)
		many := make([]value, 1001)
		for i := range many {
			many[i] = one
		}
		out := []value{listOf(), raw(`null`), listOf(raw(`null`)), listOf(one, one), listOf(many...), listOf(listOf(one)), one, raw(`7`), raw(`"x"`)}
		for _, x := range a.odd(t.Elem, name, depth) {
			out = append(out, listOf(x), listOf(one, x))
		}
		return out
	}
	def := a.schema.Types[t.NamedType]
	switch {
	case def.Kind == ast.Enum:
		out := append([]value{}, oddOf["String"]...)
		for _, e := range def.EnumValues {
			out = append(out, value{json: strconv.Quote(e.Name), enum: true}, value{json: strconv.Quote(strings.ToUpper(e.Name)), enum: true},
				value{json: strconv.Quote(strings.ToUpper(e.Name[:1]) + e.Name[1:])})
		}
		return out
	case def.Kind == ast.InputObject:
		base := a.good(t, name)
		out := []value{base, {kind: 'o'}, raw(`null`), listOf(base), raw(`7`), {kind: 'o', fields: append(base.fields[:len(base.fields):len(base.fields)], namedValue{"nothing", raw(`1`)})}}
		if depth == 0 {
			return out
		}
		for _, f := range def.Fields {
			for _, x := range a.odd(f.Type, f.Name, depth-1) {
				out = append(out, base.with(f.Name, x))
			}
		}
		return out
	}
	if t.NamedType == "ID" {
		return oddOf["String"]
	}
	return oddOf[t.NamedType]
}

// with is an object with another field.
func (v value) with(name string, x value) value {
	out := value{kind: 'o'}
	for _, f := range v.fields {
		if f.name != name {
			out.fields = append(out.fields, f)
		}
	}
	out.fields = append(out.fields, namedValue{name, x})
	return out
}

// selection is all that can be asked of a type without arguments.
func (a phrases) selection(t *ast.Type, depth int) string {
	def := a.schema.Types[t.Name()]
	switch def.Kind { //nolint:exhaustive // outputs
	case ast.Union, ast.Interface:
		return "{__typename}"
	case ast.Object:
	default:
		return ""
	}
	var b strings.Builder
	b.WriteString("{__typename")
	for _, f := range def.Fields {
		if strings.HasPrefix(f.Name, "__") {
			continue
		}
		sub := a.schema.Types[f.Type.Name()]
		leaf := sub.Kind == ast.Scalar || sub.Kind == ast.Enum
		if leaf || depth > 0 {
			b.WriteString(" " + f.Name + a.selection(f.Type, depth-1))
		}
	}
	return b.String() + "}"
}

// required are a field's arguments with good values, but for one.
func (a phrases) required(f *ast.FieldDefinition, but string) (out []namedValue) {
	for _, x := range f.Arguments {
		if x.Name != but && x.Type.NonNull {
			out = append(out, namedValue{x.Name, a.good(x.Type, x.Name)})
		}
	}
	return out
}

// asked is a field that is asked for: a root field, or one on some way from there.
type asked struct {
	kind  string
	way   []*ast.FieldDefinition // the fields around it, the root first
	field *ast.FieldDefinition
}

// ways are fields with arguments within what queries answer, each by every way
// there of some length, the shortest first.
func (a phrases) ways(length int) map[string][]asked {
	out := map[string][]asked{}
	level := []asked{{kind: "query", field: &ast.FieldDefinition{Type: ast.NamedType(a.schema.Query.Name, nil)}}}
	for range length {
		var next []asked
		for _, from := range level {
			def := a.schema.Types[from.field.Type.Name()]
			way := from.way
			if def != a.schema.Query {
				way = append(way[:len(way):len(way)], from.field)
			}
			for _, f := range def.Fields {
				if strings.HasPrefix(f.Name, "__") {
					continue
				}
				next = append(next, asked{"query", way, f})
				if name := def.Name + "." + f.Name; len(way) > 0 && len(f.Arguments) > 0 {
					out[name] = append(out[name], asked{"query", way, f})
				}
			}
		}
		level = next
	}
	return out
}

// operation asks a field, with its arguments as variables or within the text; those
// of the fields around it are good ones.
func (a phrases) operation(r asked, args []namedValue, variables bool) string {
	kind, f := r.kind, r.field
	var declared, given, values []string
	for _, x := range args {
		if !variables {
			given = append(given, x.name+":"+x.as(false))
			continue
		}
		declared = append(declared, "$"+x.name+":"+f.Arguments.ForName(x.name).Type.String())
		given = append(given, x.name+":$"+x.name)
		values = append(values, strconv.Quote(x.name)+":"+x.as(true))
	}
	head, call := kind, f.Name
	if len(declared) > 0 {
		head += "(" + strings.Join(declared, ",") + ")"
	}
	if len(given) > 0 {
		call += "(" + strings.Join(given, ",") + ")"
	}
	query := call + a.selection(f.Type, 2)
	for _, around := range slices.Backward(r.way) {
		outer := around.Name
		if args := a.required(around, ""); len(args) > 0 {
			var list []string
			for _, x := range args {
				list = append(list, x.name+":"+x.as(false))
			}
			outer += "(" + strings.Join(list, ",") + ")"
		}
		query = outer + "{" + query + "}"
	}
	query = head + "{" + query + "}"
	return fmt.Sprintf(`{"query":%s,"variables":{%s}}`, quoted(query), strings.Join(values, ","))
}
