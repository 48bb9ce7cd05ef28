package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/push"
)

// TestPushAcrossNodes: on two nodes, from a message to the app's own webhook:
// told once to whom it does not disturb, not while it looks at a device, and
// withdrawn when it is read on another node.
func TestPushAcrossNodes(t *testing.T) {
	t.Parallel()
	calls := make(chan push.Payload, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var p push.Payload
		if err != nil || json.Unmarshal(body, &p) != nil || !strings.HasPrefix(r.Header.Get("X-Nchat-Signature"), "t=") {
			t.Errorf("a bad call: %s", body)
		}
		calls <- p
	}))
	t.Cleanup(hook.Close)
	url := database(t)
	env := []string{"PUSH_WEBHOOK_URL=" + hook.URL, "PUSH_WEBHOOK_SECRET=what signs the test", "PUSH_AFTER=30m"}
	one, two := startNode(t, url, env...), startNode(t, url, env...)
	id := `"` + demo.Team.String() + `"`
	send := func(key string) string {
		r := two.post(`mutation { sendMessage(input: { clientMessageId: "`+key+`", channelId: `+id+`, content: "`+key+`" }) { message { id } error { message } } }`, bearer(token(t, demo.Alice)))
		var got struct {
			SendMessage struct{ Message struct{ ID string } }
		}
		if err := json.Unmarshal(r.Data, &got); err != nil || got.SendMessage.Message.ID == "" {
			t.Fatal(r)
		}
		return got.SendMessage.Message.ID
	}
	call := func(what string) (p push.Payload, users []string) {
		t.Helper()
		select {
		case p = <-calls:
		case <-time.After(time.Minute):
			t.Fatal(what, ": nobody is told")
		}
		for _, x := range p.Recipients {
			users = append(users, x.UserID.String())
		}
		return p, users
	}
	bob := one.dial(token(t, demo.Bob), device("desktop", "d", "Bob's desktop"))
	send("one")
	if p, users := call("bob looks"); p.Preview != "one" || !slices.Equal(users, []string{demo.Carol.String()}) {
		t.Errorf("while bob looks: %+v", p)
	}
	bob.run(`mutation { heartbeat(input: { hidden: true }) { id } }`)
	two.post(`mutation { setChannelNotifications(channelId: `+id+`, input: { level: none }) { level } }`, bearer(token(t, demo.Carol)))
	message := send("two")
	p, users := call("a hidden desktop")
	if p.Preview != "two" || *p.Sender != "Alice" || !slices.Equal(users, []string{demo.Bob.String()}) || p.Recipients[0].Badge == 0 {
		t.Errorf("with bob's desktop hidden, and carol hearing nothing: %+v", p)
	}
	if r := bob.run(`mutation { acknowledgeRead(input: [{ channelId: ` + id + `, messageId: "` + message + `" }]) { unreadCount } }`); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	if w, users := call("read elsewhere"); w.Type != push.TypeWithdraw || w.CollapseKey != p.CollapseKey || w.MessageID.String() != message || !slices.Equal(users, []string{demo.Bob.String()}) {
		t.Errorf("read elsewhere: %+v", w)
	}
	if r := bob.run(`mutation { setQuietHours(input: { from: "00:00", to: "23:59", timeZone: "UTC" }) { from to timeZone } }`); !strings.Contains(r.String(), "23:59") {
		t.Fatal(r)
	}
	if now := time.Now().UTC(); now.Hour() == 23 && now.Minute() >= 58 {
		return // it may be the one minute that is not quiet
	}
	two.post(`mutation { setChannelNotifications(channelId: `+id+`, input: { level: all }) { level } }`, bearer(token(t, demo.Carol)))
	send("three")
	if p, users := call("quiet hours"); p.Preview != "three" || !slices.Equal(users, []string{demo.Carol.String()}) {
		t.Errorf("in bob's quiet hours: %+v", p)
	}
	if r := one.post(`{ quietHours { from } channelNotifications(channelId: `+id+`) { id level mutedUntil } }`, bearer(token(t, demo.Bob))); !strings.Contains(r.String(), `"00:00"`) || !strings.Contains(r.String(), `"all"`) {
		t.Error(r)
	}
	if n := len(calls); n > 0 {
		t.Errorf("%d more calls", n)
	}
}

// TestNotificationsAreJudged: what makes no sense is the client's error, and names it.
func TestNotificationsAreJudged(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t))
	set := func(channel, input string) string {
		return `mutation { setChannelNotifications(channelId: "` + channel + `", input: ` + input + `) { level } }`
	}
	for query, want := range map[string][]string{
		set(demo.Team.String(), `{}`):                                                                  {"validation-failed", `"field":"input"`},
		set(demo.Team.String(), `{ level: null }`):                                                     {"validation-failed", "input.level"},
		set(demo.Team.String(), `{ level: LOUD }`):                                                     {"validation-failed"},
		set(demo.Team.String(), `{ mutedUntil: "yesterday" }`):                                         {"validation-failed"},
		set(demo.Team.String(), `{ mutedUntil: "2001-01-01T00:00:00Z" }`):                              {"validation-failed", "input.mutedUntil"},
		set(demo.Team.String(), `{ mutedUntil: "9999-01-01T00:00:00Z" }`):                              {"validation-failed", "input.mutedUntil"},
		set("00000000-0000-0000-0000-000000000000", `{ level: all }`):                                  {"access-denied"},
		set(demo.AliceBob.String(), `{ level: all }`):                                                  {"access-denied"},
		`{ channelNotifications(channelId: "` + demo.AliceBob.String() + `") { level } }`:              {"access-denied"},
		`mutation { setQuietHours(input: { from: "25:00", to: "07:00", timeZone: "UTC" }) { from } }`:  {"validation-failed", "input.from"},
		`mutation { setQuietHours(input: { from: "22:00", to: "07:00", timeZone: "Mars" }) { from } }`: {"validation-failed", "input.timeZone"},
	} {
		r := n.post(query, bearer(token(t, demo.Carol))).String()
		for _, text := range append(want, `"retryable":false`) {
			if !strings.Contains(r, text) {
				t.Errorf("%s answers %s, want %s", query, r, text)
			}
		}
	}
	for _, query := range []string{`{ quietHours { from } }`, set(demo.Team.String(), `{ mutedUntil: null }`), `mutation { setQuietHours { from } }`} {
		if r := n.post(query, bearer(token(t, demo.Carol))); len(r.Errors) > 0 {
			t.Errorf("%s answers %s", query, r)
		}
	}
}
