package e2e

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/conform"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// judge runs the public suite against a server at a URL.
func judge(t *testing.T, url, only string) (conform.Report, string) {
	t.Helper()
	var out bytes.Buffer
	o := conform.Options{URL: url + "/graphql", Tokens: [3]string{token(t, demo.Alice), token(t, demo.Bob), token(t, demo.Carol)}, Out: &out, Timeout: 2 * patient}
	if only != "" {
		o.Only = regexp.MustCompile(only)
	}
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
	report, text := judge(t, n.base, "")
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
	n := startNode(t, database(t), "OFFLINE_GRACE=500ms", "INIT_TIMEOUT=5s")
	all := breakages(t)
	var names []string
	for _, b := range all {
		for _, name := range b.seen {
			names = append(names, regexp.QuoteMeta(name))
		}
	}
	honest, text := judge(t, meddle(t, n.base, breakage{}), "^("+strings.Join(names, "|")+")$")
	if honest.Failed > 0 || honest.Skipped > 0 {
		t.Fatalf("with nobody meddling: %q\n%s", failed(text), text)
	}
	for _, b := range all {
		t.Run(b.what, func(t *testing.T) {
			names := make([]string, len(b.seen))
			for i, name := range b.seen {
				names[i] = regexp.QuoteMeta(name)
			}
			report, text := judge(t, meddle(t, n.base, b), "^("+strings.Join(names, "|")+")$")
			if got := failed(text); report.OK > 0 || strings.Join(got, "\n") != strings.Join(b.seen, "\n") {
				t.Errorf("%+v sees %q\n%s", report, got, text)
			}
		})
	}
}
