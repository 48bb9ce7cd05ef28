package outcall

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestVerdicts: what is taken, what is tried again and what is final; a redirect
// is not followed.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct{ taken, final bool }{
		200: {taken: true}, 204: {taken: true}, 302: {}, 307: {}, 400: {final: true}, 422: {final: true}, 401: {}, 403: {final: true}, 404: {}, 408: {}, 429: {}, 500: {}, 503: {},
	} {
		hits := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits++
			w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		}))
		err := New(srv.URL, "").Post(t.Context(), "k", []byte("{}"))
		srv.Close()
		f, failed := errors.AsType[*Failure](err)
		if failed == want.taken || failed && (f.Final != want.final || f.Status != status || f.After != 7*time.Second) || hits != 1 {
			t.Errorf("%d: %v after %d calls", status, err, hits)
		}
	}
}

// TestWhatIsSent is signed, and keeps its key.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	const secret = "sixteen letters."
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		sig := r.Header.Get("X-Nchat-Signature")
		stamp, _, _ := strings.Cut(strings.TrimPrefix(sig, "t="), ",")
		at, perr := time.ParseDuration(stamp + "s")
		if err != nil || perr != nil || sig != Sign(secret, time.Unix(int64(at.Seconds()), 0), body) || time.Since(time.Unix(int64(at.Seconds()), 0)) > time.Minute ||
			string(body) != `{"a":1}` || r.Header.Get("Idempotency-Key") != "key" || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(srv.Close)
	if err := New(srv.URL, secret).Post(t.Context(), "key", []byte(`{"a":1}`)); err != nil {
		t.Error(err)
	}
	if err := New(srv.URL, secret+"!").Post(t.Context(), "key", []byte(`{"a":1}`)); err == nil {
		t.Error("another secret signs alike")
	}
}

// TestNothingOfTheURLIsTold: it may hold a password or a token.
func TestNothingOfTheURLIsTold(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(srv.Close)
	at := strings.TrimPrefix(srv.URL, "http://")
	for _, to := range []string{"http://user:hunter2@" + at + "/hunter2?key=hunter2", "http://user:hunter2@127.0.0.1:1/hunter2", "http://hunter2.invalid\x7f/"} {
		if err := New(to, "hunter2hunter2hunter2").Post(t.Context(), "k", nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
