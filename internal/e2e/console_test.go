package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

const operators = "the-token-of-the-operators-of-these-tests"

// console asks a node's operators' page.
func (n *node) console(method, path string) (int, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.aside+"/admin/"+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header = bearer(operators)
	status, _, text := n.ask(req)
	return status, string(text)
}

// state is what the page shows, once it says ok of it.
func (n *node) state(what string, ok func(consoleState) bool) (is consoleState, text string) {
	n.t.Helper()
	eventually(n.t, what, func() bool {
		var status int
		if status, text = n.console(http.MethodGet, "state"); status != http.StatusOK {
			n.t.Fatal(status, text)
		}
		is = consoleState{}
		if err := json.Unmarshal([]byte(text), &is); err != nil {
			n.t.Fatal(err)
		}
		return ok(is)
	})
	return is, text
}

type consoleState struct {
	Node    uuid.UUID
	Alarms  []string
	Numbers map[string]float64
	Nodes   []struct {
		ID       uuid.UUID
		Sessions int
		LeaseMs  int
		Bus      string
	}
	Sessions []struct {
		ID   uuid.UUID
		Node *uuid.UUID
	}
	Rooms []struct {
		ID                uuid.UUID
		Members, Messages int
	}
	OverHTTP int
	Log      struct{ Pos, Here, Inbox int }
}

func (s consoleState) shows(session string) bool {
	for _, x := range s.Sessions {
		if x.ID.String() == session {
			return true
		}
	}
	return false
}

// TestOperatorsSeeNobody: whoever is connected, invisible or not, the operators' page
// shows nodes, rooms and sessions of both nodes, and names no user, tenant, device,
// channel or direct conversation. Without a token there is no such page.
func TestOperatorsSeeNobody(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url, "ADMIN_TOKEN="+operators), startNode(t, url, "ADMIN_TOKEN="+operators)
	alice := one.dial(token(t, demo.Alice), map[string]any{"device": map[string]any{"type": "desktop", "name": "Alice's laptop", "id": "d-alice"}})
	alice.run(`mutation { setInvisibleMode(enabled: true) { invisibleMode } }`)
	alice.run(`mutation { setCustomStatus(input: {text: "hiding"}) { status } }`)
	bob := two.dial(token(t, demo.Bob))
	is, text := two.state("both sessions are shown", func(s consoleState) bool { return s.shows(alice.session()) && s.shows(bob.session()) })
	if len(is.Nodes) != 2 || is.Nodes[0].Sessions != 1 || is.Nodes[1].Sessions != 1 || is.Nodes[0].LeaseMs <= 0 || is.Nodes[0].Bus != "postgres" || is.Node != is.Nodes[1].ID {
		t.Errorf("nodes: %+v", is.Nodes)
	}
	if is.Numbers["realtime_connections"] != 1 || is.Numbers["go_goroutines"] < 1 || len(is.Rooms) == 0 || is.Rooms[0].Members < 1 {
		t.Errorf("%v, rooms %v", is.Numbers, is.Rooms)
	}
	for i := range 8 {
		if strings.Contains(text, demo.User(i+1).String()) {
			t.Errorf("user %d is named: %s", i+1, text)
		}
	}
	for _, word := range []string{"primary", "laptop", "d-alice", "desktop", "hiding", "lice", "general", "invisible", "online"} {
		if strings.Contains(text, word) {
			t.Errorf("%q: %s", word, text)
		}
	}
	var direct int
	for _, r := range is.Rooms {
		if r.Members <= 2 {
			direct++
		}
	}
	if direct > 0 {
		t.Errorf("direct conversations are shown: %v", is.Rooms)
	}
	bob.run(`mutation { sendMessage(input: {channelId: "` + demo.General.String() + `", clientMessageId: "counted", content: "x"}) { status } }`)
	if r := one.post(`mutation { heartbeat(input: {}) { id } }`, bearer(token(t, demo.Carol))); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	two.state("the log is told, and followed to its end; so is what was run there, and who is there over HTTP", func(s consoleState) bool {
		return s.Log.Pos > 0 && s.Log.Here == s.Log.Pos && s.Log.Inbox == 0 && s.Numbers["realtime_operations_total:mutation"] >= 1 && s.OverHTTP == 1
	})
	plain := startNode(t, url)
	if status, _ := plain.console(http.MethodGet, ""); status != http.StatusNotFound {
		t.Errorf("a page without a token: %d", status)
	}
}

// TestOperatorsEndSessionsElsewhere: a session, and all of a user's, at a node that
// does not hold them. Each is written down.
func TestOperatorsEndSessionsElsewhere(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url, "ADMIN_TOKEN="+operators), startNode(t, url, "ADMIN_TOKEN="+operators)
	alice, bob, kept := one.dial(token(t, demo.Alice)), one.dial(token(t, demo.Bob)), one.dial(token(t, demo.Carol))
	ends := func(what, path string, s *sock, reason string) {
		t.Helper()
		began := time.Now()
		if status, text := two.console(http.MethodPost, path); status != http.StatusNoContent || text != "" {
			t.Fatal(what, status, text)
		}
		if e := s.end(); e.Code != 4403 || e.Text != reason {
			t.Errorf("%s: %v", what, e)
		}
		t.Logf("%s: %d ms", what, time.Since(began).Milliseconds())
	}
	ends("a session", "sessions/"+alice.session()+"/end", alice, "Signed out")
	ends("a user's", "users/primary/"+demo.Bob.String()+"/end", bob, "Token revoked")
	if r := two.post(`{ myPresence { status } }`, bearer(token(t, demo.Carol))); len(r.Errors) > 0 {
		t.Error("of somebody else:", r)
	}
	if r := kept.run(`{ myPresence { status } }`); len(r.Errors) > 0 {
		t.Error("somebody else's socket:", r)
	}
	if status, _ := two.console(http.MethodPost, "users/primary/"+uuid.NewString()+"/end"); status != http.StatusNoContent {
		t.Errorf("of a user who is nobody it is said: %d", status)
	}
	log := two.said()
	for _, line := range []string{`"msg":"audit: an operator ends a session","session":"` + alice.session() + `","found":true`, `"msg":"audit: an operator ends a user's sessions","tenant":"primary","user":"` + demo.Bob.String() + `"`} {
		if !strings.Contains(log, line) {
			t.Errorf("not written: %s\n%s", line, log)
		}
	}
	if strings.Contains(log, operators) {
		t.Error("the token is written")
	}
}
