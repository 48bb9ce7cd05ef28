package e2e

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/conform"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// unspoken is the one check that waits for INIT_TIMEOUT. Where it is not run, that can be as
// long as a busy machine needs to begin a socket.
const unspoken = "protocol: a socket that does not send connection_init is closed with 4408"

// judge runs checks of the public suite against a server at a URL.
func judge(t *testing.T, url string, only []string) (conform.Report, string) {
	t.Helper()
	var out bytes.Buffer
	names := make([]string, len(only))
	for i, name := range only {
		names[i] = regexp.QuoteMeta(name)
	}
	o := conform.Options{URL: url + "/graphql", Tokens: [3]string{token(t, demo.Alice), token(t, demo.Bob), token(t, demo.Carol)}, Out: &out, Timeout: 2 * patient,
		Only: regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")}
	report, err := conform.Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return report, out.String()
}

// failed are a report's lines that are not ok.
func failed(report string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^not ok \d+ - (.*)$`).FindAllStringSubmatch(report, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestTheServerConforms: the suite that is for everybody's server finds nothing
// wrong with this one, and what it changed is as it was.
func TestTheServerConforms(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t), "FIELDS_AT_ONCE=1") // with one turn for each user: nobody waits for one and has it
	of := func() (all []string) {
		for _, u := range []string{"alice", "bob", "carol"} {
			id, _ := demo.Find(u)
			all = append(all, n.post(`{ presenceSettings { visibility showOnlineStatus showLastSeen allowReadReceipts allowDeliveryReceipts invisibleMode broadcastTyping typingVisibility }
				myPresence { manualStatus customStatus { text expiresAt } } contacts { nodes { userId explicit } } }`, bearer(token(t, id))).String())
		}
		return all
	}
	for _, m := range []string{`updatePresenceSettings(input: { visibility: contacts, showLastSeen: false, typingVisibility: nobody }) { id }`, `setPresence(status: busy) { id }`, `setCustomStatus(input: { text: "mine" }) { id }`} {
		if r := n.post("mutation { "+m+" }", bearer(token(t, demo.Carol))); len(r.Errors) > 0 {
			t.Fatal(r)
		}
	}
	was := of()
	report, text := judge(t, n.base, slices.DeleteFunc(conform.Names(), func(name string) bool { return name == unspoken }))
	if report.Failed > 0 || report.OK < 240 || report.Skipped > 1 {
		t.Errorf("%+v: %q\n%s", report, failed(text), text)
	}
	if is := of(); strings.Join(is, "\n") != strings.Join(was, "\n") {
		t.Errorf("it left\n%s\nwhere there was\n%s", is, was)
	}
}

// TestTheSuiteSeesWhatIsBroken: between it and a server that keeps every rule
// stands somebody who breaks one.
func TestTheSuiteSeesWhatIsBroken(t *testing.T) { //nolint:tparallel // one after another, in one world
	t.Parallel()
	n := startNode(t, database(t), "OFFLINE_GRACE=500ms")
	all := breakages(t)
	var names []string
	for _, b := range all {
		names = append(names, b.seen...)
	}
	honest, text := judge(t, meddle(t, n.base, breakage{}), names)
	if honest.Failed > 0 || honest.Skipped > 0 {
		t.Fatalf("with nobody meddling: %q\n%s", failed(text), text)
	}
	for _, b := range all {
		t.Run(b.what, func(t *testing.T) {
			report, text := judge(t, meddle(t, n.base, b), b.seen)
			if got := failed(text); report.OK > 0 || strings.Join(got, "\n") != strings.Join(b.seen, "\n") {
				t.Errorf("%+v sees %q\n%s", report, got, text)
			}
		})
	}
}

// TestTheSuiteSeesWhoIsLetWait: who says nothing is closed with 4408, and that it is not is
// seen. Apart, and both at once, for INIT_TIMEOUT is waited out.
func TestTheSuiteSeesWhoIsLetWait(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t), "INIT_TIMEOUT=10s")
	for what, b := range map[string]breakage{
		"nobody meddles":      {},
		"every close is 1000": {seen: []string{unspoken}, code: func(int) int { return websocket.CloseNormalClosure }},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			report, text := judge(t, meddle(t, n.base, b), []string{unspoken})
			if got := failed(text); report.OK+len(got) != 1 || strings.Join(got, "\n") != strings.Join(b.seen, "\n") {
				t.Errorf("%+v sees %q\n%s", report, got, text)
			}
		})
	}
}
