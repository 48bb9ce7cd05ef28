package graph

import (
	"context"
	"reflect"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/message"
)

// spell adds to messages how their ids were written, as the digest needs them.
func spell(ctx context.Context, list []message.Input) {
	args := graphql.GetFieldContext(ctx).Field.ArgumentMap(graphql.GetOperationContext(ctx).Variables)
	text := func(v any) string { s, _ := v.(string); return s }
	for i, one := range items(args["input"]) {
		in, _ := one.(map[string]any)
		if i >= len(list) {
			return
		}
		s := message.Spelling{Channel: text(in["channelId"]), Thread: text(in["threadId"]), Parent: text(in["parentMessageId"])}
		for _, m := range items(in["mentions"]) {
			s.Mentions = append(s.Mentions, text(m))
		}
		list[i].Spelling = s
	}
}

// items are those of a list as it was sent: one value stands for a list of one,
// for which gqlparser makes a list of that value's own type.
func items(v any) []any {
	list := reflect.ValueOf(v)
	switch {
	case v == nil:
		return nil
	case list.Kind() != reflect.Slice:
		return []any{v}
	}
	out := make([]any, list.Len())
	for i := range out {
		out[i] = list.Index(i).Interface()
	}
	return out
}
