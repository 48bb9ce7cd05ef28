package gqlhttp

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAnOperationHasItsTime: one that takes longer is ended, and answered all the
// same, alone, in a batch and as an event stream; a subscription is not.
func TestAnOperationHasItsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{OperationTimeout: time.Millisecond})
	for _, body := range []string{`{"query":"{ endless }"}`, `[{"query":"{ endless }"},{"query":"{ endless }"}]`} {
		if status, got := raw(t, dial(t, s), post(len(body), body)); status != http.StatusOK || !strings.Contains(got, `"errors"`) {
			t.Errorf("%s: %d %s", body, status, got)
		}
	}
	resp := s.subscribe(t, "{ endless }") //nolint:bodyclose // by subscribe
	if got := all(t, resp); !strings.HasPrefix(got, begun+`event: next`+"\n"+`data: {"errors"`) || !strings.HasSuffix(got, completed) {
		t.Errorf("as an event stream: %q", got)
	}
	lasting := lines(s.subscribe(t, "subscription { forever }").Body) //nolint:bodyclose // by subscribe
	<-time.After(5 * time.Millisecond)
	select {
	case s.schema.tick <- 1:
	case <-s.schema.ended: //nolint:errcheck // it is told that it is over
		t.Fatal("the subscription has ended")
	}
	for l := range lasting {
		if strings.HasPrefix(l, "data: ") {
			if !strings.Contains(l, `{"forever":1}`) {
				t.Error(l)
			}
			return
		}
	}
	t.Error("the subscription says nothing")
}
