package door

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// side is who runs an operation.
type side int

const (
	theirs side = iota // the upstream
	ours               // this server's engine
	schema             // introspection, of both
)

// kind is what becomes of an operation when the upstream is lost.
type kind int

const (
	unsure   kind = iota // could not be read here, and may be any of them: is sent once
	query                // asked once more
	mutation             // nobody knows whether it was done
	live                 // subscribed again: its results are states
	stream               // its results follow from each other: only its client knows where it is
)

// once says whether an operation has one result.
func (k kind) once() bool { return k == query || k == mutation }

// plan is what to do with an operation.
type plan struct {
	side side
	kind kind
	text string // what our engine runs; "": the document as it came
	err  error
}

// planner says of each operation who runs it, by its root fields alone. The
// fields of our Subscription type are ours; those mutations are that are about
// the very socket they come over; everything else is the upstream's, also what
// cannot be read: it says why better than we.
type planner struct {
	streams map[string]bool // our subscription fields
	known   *lru.Cache[[sha256.Size]byte, plan]
}

// bound are mutations of ours about the socket they come over. Through Hasura
// they would come without one.
var bound = map[string]bool{"refreshSession": true, "heartbeat": true}

const (
	plannedTokens = 100_000 // in a document; a frame's own limit is usually first
	plansKept     = 4096
	planKept      = 4 << 10 // bytes of a text of ours that is kept; nothing of the document is
)

func newPlanner(own *ast.Schema) *planner {
	p := &planner{streams: map[string]bool{}}
	for _, f := range own.Subscription.Fields {
		p.streams[f.Name] = true
	}
	p.known, _ = lru.New[[sha256.Size]byte, plan](plansKept) //nolint:errcheck // its size is positive
	return p
}

// plan plans an operation of a document: the one of that name, or the only one.
func (p *planner) plan(document, name string) plan {
	key := sha256.Sum256([]byte(name + "\x00" + document))
	if known, ok := p.known.Get(key); ok {
		return known
	}
	made := p.make(document, name)
	if len(made.text) < planKept {
		p.known.Add(key, made)
	}
	return made
}

func (p *planner) make(document, name string) plan {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: document}, plannedTokens)
	if err != nil {
		if strings.Contains(err.Error(), "token limit") {
			return plan{err: fault.New(fault.Invalid, "the operation has more than %d tokens", plannedTokens)}
		}
		return plan{}
	}
	op := chosen(doc, name)
	if op == nil {
		return plan{}
	}
	fragments := fragmentsOf(doc)
	r := rootsOf(fragments, op)
	made := plan{kind: kindOf(op, r)}
	mine, others, meta := 0, 0, 0
	for _, f := range r.names {
		switch {
		case f == "__typename": // either side may answer
		case f == "__schema" || f == "__type":
			meta++
		case op.Operation == ast.Subscription && p.streams[f], op.Operation == ast.Mutation && bound[f]:
			mine++
		default:
			others++
		}
	}
	switch {
	case mine > 0 && others+meta > 0 && op.Operation == ast.Subscription:
		made.err = fault.New(fault.Invalid, "a subscription has fields of two servers: %s is nchat-realtime's, and others are Hasura's; subscribe to each by itself",
			r.names[slices.IndexFunc(r.names, func(f string) bool { return p.streams[f] })])
	case mine > 0 && others+meta == 0:
		made.side, made.text = ours, alone(doc, fragments, op, r)
	case meta > 0 && mine+others == 0 && op.Operation == ast.Query && meta == len(r.names):
		made.side = schema
	}
	return made
}

// chosen is the operation that is run; nil: that cannot be said.
func chosen(doc *ast.QueryDocument, name string) *ast.OperationDefinition {
	if name == "" {
		if len(doc.Operations) != 1 {
			return nil
		}
		return doc.Operations[0]
	}
	return doc.Operations.ForName(name)
}

func kindOf(op *ast.OperationDefinition, r roots) kind {
	switch op.Operation {
	case ast.Mutation:
		return mutation
	case ast.Subscription:
		if r.cursor {
			return stream
		}
		return live
	case ast.Query:
	}
	return query
}

// roots are an operation's root fields, those in fragments and those that a
// directive may leave out among them: what a document names, a server must know,
// whatever its variables say.
type roots struct {
	names      []string
	cursor     bool                  // one is a streaming subscription of Hasura's
	inline     []*ast.InlineFragment // on the root type
	fragments  []*ast.FragmentDefinition
	conditions bool // the root type is named, and may be named otherwise there
}

// fragmentsOf are a document's fragments by their names: where two have one, the first.
func fragmentsOf(doc *ast.QueryDocument) map[string]*ast.FragmentDefinition {
	all := make(map[string]*ast.FragmentDefinition, len(doc.Fragments))
	for _, f := range doc.Fragments {
		if all[f.Name] == nil {
			all[f.Name] = f
		}
	}
	return all
}

func rootsOf(fragments map[string]*ast.FragmentDefinition, op *ast.OperationDefinition) (r roots) {
	seen := map[string]bool{}
	var walk func(set ast.SelectionSet)
	walk = func(set ast.SelectionSet) {
		for _, s := range set {
			switch x := s.(type) {
			case *ast.Field:
				r.names = append(r.names, x.Name)
				r.cursor = r.cursor || x.Arguments.ForName("cursor") != nil && x.Arguments.ForName("batch_size") != nil
			case *ast.InlineFragment:
				r.inline = append(r.inline, x)
				r.conditions = r.conditions || x.TypeCondition != ""
				walk(x.SelectionSet)
			case *ast.FragmentSpread:
				f := fragments[x.Name]
				if f == nil || seen[x.Name] {
					continue
				}
				seen[x.Name] = true
				r.fragments = append(r.fragments, f)
				r.conditions = true
				walk(f.SelectionSet)
			}
		}
	}
	walk(op.SelectionSet)
	return r
}

// alone is the document with nothing in it but the operation, its root type
// called what it is called here; "": it is that already.
func alone(doc *ast.QueryDocument, fragments map[string]*ast.FragmentDefinition, op *ast.OperationDefinition, r roots) string {
	name := map[ast.Operation]string{ast.Query: "Query", ast.Mutation: "Mutation", ast.Subscription: "Subscription"}[op.Operation]
	if len(doc.Operations) == 1 && !r.conditions {
		return ""
	}
	for _, f := range r.inline {
		if f.TypeCondition != "" {
			f.TypeCondition = name
		}
	}
	for _, f := range r.fragments {
		f.TypeCondition = name
	}
	out := &ast.QueryDocument{Operations: ast.OperationList{op}, Fragments: doc.Fragments}
	if len(doc.Operations) > 1 { // fragments of the others would be unused, and a fault
		out.Fragments = reached(fragments, op.SelectionSet)
	}
	var b bytes.Buffer
	formatter.NewFormatter(&b).FormatQueryDocument(out)
	return b.String()
}

// reached are the fragments that a selection uses.
func reached(fragments map[string]*ast.FragmentDefinition, set ast.SelectionSet) (out ast.FragmentDefinitionList) {
	seen := map[string]bool{}
	var walk func(set ast.SelectionSet)
	walk = func(set ast.SelectionSet) {
		for _, s := range set {
			switch x := s.(type) {
			case *ast.Field:
				walk(x.SelectionSet)
			case *ast.InlineFragment:
				walk(x.SelectionSet)
			case *ast.FragmentSpread:
				if f := fragments[x.Name]; f != nil && !seen[x.Name] {
					seen[x.Name] = true
					out = append(out, f)
					walk(f.SelectionSet)
				}
			}
		}
	}
	walk(set)
	return out
}
