package wsock

import (
	"fmt"
	"strings"
	"testing"
)

// many is a JSON array of n small objects.
func many(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"":0},`, n), ",") + "]" }

// TestExtensionsAreNotKept: of a subscription's a persisted query's version and hash are
// held as long as it lives, and nothing else.
func TestExtensionsAreNotKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.open()
	p.say(`{"id":"1","type":"subscribe","payload":{"query":"subscription { forever }","extensions":{"x":` + many(1000) +
		`,"persistedQuery":{"version":1,"sha256Hash":"x","y":` + many(1000) + `}}}}`)
	eventually(t, "it runs", func() bool { return r.engine.running.Load() == 1 })
	if got := fmt.Sprint(r.engine.asked.Load().Extensions); got != "map[persistedQuery:map[sha256Hash:x version:1]]" {
		t.Errorf("kept: %.200s", got)
	}
}
