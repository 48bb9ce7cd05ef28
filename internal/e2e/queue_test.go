package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestAQueueOverTheWire: digests over ids as they were sent, by variables and
// by literals, and a batch of marks that names the bad and counts the good.
func TestAQueueOverTheWire(t *testing.T) {
	t.Parallel()
	n := inside(t, database(t), nil)
	h := bearer(token(t, demo.Bob))
	h.Set("Content-Type", "application/json")
	upper := strings.ToUpper(uuid.NewString())
	message := func(key, mention string) string {
		return fmt.Sprintf(`{"clientMessageId":%q,"channelId":%q,"threadId":null,"parentMessageId":null,"content":"x","type":"text","metadata":{"a":1.0},"mentions":[%q]}`, key, demo.Team, mention)
	}
	const query = `mutation ($i: [SendMessageInput!]!, $d: String) { sendMessages(input: $i, digest: $d) { digest results { status error { message } } } }`
	digest := func(list string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(list))) }
	for name, c := range map[string]struct{ query, input, hashed string }{
		"a list":      {query, "[" + message("a", upper) + "]", "[" + message("a", upper) + "]"},
		"one alone":   {query, message("b", upper), "[" + message("b", upper) + "]"},
		"lower case":  {query, "[" + message("c", upper) + "]", "[" + message("c", strings.ToLower(upper)) + "]"},
		"one mention": {query, strings.NewReplacer(`["`, `"`, `"]`, `"`).Replace(message("d", upper)), "[" + message("d", upper) + "]"},
		"literals": {fmt.Sprintf(`mutation ($d: String) { sendMessages(input: [{clientMessageId: "e", channelId: %q, content: "x", metadata: {a: "b"}, mentions: [%q]}], digest: $d) { digest results { status error { message } } } }`, demo.Team, upper),
			`null`, strings.Replace("["+message("e", upper)+"]", "1.0", `"b"`, 1)},
	} {
		body := fmt.Sprintf(`{"query":%q,"variables":{"i":%s,"d":%q}}`, c.query, c.input, digest(c.hashed))
		if _, got := n.raw(http.MethodPost, body, h); !strings.Contains(got, `{"digest":"`+digest(c.hashed)+`","results":[{"status":"sent","error":null}]}`) {
			t.Errorf("%s: %s", name, got)
		}
	}

	id, bad := n.says(demo.Alice, demo.Team, "mark", "x"), uuid.NewString()
	mark := func(messages ...string) string {
		list := ""
		for _, m := range messages {
			list += fmt.Sprintf(`{channelId: %q, messageId: %q}`, demo.Team, m)
		}
		return operation(`mutation { acknowledgeRead(input: [` + list + `]) { channelId unreadCount } }`)
	}
	var got struct {
		Data struct {
			AcknowledgeRead []struct{ UnreadCount int } `json:"acknowledgeRead"`
		} `json:"data"`
		Errors []struct {
			Extensions struct {
				Code, Field string
				Index       *int
				Retryable   bool
			}
		}
	}
	for _, c := range []struct {
		messages []string
		channels int
		refused  []int
	}{{[]string{bad, id, bad}, 1, []int{0, 2}}, {[]string{bad, bad}, 0, []int{0, 1}}, {[]string{bad}, 0, []int{-1}}, {[]string{id, id}, 1, nil}} {
		_, body := n.raw(http.MethodPost, mark(c.messages...), h)
		got.Data.AcknowledgeRead, got.Errors = nil, nil
		if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Data.AcknowledgeRead) != c.channels || len(got.Errors) != len(c.refused) {
			t.Fatalf("%v: %s", c.messages, body)
		}
		for i, e := range got.Errors {
			at := -1
			if e.Extensions.Index != nil {
				at = *e.Extensions.Index
			}
			if e.Extensions.Code != "access-denied" || e.Extensions.Retryable || at != c.refused[i] {
				t.Errorf("%v: %s", c.messages, body)
			}
		}
	}
}
