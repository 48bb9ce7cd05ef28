package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// What the app writes in its own tables reaches live streams by triggers and
// doorbells alone: no mutation of ours is involved.
func TestTheAppsOwnWritesReachLiveStreams(t *testing.T) {
	whole(t)
	db := database(t)
	pool := pgtest.Pool(t, db)
	one, two := inside(t, db, nil), inside(t, db, nil)
	write := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	alice := one.dial(token(t, demo.Alice))
	bob := two.dial(token(t, demo.Bob))
	window := bob.start(`subscription { presenceWindow(channelId: "` + demo.Team.String() + `", first: 10) { snapshot counts { online offline } presences { userId status } } }`)
	if r := next(t, window); !strings.Contains(r.String(), `"snapshot":true,"counts":{"online":2,"offline":1}`) {
		t.Fatal(r)
	}
	write(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Frank)
	until(t, window, `"counts":{"online":2,"offline":2}`)

	seen := two.dial(token(t, demo.Dave)).start(watch(demo.Alice))
	until(t, seen, `"online"`)
	write(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Alice, demo.Dave)
	until(t, seen, `"status":"offline","lastSeenAt":null`)
	write(`delete from public.nchat_blocked_users where blocked_user_id = $1`, demo.Dave)
	until(t, seen, `"online"`)
	alice.run(`mutation { updatePresenceSettings(input: {visibility: contacts}) { visibility } }`)
	until(t, seen, `"offline"`)
	write(`insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'hi')`, demo.DaveAlice, demo.Alice)
	until(t, seen, `"online"`)
	write(`insert into realtime.presence_settings (tenant, user_id, visibility) values ('primary', $1, 'nobody')
	        on conflict (tenant, user_id) do update set visibility = 'nobody'`, demo.Alice)
	until(t, seen, `"offline"`)

	write(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	r := until(t, window, `"Message"`)
	if r.Errors[0].Extensions["code"] != "access-denied" {
		t.Fatal("removed from the channel:", r)
	}
	write(`delete from public.nchat_users where id = $1`, demo.Carol)
	if r := one.post(`{ presence(userId: "`+demo.Carol.String()+`") { status } }`, bearer(token(t, demo.Bob))); !strings.Contains(r.String(), `"offline"`) {
		t.Fatal(r)
	}
}

func TestCookiesAndOrigins(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"ALLOWED_ORIGINS": "https://app.example.com",
		"HASURA_GRAPHQL_JWT_SECRET": strings.Replace(secret, "}", `,"header":{"type":"Cookie","name":"session"}}`, 1)})
	cookie := func(origin string) http.Header {
		h := http.Header{"Cookie": {"session=" + token(t, demo.Alice)}, "Content-Type": {"application/json"}}
		if origin != "" {
			h.Set("Origin", origin)
		}
		return h
	}
	for origin, good := range map[string]bool{"https://app.example.com": true, "https://evil.example": false, "": true, "null": false} {
		_, body := n.raw(http.MethodPost, operation(`{ myPresence { status } }`), cookie(origin))
		var r result
		if err := json.Unmarshal([]byte(body), &r); err != nil || (len(r.Errors) == 0) != good {
			t.Errorf("POST from %q: %s", origin, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.base+"/graphql?query="+url.QueryEscape(`{ myPresence { status } }`), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = cookie("https://app.example.com")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusOK {
		t.Errorf("GET with a cookie: %d", res.StatusCode)
	}
	for origin, status := range map[string]int{"https://app.example.com": http.StatusSwitchingProtocols, "https://evil.example": http.StatusForbidden, "": http.StatusSwitchingProtocols} {
		d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
		h := http.Header{"Cookie": cookie("")["Cookie"]}
		if origin != "" {
			h.Set("Origin", origin)
		}
		ws, res, err := d.DialContext(t.Context(), strings.Replace(n.base, "http", "ws", 1)+"/graphql", h)
		if res == nil || res.StatusCode != status {
			t.Fatalf("a socket from %q: %v %v", origin, res, err)
		}
		_ = res.Body.Close()
		if err != nil {
			continue
		}
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`))
		_, b, err := ws.ReadMessage()
		acked := err == nil && strings.Contains(string(b), "connection_ack")
		if !acked {
			t.Errorf("a socket with a cookie from %q: %s %v", origin, b, err)
		}
		_ = ws.Close()
	}
}

func TestRolesAreSwitched(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	n.dial(token(t, demo.Alice))
	h := bearer(token(t, demo.Bob))
	h.Set("X-Hasura-Role", "user")
	see := `{ presence(userId: "` + demo.Alice.String() + `") { status } }`
	if r := n.post(see, h); !strings.Contains(r.String(), `"online"`) {
		t.Fatal(r)
	}
	h.Set("X-Hasura-Role", "editor")
	if r := n.post(see, h); len(r.Errors) != 1 || r.Errors[0].Message != "Your requested role is not in allowed roles" {
		t.Fatal(r)
	}
	// The admin may be anybody.
	asBob := http.Header{"X-Hasura-Admin-Secret": {admin}, "X-Hasura-User-Id": {demo.Bob.String()}, "X-Hasura-Role": {"user"}}
	if r := n.post(see, asBob); !strings.Contains(r.String(), `"online"`) {
		t.Fatal(r)
	}
}
