package graph

import (
	"context"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/message"
)

// spell adds to messages how their ids were written, as the digest needs them.
func spell(ctx context.Context, list []message.Input) {
	args := graphql.GetFieldContext(ctx).Field.ArgumentMap(graphql.GetOperationContext(ctx).Variables)
	sent, ok := args["input"].([]any)
	if !ok {
		sent = []any{args["input"]} // one stands for a list of one
	}
	for i := range min(len(sent), len(list)) {
		in, _ := sent[i].(map[string]any)
		text := func(v any) string { s, _ := v.(string); return s }
		s := message.Spelling{Channel: text(in["channelId"]), Thread: text(in["threadId"]), Parent: text(in["parentMessageId"])}
		mentions, ok := in["mentions"].([]any)
		if !ok && in["mentions"] != nil {
			mentions = []any{in["mentions"]}
		}
		for _, m := range mentions {
			s.Mentions = append(s.Mentions, text(m))
		}
		list[i].Spelling = s
	}
}
