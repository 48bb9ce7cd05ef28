package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

const fuzzSecret = "the-secret-shared-with-hasura-in-this-test"

// asked posts a body as Hasura does.
func asked(t *testing.T, h *Handler, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	h.Mount(mux)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Nchat-Webhook-Secret", fuzzSecret)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if !json.Valid(w.Body.Bytes()) {
		t.Fatalf("%q is answered with %q", body, w.Body)
	}
	return w
}

func fuzzHandler(change func(*Options)) *Handler {
	o := Options{Auth: auth.New(auth.Options{WebhookSecret: fuzzSecret}), BodyLimit: 4096, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Admit: func(context.Context, auth.Identity, string, json.RawMessage) (func(), error) { return func() {}, nil }, Committed: func() {}}
	change(&o)
	return New(o)
}

// read is an action that answers what it was given.
func read[In any]() action {
	return typed(func(_ context.Context, _ viewer.Viewer, in In) (In, error) { return in, nil })
}

// FuzzAction: a call of an action is read whole, and again as it was read, or
// refused as the caller's fault.
func FuzzAction(f *testing.F) {
	h := fuzzHandler(func(*Options) {})
	h.actions = map[string]action{"online": read[onlineInput](), "read": read[readInput](), "send": read[sendInput](), "status": read[statusInput]()}
	call := func(name, input string) string {
		return `{"action":{"name":"` + name + `"},"input":` + input + `,"session_variables":{"x-hasura-role":"user","x-hasura-user-id":"` + demo.Alice.String() + `"}}`
	}
	f.Add("online", call("online", `{"channelId":"`+demo.Alice.String()+`","first":3}`))
	f.Add("read", call("read", `{"channelId":1}`))
	f.Add("send", call("send", `{"channelId":"`+demo.Alice.String()+`","content":"\u0000","metadata":{"a":[1e400]},"mentions":[null]}`))
	f.Add("status", call("status", `{"status":"busy","expiresAt":"2026-01-31 12:00:00+00"}`))
	f.Add("status", call("status", `{"status":"busy","expiresAt":"-1"} {}`))
	f.Add("send", `[]`)
	f.Fuzz(func(t *testing.T, name, body string) {
		if h.actions[name] == nil {
			return
		}
		w := asked(t, h, "/hasura/actions/"+name, body)
		if w.Code != http.StatusOK {
			if w.Code < 400 || w.Code > 499 || !strings.Contains(w.Body.String(), `"code":`) {
				t.Fatalf("%q: %d %s", body, w.Code, w.Body)
			}
			return
		}
		if name == "status" {
			return // its time is read only
		}
		again := asked(t, h, "/hasura/actions/"+name, call(name, w.Body.String()))
		if again.Code != http.StatusOK || !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
			t.Fatalf("%q is %s, and then %d %s", body, w.Body, again.Code, again.Body)
		}
	})
}

// FuzzEvent: whatever is delivered is taken, and once; a real Postgres takes what
// is made of it.
func FuzzEvent(f *testing.F) {
	if testing.Short() {
		f.Skip("needs Postgres")
	}
	pool := pgtest.New(f)
	h := fuzzHandler(func(o *Options) { o.Pool = pool })
	event := func(id, table, row string) string {
		return `{"id":"` + id + `","trigger":{"name":"t"},"table":{"schema":"public","name":"` + table + `"},"event":{"data":{"old":null,"new":` + row + `}}}`
	}
	for i, table := range []string{"nchat_messages", "nchat_channel_members", "nchat_users", "other"} {
		f.Add(event(string(rune('a'+i)), table, `{"id":"`+demo.Alice.String()+`","channel_id":"`+demo.Bob.String()+`","user_id":"`+demo.Alice.String()+`"}`))
	}
	f.Add(event(`\u0000`, "nchat_users", `{}`))
	f.Add(event(`\ud800`, "nchat_users", `{"id":null}`))
	f.Add(event("e", "nchat_messages", `[]`))
	f.Fuzz(func(t *testing.T, body string) {
		if w := asked(t, h, "/hasura/events/t", body); w.Code != http.StatusOK && (len(body) <= 4096 || w.Code != http.StatusRequestEntityTooLarge) {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		if w := asked(t, h, "/hasura/events/t", body); w.Code == http.StatusOK && strings.Contains(w.Body.String(), `"duplicate":false`) {
			t.Fatalf("%q is taken twice", body)
		}
	})
}
