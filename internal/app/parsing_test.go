package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// parsesInTurn says that, while one of a user's documents is parsed, its others wait for
// that, over HTTP and over a socket.
func (a *attacked) parsesInTurn(user uuid.UUID, document string) {
	a.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{wsock.TransportWS}}
	ws, res, err := d.DialContext(a.t.Context(), "ws"+strings.TrimPrefix(a.base, "http")+"/graphql", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	_ = res.Body.Close()
	defer func() { _ = ws.Close() }()
	say := func(kind string, payload any) {
		a.t.Helper()
		text, err := json.Marshal(map[string]any{"id": "1", "type": kind, "payload": payload})
		if err == nil {
			err = ws.WriteMessage(websocket.TextMessage, text)
		}
		if err != nil {
			a.t.Fatal(err)
		}
	}
	say("connection_init", map[string]any{"Authorization": "Bearer " + token(a.t, auth.Claims{User: user, TTL: time.Hour})})
	if _, text, err := ws.ReadMessage(); err != nil || !strings.Contains(string(text), "connection_ack") {
		a.t.Fatalf("%s %v", text, err)
	}
	key := "primary/" + user.String()
	done, err := a.budgets.parses.Take(a.t.Context(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	answers := make(chan string, 2)
	go func() { answers <- a.ask(a.t.Context(), user, document, nil) }()
	say("subscribe", map[string]any{"query": document})
	go func() {
		_, text, err := ws.ReadMessage()
		answers <- fmt.Sprintf("%s %v", text, err)
	}()
	soon(a.t, "both wait", func() bool { return a.budgets.parses.Waiting(key) == cap(answers) })
	done()
	for range cap(answers) {
		if got := <-answers; !strings.Contains(got, "serverTime") {
			a.t.Errorf("%.300s", got)
		}
	}
}
