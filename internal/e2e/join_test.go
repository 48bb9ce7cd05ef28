package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// fromHasura is what Hasura sends beside its own headers for a user.
func fromHasura(user uuid.UUID) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "X-Nchat-Webhook-Secret": {hookSecret}, "X-Hasura-Role": {"user"}}
	if user != uuid.Nil {
		h.Set("X-Hasura-User-Id", user.String())
	} else {
		h.Set("X-Hasura-Role", "admin")
	}
	return h
}

// TestAJoinOfThousandsIsOneLoad: 5,000 rows, most of them unknown, joined by
// aliases as Hasura does it: null or never seen for unknown ids, and no error.
func TestAJoinOfThousands(t *testing.T) {
	whole(t)
	url := database(t)
	n := inside(t, url, map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret})
	mine := n.says(demo.Alice, demo.Team, "join", "x")
	n.dial(token(t, demo.Alice))
	for what, c := range map[string]struct{ field, known, want, unknown string }{
		"presence":   {`presence(userId: %q) { status lastSeenAt }`, demo.Alice.String(), `{"status":"online","lastSeenAt":`, `{"status":"offline","lastSeenAt":null}`},
		"delivery":   {`messageDelivery(messageId: %q) { status receipts { totalCount } }`, mine, `{"status":"sent","receipts":{"totalCount":0}}`, `null`},
		"counts":     {`channelPresenceCounts(channelId: %q) { online offline }`, demo.Team.String(), `{"online":1,"offline":2}`, `null`},
		"read state": {`readState(channelId: %q) { unreadCount }`, demo.Team.String(), `{"unreadCount":`, `null`},
		"visibility": {`presenceVisibility(userId: %q) { canViewPresence }`, demo.Bob.String(), `{"canViewPresence":true}`, `{"canViewPresence":false}`},
	} {
		var q strings.Builder
		q.WriteString("query { ")
		for i := range 5000 {
			id := uuid.NewString()
			if i == 4321 {
				id = c.known
			}
			fmt.Fprintf(&q, "f%d: "+c.field+" ", i, id)
		}
		q.WriteString("}")
		status, body := n.raw(http.MethodPost, operation(q.String()), fromHasura(demo.Alice))
		var r result
		data := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != 200 || len(r.Errors) > 0 || strings.Contains(body, `"errors"`) || json.Unmarshal(r.Data, &data) != nil || len(data) != 5000 {
			t.Fatalf("%s: %d %d aliases %.300s", what, status, len(data), body)
		}
		if got := string(data["f4321"]); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
		if got := string(data["f17"]); got != c.unknown {
			t.Errorf("%s: unknown is %s, want %s", what, got, c.unknown)
		}
	}
	// Hasura's own console asks as admin, without a user: nothing is an error.
	status, body := n.raw(http.MethodPost, operation(fmt.Sprintf(`{ f0: presence(userId: %q) { status } f1: messageDelivery(messageId: %q) { status } f2: readState(channelId: %q) { unreadCount } }`, demo.Alice, mine, demo.Team)), fromHasura(uuid.Nil))
	if status != 200 || body != `{"data":{"f0":{"status":"offline"},"f1":null,"f2":null}}` {
		t.Errorf("without a user: %d %s", status, body)
	}
}

// TestHasuraSeesNoSubscriptions: nor their types, and everybody else does.
func TestHasuraSeesNoSubscriptions(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret})
	const q = `{ __schema { queryType { name } mutationType { name } subscriptionType { name } types { name } } }`
	_, body := n.raw(http.MethodPost, operation(q), fromHasura(uuid.Nil))
	for _, name := range []string{`"Event"`, `"PresenceBatch"`, `"StreamGap"`, `"MessageEvent"`, `"EventKind"`} {
		if strings.Contains(body, name) {
			t.Errorf("Hasura sees %s", name)
		}
	}
	if !strings.Contains(body, `"subscriptionType":null`) || !strings.Contains(body, `"SyncPage"`) || !strings.Contains(body, `"uuid"`) {
		t.Errorf("Hasura sees %.300s", body)
	}
	if status, body := n.raw(http.MethodPost, operation(`subscription { presenceSettingsChanged { visibility } }`), fromHasura(demo.Alice)); status != 200 || !strings.Contains(body, `"errors":[`) {
		t.Errorf("a subscription from Hasura: %d %s", status, body)
	}
	_, body = n.raw(http.MethodPost, operation(q), http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token(t, demo.Alice)}})
	if !strings.Contains(body, `"subscriptionType":{"name":"Subscription"}`) || !strings.Contains(body, `"Event"`) {
		t.Errorf("a client sees %.300s", body)
	}
}
