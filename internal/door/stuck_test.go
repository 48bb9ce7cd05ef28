package door

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestAnUpstreamThatDoesNotRead, though it goes on talking, is lost as soon as something
// cannot be written to it: what can be asked again is, elsewhere, and what is ours,
// or another's, does not notice.
func TestAnUpstreamThatDoesNotRead(t *testing.T) {
	t.Parallel()
	const n = 24
	r := newRig(t, setup{tables: true, double: func(o *double.Options) { o.ReadBuffer = 256 << 10 },
		limits:  wsock.Limits{MessageRate: 1e6, PingEvery: time.Minute},
		options: []func(*Options){func(o *Options) { o.HeldBytes, o.WriteTimeout = 64<<20, 3*time.Second }}})
	t.Cleanup(func() { r.h.Gate(false) })
	other := r.open(wsock.TransportWS)
	other.start("1", `subscription { items { text } }`)
	other.expect(`"first"`)
	p := r.open(wsock.TransportWS)
	p.start("ours", `subscription { ours }`)
	p.expect(`{"ours":0}`)
	r.h.Gate(true)
	p.start("m", `mutation { held }`) // its messages are read one after the other
	eventually(t, "it runs", func() bool { return r.h.Asked.Load() == 2 })
	large := strings.Repeat("x", 256<<10)
	for i := range n {
		p.say(`{"id":"` + fmt.Sprintf("l%02d", i) + `","type":"subscribe","payload":{"query":"subscription { items { text } }","variables":{"x":"` + large + `"}}}`)
	}
	r.engine.tell(1)
	r.insert("second")
	other.expect(`"second"`)
	told := map[string]int{}
	for len(told) < n+2 {
		got := p.expect(`"id"`)
		switch {
		case strings.Contains(got, `"id":"m"`) && strings.Contains(got, `"code":"outcome-unknown"`):
			told["m"]++
		case strings.Contains(got, `{"ours":1}`):
			told["ours"]++
		case strings.Contains(got, `"second"`):
			told[got[strings.Index(got, `"id":"l`):][:len(`"id":"l00"`)]]++
		case strings.Contains(got, `"first"`): // it was there again before the second
		default:
			t.Fatalf("%.300s", got)
		}
	}
	for what, times := range told {
		if times != 1 {
			t.Errorf("%s was told %d times", what, times)
		}
	}
	if r.seen.of("lost closed") == 0 || r.seen.of("lost garbage")+r.seen.of("lost silent") > 0 {
		t.Error("it is not counted as what it is:", r.seen.n)
	}
}
