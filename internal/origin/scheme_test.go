package origin_test

import (
	"net/http"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/origin"
)

// TestAPageWithoutTLSIsNotTheHostsOwn where the request is known to have come by TLS:
// whoever is on the way can make such a page of the host's name.
func TestAPageWithoutTLSIsNotTheHostsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		origin     string
		https, may bool
	}{{"https://chat.example.com", true, true}, {"http://chat.example.com", true, false}, {"http://chat.example.com", false, true}, {"https://chat.example.com", false, true}} {
		p := origin.New(nil, func(*http.Request) bool { return c.https })
		r := &http.Request{Host: "chat.example.com", Header: http.Header{"Origin": {c.origin}}}
		if got := p.Allowed(r); got != c.may {
			t.Errorf("%+v: %v", c, got)
		}
	}
	p := origin.New([]string{"http://chat.example.com"}, func(*http.Request) bool { return true })
	if !p.Allowed(&http.Request{Host: "chat.example.com", Header: http.Header{"Origin": {"http://chat.example.com"}}}) {
		t.Error("one that is named")
	}
}
