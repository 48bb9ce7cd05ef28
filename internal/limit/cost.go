package limit

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Weight is what an operation, or one root field of it, has and costs.
type Weight struct {
	Points   int  // what it costs
	IDs      int  // of users, channels, messages
	Rooms    int  // where somebody types
	Messages int  // that it sends
	Sent     int  // what it counts for among its caller's messages: large ones for several, edits and deletions too
	Batched  bool // answered with all others of its name by one load, so that any number costs little
}

// joinedEach is how many Batched fields cost a point together.
const joinedEach = 50

// Caps bound what one operation may have, summed over all its fields.
type Caps struct{ IDs, Rooms, Messages int }

// past says which of the caps a weight is past; "": none.
func (c Caps) past(w Weight) (what string, most int) {
	switch {
	case w.IDs > c.IDs:
		return "ids", c.IDs
	case w.Rooms > c.Rooms:
		return "rooms", c.Rooms
	case w.Messages > c.Messages:
		return "messages", c.Messages
	}
	return "", 0
}

// Account is a bucket that an operation is paid from.
type Account struct {
	Limiter *Limiter
	Key     string
}

// Cost is a gqlgen extension: an operation is weighed by its root fields, aliases
// included, and their arguments. One that has more than Caps is refused as
// validation-failed; one that its caller cannot pay now, from each of its accounts,
// as rate-limited with the time to wait, and then nothing is taken from any.
type Cost struct {
	Weigh    func(field string, args map[string]any) Weight
	Caps     Caps
	Unjoined int                                       // root fields that are not Batched; 0: any number
	Accounts func(ctx context.Context) []Account       // that pay the points; none: nobody pays
	Sending  func(ctx context.Context) (Account, bool) // that pays for messages

	schema *ast.Schema
}

var (
	_ graphql.HandlerExtension        = &Cost{}
	_ graphql.OperationContextMutator = &Cost{}
)

// ExtensionName is gqlgen's.
func (*Cost) ExtensionName() string { return "OperationCost" }

// Validate is gqlgen's.
func (c *Cost) Validate(s graphql.ExecutableSchema) error {
	c.schema = s.Schema()
	return nil
}

// MutateOperationContext refuses; nothing is mutated.
func (c *Cost) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	var sum Weight
	unjoined, joined := 0, 0
	for _, f := range graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{c.root(oc.Operation.Operation)}) {
		if f.Definition == nil {
			continue
		}
		args := f.ArgumentMap(oc.Variables)
		if wrong := c.sets(f.Field, args); wrong != nil {
			return refusal(wrong)
		}
		w := c.Weigh(f.Name, args)
		if w.Batched {
			joined++
		} else {
			unjoined++
		}
		sum = Weight{Points: sum.Points + w.Points, IDs: sum.IDs + w.IDs, Rooms: sum.Rooms + w.Rooms, Messages: sum.Messages + w.Messages, Sent: sum.Sent + w.Sent}
		if what, most := c.Caps.past(sum); what != "" {
			return refusal(fault.New(fault.Invalid, "more than %d %s in one operation, at %s", most, what, f.Alias))
		}
	}
	sum.Points += (joined + joinedEach - 1) / joinedEach
	if c.Unjoined > 0 && unjoined > c.Unjoined {
		return tooLarge("more than %d root fields in one operation that are not answered together", c.Unjoined)
	}
	if f := Pay(ctx, sum, c.Accounts, c.Sending); f != nil {
		return refusal(f)
	}
	return nil
}

func (c *Cost) root(kind ast.Operation) string {
	def := c.schema.Query
	switch kind { //nolint:exhaustive // queries are the default
	case ast.Mutation:
		def = c.schema.Mutation
	case ast.Subscription:
		def = c.schema.Subscription
	}
	if def == nil {
		return ""
	}
	return def.Name
}

// Pay takes what a weight costs from every account, and from the one that pays for
// messages, or from none: then it is rate-limited.
func Pay(ctx context.Context, w Weight, accounts func(context.Context) []Account, sending func(context.Context) (Account, bool)) *fault.Error {
	var paid []func()
	take := func(a Account, n int, what string) *fault.Error {
		if ok, after := a.Limiter.AllowN(a.Key, n); !ok {
			for _, back := range paid {
				back()
			}
			return fault.Later(fault.RateLimited, after, "more than %d %s a minute", a.Limiter.perMinute, what)
		}
		paid = append(paid, func() { a.Limiter.GiveBack(a.Key, n) })
		return nil
	}
	if w.Sent > 0 {
		if a, counts := sending(ctx); counts {
			if f := take(a, w.Sent, "messages"); f != nil {
				return f
			}
		}
	}
	for _, a := range accounts(ctx) {
		if f := take(a, w.Points, "points"); f != nil {
			return f
		}
	}
	return nil
}

// sets refuses a list of an enum's values that is longer than the enum.
func (c *Cost) sets(f *ast.Field, args map[string]any) *fault.Error {
	for _, a := range f.Definition.Arguments {
		if a.Type.Elem == nil {
			continue
		}
		if def := c.schema.Types[a.Type.Elem.NamedType]; def != nil && def.Kind == ast.Enum && Entries(args[a.Name]) > len(def.EnumValues) {
			return fault.Field(a.Name, "%s has more than %d entries, and %s no more values", a.Name, len(def.EnumValues), def.Name)
		}
	}
	return nil
}

// Entries is how many entries the value of a list's argument has: one that stands
// alone for a list of one is one.
func Entries(v any) int {
	if v == nil {
		return 0
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
		return list.Len()
	}
	return 1
}

// Each calls f with every entry that Entries counts. Lists come as slices of more
// than one type: gqlparser makes one of maps of an object that stands alone.
func Each(v any, f func(entry any)) {
	if v == nil {
		return
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		f(v)
		return
	}
	for i := range list.Len() {
		f(list.Index(i).Interface())
	}
}

// Bytes is about how much a value is as JSON: its texts and names, and a few for
// each thing besides.
func Bytes(v any) int {
	switch x := v.(type) {
	case string:
		return len(x)
	case json.RawMessage:
		return len(x)
	case json.Number:
		return len(x)
	case map[string]any:
		n := 0
		for name, e := range x {
			n += len(name) + 2 + Bytes(e)
		}
		return n
	}
	if v == nil || reflect.TypeOf(v).Kind() != reflect.Slice {
		return 4
	}
	n := 0
	Each(v, func(e any) { n += 1 + Bytes(e) })
	return n
}
