package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// settled waits until a node has been in touch with Postgres for as long as it
// must have been before it judges others.
func settled(t *testing.T, n *node) {
	t.Helper()
	eventually(t, "the node is settled", func() bool { return time.Since(n.started()) > 7*time.Second })
}

// hears reads on until users have been seen in status, and returns how long it
// took; anybody else, or another status, is an error.
func hears(t *testing.T, c <-chan result, status string, users ...uuid.UUID) time.Duration {
	t.Helper()
	began, left := time.Now(), map[string]bool{}
	for _, u := range users {
		left[u.String()] = true
	}
	for len(left) > 0 {
		var got struct{ PresenceChanged presence }
		r := next(t, c)
		if err := json.Unmarshal(r.Data, &got); err != nil {
			t.Fatal(r)
		}
		if p := got.PresenceChanged; p.Status != status || !left[p.UserID] {
			t.Errorf("told of somebody else: %s", r)
		}
		delete(left, got.PresenceChanged.UserID)
	}
	return time.Since(began)
}

// TestAKilledNodeIsNoticedEverywhereAndOnlyItsUsers: of three nodes one is
// killed. Who was there alone goes offline at both others; who has a device elsewhere
// too, or was elsewhere, does not. That it is within 8 s, killNode of the rig holds
// (make soak FAULTS=1h), on a quiet machine.
func TestAKilledNodeIsNoticedEverywhereAndOnlyItsUsers(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two, three := startNode(t, url), startNode(t, url), startNode(t, url)
	one.dial(token(t, demo.Alice))
	one.dial(token(t, demo.Carol))
	one.dial(token(t, demo.Dave)) // and
	three.dial(token(t, demo.Dave))
	two.dial(token(t, demo.Erin))
	all := watch(demo.Alice, demo.Carol, demo.Dave, demo.Erin)
	watchers := []<-chan result{two.dial(token(t, demo.Bob)).start(all), three.dial(token(t, demo.Frank)).start(all)}
	for _, c := range watchers {
		online := map[string]bool{}
		for len(online) < 4 {
			if r := next(t, c).String(); strings.Contains(r, `"online"`) {
				online[r] = true
			}
		}
	}
	settled(t, three)
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for i, c := range watchers {
		hears(t, c, "offline", demo.Alice, demo.Carol)
		t.Logf("watcher %d knows after %.1f s", i, time.Since(killed).Seconds())
	}
	for _, c := range watchers {
		quiet(t, c, 2*time.Second, "only two users went")
	}
}

// TestAFrozenNodeIsGivenUpAndComesBack: a node that stands still (a paused
// machine) is taken for dead; when it goes on, its users are back, on the
// sockets they have, without having done anything.
func TestAFrozenNodeIsGivenUpAndComesBack(t *testing.T) {
	t.Parallel()
	url := database(t)
	one, two := startNode(t, url), startNode(t, url)
	alice := one.dial(token(t, demo.Alice))
	mine := alice.start(watch(demo.Bob))
	two.dial(token(t, demo.Carol))
	bob := two.dial(token(t, demo.Bob)).start(watch(demo.Alice, demo.Carol))
	until(t, bob, demo.Alice.String()+`","status":"online"`)
	until(t, mine, `"online"`)
	settled(t, two)
	for len(bob) > 0 {
		<-bob
	}
	signal := func(s syscall.Signal) {
		if err := one.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	t.Logf("a frozen node was noticed after %.1f s", hears(t, bob, "offline", demo.Alice).Seconds())
	quiet(t, bob, 2*time.Second, "one user's node is frozen")
	if r := two.post(`mutation { setCustomStatus(input: { text: "meanwhile" }) { status } }`, bearer(token(t, demo.Bob))); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	signal(syscall.SIGCONT)
	hears(t, bob, "online", demo.Alice)
	until(t, mine, `"meanwhile"`) // what its subscribers missed
	if r := alice.run(`mutation { setPresence(status: busy) { status } }`); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	hears(t, bob, "busy", demo.Alice)
	quiet(t, bob, 2*time.Second, "all is as it was")
}

// TestADrainIsSpreadAndLetsNobodyIn: sockets are sent away one after another
// over four of the drain timeout's seconds, so that they do not all arrive elsewhere at once.
func TestADrainIsSpreadAndLetsNobodyIn(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t), "DRAIN_TIMEOUT=7s") // all but the last three
	var all []*sock
	for i := range 40 {
		all = append(all, n.dial(token(t, demo.User(1+i%6))))
	}
	type end struct {
		code int
		at   time.Duration
	}
	ended := make(chan end, len(all))
	began := time.Now()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		go func() { e := <-s.closed; ended <- end{e.Code, time.Since(began)} }()
	}
	// How they are spread, wsock.TestDrainIsSpread holds, where no machine is too slow for it.
	bySecond, cut := map[int]int{}, 0
	for range all {
		select {
		case e := <-ended:
			bySecond[int(e.at/time.Second)]++
			if e.code != websocket.CloseServiceRestart {
				cut++
				if e.at < 5*time.Second { // whom a late node has not told by then, it cuts off
					t.Errorf("closed with %d after %v", e.code, e.at)
				}
			}
		case <-time.After(patient):
			t.Fatal("not all sockets were closed")
		}
	}
	t.Logf("closed by second: %v; %d were cut off", bySecond, cut)
	if cut == len(all) {
		t.Error("none was told")
	}
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: time.Second}
	if ws, _, err := d.DialContext(t.Context(), strings.Replace(n.base, "http", "ws", 1)+"/graphql", nil); err == nil { //nolint:bodyclose // a refused handshake has none to close
		_, _, err = ws.ReadMessage()
		if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
			t.Errorf("let in while leaving: %v", err)
		}
		_ = ws.Close()
	}
	<-n.done
	if !n.cmd.ProcessState.Success() {
		t.Error(n.cmd.ProcessState, n.said())
	}
	if said := n.said(); strings.Contains(said, "panic") || strings.Contains(said, fmt.Sprintf("%q", "ERROR")) {
		t.Error(said)
	}
}
