package gqlhttp

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAnOperationHasItsTime: one that takes longer is ended, and answered all the
// same, alone and in a batch.
func TestAnOperationHasItsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{OperationTimeout: time.Millisecond})
	for _, body := range []string{`{"query":"{ endless }"}`, `[{"query":"{ endless }"},{"query":"{ endless }"}]`} {
		if status, got := raw(t, dial(t, s), post(len(body), body)); status != http.StatusOK || !strings.Contains(got, `"errors"`) {
			t.Errorf("%s: %d %s", body, status, got)
		}
	}
}
