package graph_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// refusals is an edge with nothing behind it, of which every answer is a refusal.
func refusals(v viewer.Viewer) func(t *testing.T, query string) *fault.Error {
	exec := executor.New(generated.NewExecutableSchema(generated.Config{Resolvers: graph.NewResolver(graph.Deps{
		Viewer: func(context.Context) viewer.Viewer { return v }, MaxIDs: 2, MaxRooms: 1,
		AutoDeliver: func(context.Context) bool { return false }})}))
	var said error
	exec.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error {
		said = err
		return graphql.DefaultErrorPresenter(ctx, err)
	})
	return func(t *testing.T, query string) *fault.Error {
		t.Helper()
		said = nil
		ctx := graphql.StartOperationTrace(t.Context())
		oc, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query})
		if len(errs) > 0 {
			t.Fatalf("%s: %v", query, errs)
		}
		next, ctx := exec.DispatchOperation(ctx, oc)
		if res := next(ctx); len(res.Errors) != 1 || said == nil {
			t.Fatalf("%s: %v", query, res.Errors)
		}
		return fault.From(said)
	}
}

// TestListsHaveAnEnd: each is refused by its name before anything is asked.
func TestListsHaveAnEnd(t *testing.T) {
	t.Parallel()
	ids := func(n int) string { return list(n, func() string { return fmt.Sprintf("%q", uuid.New()) }) }
	marks := func(n int) string {
		return list(n, func() string { return fmt.Sprintf("{channelId: %q, messageId: %q}", uuid.New(), uuid.New()) })
	}
	rooms := func(n int) string {
		return list(n, func() string { return fmt.Sprintf("{channelId: %q}", uuid.New()) })
	}
	refused := refusals(viewer.Of("primary", demo.Alice))
	for query, field := range map[string]string{
		`{ presences(userIds: ` + ids(3) + `) { id } }`:                            "userIds",
		`{ deliveryStatuses(messageIds: ` + ids(3) + `) { id } }`:                  "messageIds",
		`{ sync(channelIds: ` + ids(3) + `) { cursor } }`:                          "channelIds",
		`{ sync(presenceOf: ` + ids(3) + `) { cursor } }`:                          "presenceOf",
		`{ sync(rooms: ` + rooms(2) + `) { cursor } }`:                             "rooms",
		`mutation { acknowledgeRead(input: ` + marks(3) + `) { id } }`:             "input",
		`mutation { acknowledgeDelivered(input: ` + marks(3) + `) { id } }`:        "input",
		`subscription { presenceChanged(userIds: ` + ids(3) + `) { id } }`:         "userIds",
		`subscription { presenceChanged(userIds: []) { id } }`:                     "userIds",
		`subscription { typingChanged(rooms: ` + rooms(2) + `) { id } }`:           "rooms",
		`subscription { typingChanged(rooms: []) { id } }`:                         "rooms",
		`subscription { events(presenceOf: ` + ids(3) + `) { cursor } }`:           "presenceOf",
		`subscription { events(rooms: ` + rooms(2) + `) { cursor } }`:              "rooms",
		`mutation { startTyping(room: {}) { accepted } }`:                          "room",
		`mutation { updatePresenceSettings(input: {visibility: null}) { id } }`:    "input.visibility",
		`mutation { updatePresenceSettings(input: {invisibleMode: null}) { id } }`: "input.invisibleMode",
	} {
		if f := refused(t, query); f.Code != fault.Invalid || f.Field != field {
			t.Errorf("%s: %v of %q", query, f, f.Field)
		}
	}
}

func list(n int, item func() string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = item()
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// TestNobodySubscribes, nor syncs: these are a user's own.
func TestNobodySubscribes(t *testing.T) {
	t.Parallel()
	refused := refusals(viewer.Of("primary", uuid.Nil))
	for _, query := range []string{
		`{ sync { cursor } }`,
		`subscription { events { cursor } }`,
		fmt.Sprintf(`subscription { presenceChanged(userIds: [%q]) { id } }`, demo.Bob),
		fmt.Sprintf(`subscription { presenceWindow(channelId: %q) { snapshot } }`, demo.General),
	} {
		if f := refused(t, query); f.Code != fault.Denied {
			t.Errorf("%s: %v", query, f)
		}
	}
}
