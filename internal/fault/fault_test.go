package fault_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestNothingButAFaultIsTold: whatever else went wrong, a client learns only
// that something did, and that it may try again.
func TestNothingButAFaultIsTold(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		errors.New("password authentication failed for user postgres"),
		fmt.Errorf("reading members of %s: %w", "00000000-0000-4000-9000-000000000002", errors.New("connection refused")),
		nil,
	} {
		f := fault.From(err)
		if f.Code != fault.Unexpected || f.Message != "internal error" || !f.Retryable || f.Field != "" {
			t.Errorf("%v is told as %+v", err, f)
		}
	}
}

// TestAFaultIsFoundHoweverItIsWrapped, with all that it says.
func TestAFaultIsFoundHoweverItIsWrapped(t *testing.T) {
	t.Parallel()
	f := fault.Later(fault.RateLimited, 1500*time.Millisecond, "more than %d", 5)
	for _, err := range []error{f, fmt.Errorf("sending: %w", f), errors.Join(errors.New("first"), fmt.Errorf("then: %w", f))} {
		if got := fault.From(err); got != f {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// TestExtensions: the code and whether to try again are always there, when and
// where only if they are known.
func TestExtensions(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		f    *fault.Error
		want map[string]any
	}{
		"for good":       {fault.New(fault.Conflict, "used before"), map[string]any{"code": "conflict", "retryable": false}},
		"a field":        {fault.Field("input.name", "too long"), map[string]any{"code": "validation-failed", "retryable": false, "field": "input.name"}},
		"in a while":     {fault.Later(fault.RateLimited, time.Second, "later"), map[string]any{"code": "rate-limited", "retryable": true, "retryAfterMs": int64(1000)}},
		"nobody can say": {fault.Later(fault.Unexpected, 0, "later"), map[string]any{"code": "unexpected", "retryable": true}},
	} {
		if got := c.f.Extensions(); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// TestAccessTellsNothing: not yours and not there are one answer, and no call
// can make two of it.
func TestAccessTellsNothing(t *testing.T) {
	t.Parallel()
	a, b := fault.Access(), fault.Access()
	if *a != *b || a.Code != fault.Denied || a.Retryable || a.Field != "" {
		t.Errorf("%+v, %+v", a, b)
	}
	a.Message = "changed by one caller"
	if fault.Access().Message != b.Message {
		t.Error("one caller changes what another is told")
	}
}

// TestCodesAreHasurasWords: lower-case words with hyphens, each once.
func TestCodesAreHasurasWords(t *testing.T) {
	t.Parallel()
	codes := []fault.Code{fault.Denied, fault.Invalid, fault.Conflict, fault.Reset, fault.RateLimited, fault.Unexpected, fault.Unsupported,
		fault.InvalidJWT, fault.InvalidHeaders, fault.MissingRoleClaims, fault.InvalidClaims}
	for _, c := range codes {
		if strings.Trim(string(c), "abcdefghijklmnopqrstuvwxyz-") != "" || c == "" {
			t.Errorf("%q", c)
		}
	}
	if slices.Sort(codes); len(slices.Compact(codes)) != 11 {
		t.Errorf("two codes are one: %q", codes)
	}
	if got := fault.New(fault.Invalid, "%d%%", 5).Error(); got != "validation-failed: 5%" {
		t.Error(got)
	}
}
