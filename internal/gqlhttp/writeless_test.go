package gqlhttp

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestADatabaseThatTakesNoWritesIsSaidOnce while it lasts, and again the next time; who
// wrote is told to try again, and when.
func TestADatabaseThatTakesNoWritesIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logged
		present := Presenter(slog.New(slog.NewTextHandler(&log, nil)))
		ctx := at(t.Context(), "mine", "acknowledgeRead")
		began := time.Now()
		refused := func() {
			t.Helper()
			got := present(ctx, fmt.Errorf("moving marks: %w", &pgError{"25006", "cannot execute INSERT in a read-only transaction"}))
			if got.Message != "nothing can be written for now" || got.Extensions["code"] != string(fault.Unexpected) ||
				got.Extensions["retryable"] != true {
				t.Errorf("told %+v", got)
			}
			least := min(max(2*time.Second, time.Since(began)/4), 30*time.Second)
			if ms, ok := got.Extensions["retryAfterMs"].(int64); !ok || ms < least.Milliseconds() || ms > least.Milliseconds()*3/2 {
				t.Errorf("after %s it is to be tried again after %v ms", time.Since(began), got.Extensions["retryAfterMs"])
			}
		}
		said := func(want int) {
			t.Helper()
			if text := log.String(); strings.Count(text, "level=WARN") != want || strings.Contains(text, "level=ERROR") {
				t.Errorf("want it said %d times: %q", want, text)
			}
		}
		for range 10 { // which is longer than a minute in all
			refused()
			<-time.After(writelessFor - time.Second)
		}
		said(1)
		<-time.After(time.Second)
		began = time.Now()
		refused()
		said(2)
		for range 22 { // which is more than twenty minutes
			<-time.After(writelessFor - time.Second)
			refused()
		}
		said(4)
		if got := present(ctx, fmt.Errorf("sending: %w", errors.Join(fault.Access(), &pgError{"25006", ""}))); got.Extensions["code"] != string(fault.Denied) {
			t.Errorf("a fault is told as %+v", got)
		}
	})
}
