package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestAnAnswerHasABudget: however often a small document asks for the same text;
// and whoever asks for less is answered, over sockets as well.
func TestAnAnswerHasABudget(t *testing.T) {
	whole(t)
	url := database(t)
	n := inside(t, url, nil)
	pool := pgtest.Pool(t, url)
	if _, err := pool.Exec(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, repeat('x', 60000) from generate_series(1, 30)`,
		demo.Team, demo.Bob); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content, metadata) select $1, $2, 'x', jsonb_build_object('n', '1e131071'::jsonb)
		from generate_series(1, 25)`, demo.Team, demo.Bob); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content, mentions)
		select $1, $2, 'x', (select array_agg(gen_random_uuid()) from generate_series(1, 1000)) from generate_series(1, 10)`, demo.Team, demo.Bob); err != nil {
		t.Fatal(err)
	}
	alice := n.dial(token(t, demo.Alice))
	ask := `{ sync(channelIds: ["` + demo.Team.String() + `"]) { hasMore messages { id metadata%s } } }`
	for _, field := range []string{"content", "mentions"} {
		var aliases strings.Builder
		for i := range 100 {
			fmt.Fprintf(&aliases, " a%d: %s", i, field)
		}
		for name, r := range map[string]result{"HTTP": n.post(fmt.Sprintf(ask, aliases.String()), bearer(token(t, demo.Alice))), "WebSocket": alice.run(fmt.Sprintf(ask, aliases.String()))} {
			if len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "validation-failed" || !strings.Contains(r.Errors[0].Message, "16777216") {
				t.Errorf("%s, over %s: %.300s", field, name, r)
			}
		}
	}
	for name, r := range map[string]result{"HTTP": n.post(fmt.Sprintf(ask, " content"), bearer(token(t, demo.Alice))), "WebSocket": alice.run(fmt.Sprintf(ask, " content"))} {
		if len(r.Errors) > 0 || len(r.String()) > 3<<20 || !strings.Contains(r.String(), "xxxx") {
			t.Errorf("%s: %d bytes, %.300s", name, len(r.String()), r)
		}
	}
}

// TestPagesOfOneOperationShareABudget: pages that each fit into an answer do not
// together, whatever they are pages of.
func TestPagesOfOneOperationShareABudget(t *testing.T) {
	whole(t)
	url := database(t)
	n := inside(t, url, nil)
	if _, err := pgtest.Pool(t, url).Exec(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, repeat('x', 60000) from generate_series(1, 40)`,
		demo.Team, demo.Bob); err != nil {
		t.Fatal(err)
	}
	page := `: sync(channelIds: ["` + demo.Team.String() + `"]) { messages { id content } }`
	pages := func(count int) result {
		var b strings.Builder
		for i := range count {
			fmt.Fprintf(&b, " a%d%s", i, page)
		}
		return n.post("{"+b.String()+" }", bearer(token(t, demo.Alice)))
	}
	if r := pages(2); len(r.Errors) > 0 || len(r.String()) < 2<<20 {
		t.Errorf("two pages: %d bytes, %.300s", len(r.String()), r)
	}
	if r := pages(15); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "validation-failed" || !strings.Contains(r.Errors[0].Message, "16777216") {
		t.Errorf("fifteen: %.300s", r)
	}
}

// TestWhatAConnectionBeginsWith: whatever is in connection_init, it is taken or
// refused, and the next one is let in.
func TestWhatAConnectionBeginsWith(t *testing.T) {
	whole(t)
	log := &complaints{}
	n := insideLogged(t, database(t), nil, log)
	for _, odd := range append(oddOf["String"], oddOf["Int"]...) {
		for _, payload := range []string{`{"device":%s}`, `{"device":{"id":%s}}`, `{"device":{"type":%s}}`, `{"device":{"name":%s}}`, `{"presence":%s}`, `{"autoDeliver":%s}`,
			`{"headers":%s}`, `{"headers":{"Authorization":%s}}`, `{"Authorization":%s}`, `%s`} {
			body := fmt.Sprintf(payload, odd.as(true))
			if !strings.Contains(payload, "uthorization") && strings.Contains(payload, `{"`) && !strings.Contains(payload, "headers") {
				body = fmt.Sprintf(`{"headers":{"Authorization":"Bearer %s"},%s`, token(t, demo.Alice), body[1:])
			}
			code, reason := n.begins(body)
			if list := log.take(); code == 4500 || code == 1011 || len(list) > 0 {
				t.Errorf("%.100s: closed with %d %s, logged %.500q", body, code, reason, list)
			}
		}
	}
}

// begins opens a socket with a payload and closes it once that is answered: how
// the server closed it; 0: it was let in.
func (n *node) begins(payload string) (code int, reason string) {
	n.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patient}
	ws, res, err := d.DialContext(n.t.Context(), strings.Replace(n.base, "http", "ws", 1)+"/graphql", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = ws.Close() }()
	_ = res.Body.Close()
	_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init","payload":`+payload+`}`))
	_ = ws.SetReadDeadline(time.Now().Add(patient))
	_, _, err = ws.ReadMessage()
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return e.Code, e.Text
	}
	if err != nil {
		n.t.Fatal(payload[:min(len(payload), 200)], err)
	}
	return 0, ""
}
