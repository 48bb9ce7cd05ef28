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
		refused := func() {
			t.Helper()
			got := present(ctx, fmt.Errorf("moving marks: %w", &pgError{"25006", "cannot execute INSERT in a read-only transaction"}))
			if got.Message != "nothing can be written for now" || got.Extensions["code"] != string(fault.Unexpected) ||
				got.Extensions["retryable"] != true || got.Extensions["retryAfterMs"] != int64(2000) {
				t.Errorf("told %+v", got)
			}
		}
		said := func(want int) {
			t.Helper()
			if text := log.String(); strings.Count(text, "level=WARN") != want || strings.Contains(text, "level=ERROR") {
				t.Errorf("want it said %d times: %q", want, text)
			}
		}
		for range 100 { // which is longer than a minute in all
			refused()
			<-time.After(writelessFor - time.Second)
		}
		said(1)
		<-time.After(time.Second)
		refused()
		said(2)
		if got := present(ctx, fmt.Errorf("sending: %w", errors.Join(fault.Access(), &pgError{"25006", ""}))); got.Extensions["code"] != string(fault.Denied) {
			t.Errorf("a fault is told as %+v", got)
		}
	})
}
