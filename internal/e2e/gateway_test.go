package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestBehindAGatewayOfOthers: @graphql-tools/stitch introspects the server as a
// remote schema, puts it beside another one, and passes queries, mutations,
// variables, fragments and errors through.
func TestBehindAGatewayOfOthers(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret})
	n.dial(token(t, demo.Alice))
	g := n.script("gateway.mjs", n.base+"/graphql", hookSecret, demo.Alice.String())
	for query, want := range map[string]string{
		`{ myPresence { userId status } item(id: "7") { id seller { status } } }`:                                                                                             `{"myPresence":{"userId":"` + demo.Alice.String() + `","status":"online"},"item":{"id":"7","seller":{"status":"online"}}}`,
		`query N { a: presence(userId: "` + demo.Bob.String() + `") { ...p } b: presence(userId: "` + demo.Carol.String() + `") { ...p } } fragment p on Presence { status }`: `{"a":{"status":"offline"},"b":{"status":"offline"}}`,
		`{ sync(first: 1) { messages { content delivery { status } } channels { name } settings { visibility } } }`:                                                           `"settings":{"visibility":"everyone"}`,
		`mutation { buy(id: "7") }`:                                      `{"buy":true}`,
		`mutation { setInvisibleMode(enabled: true) { invisibleMode } }`: `{"setInvisibleMode":{"invisibleMode":true}}`,
		fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: "g1", content: "through a gateway", metadata: {a: [1, {b: null}]}}) { status message { content metadata } } }`, demo.Team): `"metadata":{"a":[1,{"b":null}]}`,
		fmt.Sprintf(`mutation { acknowledgeRead(input: [{channelId: %q, messageId: %q}]) { id } }`, demo.Team, demo.Bob):                                                                                       `"code":"access-denied"`,
		`subscription { presenceSettingsChanged { visibility } }`: `Schema is not configured to execute subscription`,
	} {
		id := g.send("", query)
		said := g.until(func(x said) bool { return x.ID == id })
		if got := said.result.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}
