package auth

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
)

// jwk is a key as an endpoint publishes it, with more members or other ones.
func jwk(key crypto.Signer, members ...string) string {
	j := must(jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{}))
	var m map[string]any
	if err := json.Unmarshal(must(json.Marshal(j.Marshal())), &m); err != nil {
		panic(err)
	}
	delete(m, "alg")
	for i := 0; i < len(members); i += 2 {
		m[members[i]] = members[i+1]
	}
	return string(must(json.Marshal(m)))
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// endpoint is a jwk_url without a network: what it answers may change.
type endpoint struct {
	mu     sync.Mutex
	body   string
	header http.Header
	status int
	err    error
	calls  []time.Time
}

func (e *endpoint) set(body string, pairs ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.body, e.header, e.status, e.err = body, header(pairs...), http.StatusOK, nil
}

func (e *endpoint) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// since lists the calls so far, in time after the first.
func (e *endpoint) since() (all []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range e.calls {
		all = append(all, at.Sub(e.calls[0]))
	}
	return all
}

func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, time.Now())
	if e.err != nil {
		return nil, e.err
	}
	return &http.Response{StatusCode: e.status, Header: e.header, Body: io.NopCloser(strings.NewReader(e.body)), Request: req}, nil
}

// serve runs an authenticator on e until the bubble's test ends, and proves
// that Run ends with its context: a bubble cannot end with a goroutine in it.
func serve(t *testing.T, e *endpoint, log *slog.Logger) *Authenticator {
	t.Helper()
	c, err := ParseJWTConfig(`{"jwk_url":"https://keys.example/jwks"}`)
	if err != nil {
		t.Fatal(err)
	}
	a := New(Options{JWT: &c, Client: &http.Client{Transport: e}, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return a
}

// rs signs alice's session for a kid ("": none) by RS256.
func rs(kid string, key any) string {
	h := `{"alg":"RS256"}`
	if kid != "" {
		h = `{"alg":"RS256","kid":"` + kid + `"}`
	}
	return sign("RS256", h, "{"+session+"}", key)
}

// bubble runs a proof in which time passes when everybody waits.
func bubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { testKeys(); synctest.Test(t, f) }
}

func jwksRules() []rule {
	return []rule{
		{"jwk_url", "each key verifies what its kty, crv and alg say, and never HMAC", judgesKeys},
		{"jwk_url", "a token without kid is tried with every fitting key, a key without kid for every token", bubble(keysWithoutID)},
		{"jwk_url", "keys that are weak, symmetric, for encryption or odd are left out", leavesOut},
		{"jwk_url", "nothing that a key points to is fetched", bubble(fetchesNoX5U)},
		{"jwks", "Cache-Control and Expires are read as Hasura reads them", freshness},
		{"jwks", "is fetched again when it is stale", bubble(refreshes)},
		{"jwks", "whose answer says nothing holds until a kid is missing", bubble(holds)},
		{"jwks", "an unknown kid is fetched for, at once and rarely", bubble(rotates)},
		{"jwks", "a failing endpoint is asked ever more slowly, and old keys stay", bubble(keepsOldKeys)},
		{"jwks", "a bad answer takes no key away", bubble(keepsThroughBadAnswers)},
		{"jwks", "an endpoint that is down delays no start, and is our trouble, to be tried again", bubble(startsWithout)},
		{"jwks", "before the first answer a token waits for it", bubble(waitsForFirst)},
		{"jwks", "an answer that never ends is given up", bubble(givesUp)},
		{"jwks", "no redirect leads from https to http", noWayDown},
		{"jwks", "works over a real connection, and Run ends with its context", overTheWire},
		{"jwks", "Run returns at once where there is nothing to fetch", func(t *testing.T) { rig(t, "{"+hs256+"}", Options{}).Run(t.Context()) }},
	}
}

func fetchesNoX5U(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a", "x5u", "http://keys.example/cert", "x5t", "AAAA")))
	a := serve(t, e, nil)
	accepted(t, a, bearer(rs("a", k.rsa)))
	if n := len(e.since()); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func freshness(t *testing.T) {
	in := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		control, expires string
		want             time.Duration
	}{
		{"", "", 0}, {"public", "", 0}, {"max-age=600", "", 10 * time.Minute}, {"public, max-age=600, immutable", "", 10 * time.Minute}, {"s-maxage=60", "", time.Minute}, {"MAX-AGE=60", "", time.Minute},
		{`max-age="60"`, "", time.Minute}, {"max-age=0", "", time.Second}, {"max-age=-5", "", 0}, {"max-age=x", "", 0}, {"max-age", "", 0}, {"max-age=99999999999999", "", jwksLongest},
		{"max-age=99999999999999999999", in(time.Hour), time.Hour},
		{"no-cache", "", time.Second}, {"no-store", "", time.Second}, {"max-age=600, no-cache", "", time.Second}, {"no-store, max-age=600", in(time.Hour), time.Second},
		{"must-revalidate", "", time.Second}, {"must-revalidate, max-age=600", "", 10 * time.Minute}, {"max-age=600, must-revalidate", "", 10 * time.Minute}, {"Must-Revalidate, s-maxage=600", "", 10 * time.Minute},
		{"no-cache, must-revalidate, max-age=600", "", 10 * time.Minute},
		{"", in(time.Hour), time.Hour}, {"", in(-time.Hour), time.Second}, {"", "0", 0}, {"", "soon", 0}, {"public", in(time.Minute), time.Minute}, {"max-age=60", in(time.Hour), time.Minute},
		{"", in(1000 * 24 * time.Hour), jwksLongest},
	} {
		h := http.Header{}
		if c.control != "" {
			h.Set("Cache-Control", c.control)
		}
		if c.expires != "" {
			h.Set("Expires", c.expires)
		}
		if got := freshFor(h, noon); got != c.want {
			t.Errorf("%q %q: %v, want %v", c.control, c.expires, got, c.want)
		}
	}
	if got := freshFor(header("Cache-Control", "public", "Cache-Control", "max-age=60"), noon); got != time.Minute {
		t.Errorf("two lines: %v", got)
	}
}

func refreshes(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a")), "Cache-Control", "max-age=600")
	a := serve(t, e, nil)
	accepted(t, a, bearer(rs("a", k.rsa)))
	e.set(jwks(jwk(k.otherRSA, "kid", "b")), "Cache-Control", "no-cache")
	<-time.After(600*time.Second - 1)
	accepted(t, a, bearer(rs("a", k.rsa)))
	<-time.After(1)
	synctest.Wait()
	accepted(t, a, bearer(rs("b", k.otherRSA)))
	refused(t, a, bearer(rs("a", k.rsa)), forged)
	e.set(jwks(jwk(k.otherRSA, "kid", "b")))
	<-time.After(2 * time.Second)
	synctest.Wait()
	if want := []time.Duration{0, 600 * time.Second, 600 * time.Second, 601 * time.Second}; !slices.Equal(e.since(), want) {
		t.Errorf("fetched at %v, want %v", e.since(), want)
	}
}

func holds(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a")))
	a := serve(t, e, nil)
	<-time.After(1000 * time.Hour)
	accepted(t, a, bearer(rs("a", k.rsa)))
	if n := len(e.since()); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func rotates(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a")), "Cache-Control", "max-age=86400")
	a := serve(t, e, nil)
	<-time.After(time.Hour)
	e.set(jwks(jwk(k.rsa, "kid", "a"), jwk(k.otherRSA, "kid", "b")), "Cache-Control", "max-age=86400")
	accepted(t, a, bearer(rs("b", k.otherRSA))) // the very request that met the new key
	accepted(t, a, bearer(rs("a", k.rsa)))
	before := time.Now()
	for i := range 100 { // a flood of inventions
		refused(t, a, bearer(rs(fmt.Sprint("x", i), k.rsa)), forged)
	}
	if time.Since(before) != 0 {
		t.Errorf("they waited %v", time.Since(before))
	}
	if n := len(e.since()); n != 2 {
		t.Errorf("%d fetches", n)
	}
	<-time.After(jwksUnknown)
	refused(t, a, bearer(rs("y", k.rsa)), forged)
	if n := len(e.since()); n != 3 {
		t.Errorf("%d fetches after the pause", n)
	}
}

func keepsOldKeys(t *testing.T) {
	k := testKeys()
	var log bytes.Buffer
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a")), "Cache-Control", "max-age=1")
	a := serve(t, e, slog.New(slog.NewTextHandler(&log, nil)))
	e.fail(errors.New("down"))
	<-time.After(94 * time.Second)
	accepted(t, a, bearer(rs("a", k.rsa)))
	var want []time.Duration
	for _, s := range []int{0, 1, 2, 4, 8, 16, 32, 62, 92} {
		want = append(want, time.Duration(s)*time.Second)
	}
	if !slices.Equal(e.since(), want) {
		t.Errorf("tried at %v", e.since())
	}
	e.set(jwks(jwk(k.otherRSA, "kid", "b")))
	<-time.After(jwksMost)
	synctest.Wait()
	accepted(t, a, bearer(rs("b", k.otherRSA)))
	if text := log.String(); !strings.Contains(text, "keys.example") || !strings.Contains(text, "down") {
		t.Errorf("log %q", text)
	}
}

func keepsThroughBadAnswers(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.set(jwks(jwk(k.rsa, "kid", "a")), "Cache-Control", "no-cache")
	a := serve(t, e, nil)
	other := jwks(jwk(k.otherRSA, "kid", "a"))
	for _, bad := range []string{"", "<html>", "[]", `{"keys":5}`, `{"keys":[]}`, `{}`, jwks(`{"kty":"oct","k":"aaaa"}`), other + strings.Repeat(" ", jwksBytes)} {
		e.set(bad)
		<-time.After(jwksMost)
		synctest.Wait()
		accepted(t, a, bearer(rs("a", k.rsa)))
	}
	for _, status := range []int{199, 304, 404, 500} {
		e.set(other)
		e.mu.Lock()
		e.status = status
		e.mu.Unlock()
		<-time.After(jwksMost)
		synctest.Wait()
		accepted(t, a, bearer(rs("a", k.rsa)))
	}
}

func startsWithout(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.fail(errors.New("down"))
	a := serve(t, e, nil)
	before := time.Now()
	refused(t, a, bearer(rs("a", k.rsa)), "unexpected: the keys that verify tokens cannot be reached")
	if waited := time.Since(before); waited != jwksWait {
		t.Errorf("waited %v", waited)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	before = time.Now()
	if _, err := a.Authenticate(ctx, bearer(rs("a", k.rsa))); err == nil || time.Since(before) != time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(before))
	}
	refused(t, a, bearer(sign("HS256", `{"alg":"HS256"}`, "{"+session+"}", []byte(secret))), forged)
}

func waitsForFirst(t *testing.T) {
	k := testKeys()
	e := &endpoint{}
	e.fail(errors.New("down"))
	a := serve(t, e, nil)
	e.set(jwks(jwk(k.rsa, "kid", "a")))
	before := time.Now()
	accepted(t, a, bearer(rs("a", k.rsa)))
	if waited := time.Since(before); waited != jwksLeast {
		t.Errorf("waited %v", waited)
	}
}

func givesUp(t *testing.T) {
	s := newKeySet("https://keys.example", &http.Client{Transport: silent{}}, nil)
	before := time.Now()
	if _, err := s.fetch(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != jwksTimeout {
		t.Errorf("%v after %v", err, time.Since(before))
	}
}

// silent answers nothing until the request's end.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func noWayDown(t *testing.T) {
	k := testKeys()
	var asked atomic.Bool
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		_, _ = io.WriteString(w, jwks(jwk(k.rsa)))
	}))
	t.Cleanup(plain.Close)
	safe := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(safe.Close)
	own := newKeySet(safe.URL, nil, nil).client // ours, with the server's certificate
	own.Transport = safe.Client().Transport
	if _, err := newKeySet(safe.URL, own, nil).fetch(t.Context()); err == nil || asked.Load() {
		t.Errorf("followed: %v", err)
	}
	again := httptest.NewServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(again.Close)
	if _, err := newKeySet(again.URL, nil, nil).fetch(t.Context()); err != nil || !asked.Load() {
		t.Errorf("not followed: %v", err)
	}
	var loop *httptest.Server
	loop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, loop.URL, http.StatusFound) }))
	t.Cleanup(loop.Close)
	if _, err := newKeySet(loop.URL, nil, nil).fetch(t.Context()); err == nil {
		t.Error("a circle ends")
	}
}

func overTheWire(t *testing.T) {
	k := testKeys()
	var set atomic.Pointer[string]
	first := jwks(jwk(k.rsa, "kid", "a"))
	set.Store(&first)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = io.WriteString(w, *set.Load())
	}))
	t.Cleanup(srv.Close)
	a := rig(t, `{"jwk_url":`+quoted(srv.URL)+`,"type":"RS256"}`, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); a.Run(ctx) }()
	accepted(t, a, bearer(rs("a", k.rsa)))
	second := jwks(jwk(k.otherRSA, "kid", "b"))
	set.Store(&second)
	accepted(t, a, bearer(rs("b", k.otherRSA)))
	refused(t, a, bearer(rs("a", k.rsa)), forged)
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("Run goes on without its context")
	}
}
