package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/webhook"
)

// TestTheDoor: what is not Hasura's, or not a webhook's form, gets no further.
func TestTheDoor(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	header := func(name string, values ...string) func(*http.Request) {
		return func(q *http.Request) { q.Header[name] = values }
	}
	for what, c := range map[string]struct {
		path   string
		change func(*http.Request)
		status int
	}{
		"no secret":          {"/hasura/cron/any", header("X-Nchat-Webhook-Secret"), 401},
		"another's":          {"/hasura/cron/any", header("X-Nchat-Webhook-Secret", shared+"x"), 401},
		"two":                {"/hasura/cron/any", header("X-Nchat-Webhook-Secret", shared, shared), 401},
		"no secret, no hook": {"/hasura/nowhere", header("X-Nchat-Webhook-Secret"), 401},
		"no hook":            {"/hasura/nowhere", nil, 404},
		"no sweep":           {"/hasura/cron/any", nil, 404},
		"no action":          {"/hasura/actions/any", nil, 404},
		"GET":                {"/hasura/cron/any", func(q *http.Request) { q.Method = http.MethodGet }, 405},
		"a form":             {"/hasura/cron/any", header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"no type":            {"/hasura/cron/any", header("Content-Type"), 415},
	} {
		var w = r.post(c.path, `{}`, func(q *http.Request) {
			if c.change != nil {
				c.change(q)
			}
		})
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"code":`) || w.Header().Get("Retry-After") != "" {
			t.Errorf("%s: %d %s, want %d", what, w.Code, w.Body, c.status)
		}
		if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != http.MethodPost {
			t.Errorf("%s: allowed is %q", what, w.Header().Get("Allow"))
		}
	}
	if w := r.post("/hasura/events/t", `{"x":"`+strings.Repeat("x", 2000)+`"}`); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d %s", w.Code, w.Body)
	}
}

// TestWhetherToComeBack: Hasura tries again without end where it is told when.
// So it is told only where the reason passes by itself.
func TestWhetherToComeBack(t *testing.T) {
	t.Parallel()
	nowhere, err := postgres.Open(t.Context(), "postgres://127.0.0.1:1/none?connect_timeout=1", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nowhere.Close)
	r := newRig(t, nowhere, func(o *webhook.Options) {
		o.Crons = map[string]func(context.Context) error{
			"good": func(context.Context) error { return nil },
			"bad":  func(context.Context) error { return errors.New("a column of a secret name") },
			"away": func(ctx context.Context) error { return nowhere.Ping(ctx) },
		}
	})
	for what, c := range map[string]struct {
		path, body string
		status     int
		again      string
	}{
		"a sweep":                      {"/hasura/cron/good", `{}`, 200, ""},
		"a sweep that fails":           {"/hasura/cron/bad", `{}`, 500, ""},
		"a sweep in an outage":         {"/hasura/cron/away", `{}`, 503, "5"},
		"an event in an outage":        {"/hasura/events/t", event("e", "nchat_users", fmt.Sprintf(`{"id":%q}`, demo.Alice)), 503, "5"},
		"an event nobody understands":  {"/hasura/events/t", `{"id":"e"}`, 200, ""},
		"an event of no table of ours": {"/hasura/events/t", event("e", "nchat_bookmarks", `{}`), 200, ""},
	} {
		w := r.post(c.path, c.body)
		if w.Code != c.status || w.Header().Get("Retry-After") != c.again || strings.Contains(w.Body.String(), "secret name") {
			t.Errorf("%s: %d, again in %q: %s", what, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	if n := r.committed.Load(); n != 0 {
		t.Errorf("%d times something was said to be written", n)
	}
	if said := r.log.String(); strings.Count(said, "a column of a secret name") != 1 || strings.Contains(said, "refused") {
		t.Errorf("what is a bug is logged, once, and an outage is not: %s", said)
	}
}

// TestAnActionIsItsCallers: who calls is what the session says, within what a
// caller may do in a minute, and with the arguments that the action declares.
func TestAnActionIsItsCallers(t *testing.T) {
	t.Parallel()
	var asked []auth.Identity
	var refuse error
	held := 0
	r := newRig(t, world(t), func(o *webhook.Options) {
		o.Admit = func(_ context.Context, id auth.Identity, action string, input json.RawMessage) (func(), error) {
			if action != "sendChatMessage" || !strings.Contains(string(input), "hello") {
				t.Errorf("%s of %s is asked for", action, input)
			}
			asked = append(asked, id)
			held++
			if refuse != nil {
				held--
			}
			return func() { held-- }, refuse
		}
	})
	send := func(role, more string) string {
		return call("sendChatMessage", demo.Bob, role, fmt.Sprintf(`{"channelId":%q,"content":"hello"%s}`, demo.Team, more))
	}
	messages := func() int {
		return r.count(`select count(*) from public.nchat_messages where user_id = $1 and content = 'hello'`, demo.Bob)
	}
	for what, c := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"a role that is no user's": {send("anonymous", ""), 400, "access-denied"},
		"an argument too many":     {send("user", `,"more":1`), 400, "validation-failed"},
		"another action's name":    {call("whoIsOnline", demo.Bob, "user", `{}`), 404, "no such action"},
		"no call":                  {`[]`, 400, "not a call"},
		"no session":               {`{"action":{"name":"sendChatMessage"},"input":{}}`, 400, "code"},
	} {
		if w := r.post("/hasura/actions/sendChatMessage", c.body); w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %d %s", what, w.Code, w.Body, c.status, c.says)
		}
	}
	refuse = fault.Later(fault.RateLimited, time.Second, "too many")
	if w := r.post("/hasura/actions/sendChatMessage", send("user", "")); w.Code != 400 || !strings.Contains(w.Body.String(), `"retryAfterMs":1000`) {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	if n := messages(); n != 0 {
		t.Fatalf("%d messages of callers that were refused", n)
	}
	refuse = nil
	// Without a key of the client's each call is a message; with one, all are one.
	for _, more := range []string{"", "", `,"clientMessageId":"k"`, `,"clientMessageId":"k"`} {
		if w := r.post("/hasura/actions/sendChatMessage", send("user", more)); w.Code != 200 || !strings.Contains(w.Body.String(), `"seq":"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if n := messages(); n != 3 {
		t.Errorf("%d messages of four calls with two keys less", n)
	}
	if held != 0 {
		t.Errorf("%d turns are not given back", held)
	}
	if last := asked[len(asked)-1]; last.UserID != demo.Bob || last.Tenant != "primary" || last.Admin {
		t.Errorf("admitted as %+v", last)
	}
}
