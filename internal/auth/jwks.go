package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	jwksBytes   = 1 << 20
	jwksTimeout = 10 * time.Second
	jwksLeast   = time.Second      // between two fetches, as Hasura
	jwksMost    = 30 * time.Second // between two tries while the endpoint fails
	jwksUnknown = 10 * time.Second // between two fetches for unknown key ids
	jwksWait    = 3 * time.Second  // that a request waits for a fetch
)

// keySet holds the keys of a jwk_url. Keys once read stay usable while the
// endpoint is away; an unknown key id asks for them again, not too often.
type keySet struct {
	url    string
	client *http.Client
	log    *slog.Logger
	ask    wait.Flag

	mu      sync.Mutex
	keys    []setKey      // guarded by mu
	loaded  bool          // guarded by mu: there was an answer
	asked   time.Time     // guarded by mu: last for an unknown id
	asking  bool          // guarded by mu: that fetch has not ended
	fetched chan struct{} // guarded by mu: closed when a fetch ends, then another
}

type setKey struct {
	id   string
	algs []string // never empty
	key  any
}

func newKeySet(url string, client *http.Client, log *slog.Logger) *keySet {
	if client == nil {
		client = &http.Client{Timeout: jwksTimeout, CheckRedirect: noStepDown}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &keySet{url: url, client: client, log: log, ask: wait.NewFlag(), fetched: make(chan struct{})}
}

// noStepDown refuses to be led from https to http, where anybody on the way
// could put in a key of their own.
func noStepDown(to *http.Request, via []*http.Request) error {
	if len(via) >= 5 || via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return errors.New("refused to follow a redirect")
	}
	return nil
}

// find is the keys that may verify a token of this kid and alg. A kid nobody
// knows, and a token before the first answer, waits for one fetch, for as long
// as ctx and jwksWait allow.
func (s *keySet) find(ctx context.Context, kid, alg string) (any, error) {
	s.mu.Lock()
	keys, next, loaded := s.lookup(kid, alg), s.fetched, s.loaded
	if len(keys) == 0 && loaded && (s.asked.IsZero() || time.Since(s.asked) >= jwksUnknown) {
		s.asked, s.asking = time.Now(), true
		s.ask.Raise()
	}
	waits := len(keys) == 0 && (!loaded || s.asking)
	s.mu.Unlock()
	if waits {
		timer := time.NewTimer(jwksWait)
		defer timer.Stop()
		select {
		case <-next:
		case <-ctx.Done():
		case <-timer.C:
		}
		s.mu.Lock()
		keys, loaded = s.lookup(kid, alg), s.loaded
		s.mu.Unlock()
	}
	switch {
	case len(keys) > 0:
		return jwt.VerificationKeySet{Keys: keys}, nil
	case !loaded: // our trouble, and not the token's
		return nil, fault.Later(fault.Unexpected, jwksLeast, "the keys that verify tokens cannot be reached")
	}
	return nil, errors.New("no such key")
}

// lookup is find's without waiting; s.mu is held. A key without an id may be
// any token's, and a token without one any key's.
func (s *keySet) lookup(kid, alg string) (keys []jwt.VerificationKey) {
	for _, k := range s.keys {
		if (kid == "" || k.id == "" || k.id == kid) && slices.Contains(k.algs, alg) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// run fetches at first, when the answer's own headers say, when asked, and
// while the endpoint fails again and again, ever more slowly.
func (s *keySet) run(ctx context.Context) {
	retry := jwksLeast
	for ctx.Err() == nil {
		next, err := s.fetch(ctx)
		s.ended(err == nil)
		switch {
		case err == nil:
			retry = jwksLeast
		case ctx.Err() != nil:
			return
		default:
			s.log.WarnContext(ctx, "jwk_url gave no keys", "host", hostOf(s.url), "error", err, "retry_in", retry)
			next, retry = retry, min(2*retry, jwksMost)
		}
		s.sleep(ctx, next)
	}
}

// ended tells who waits for a fetch that one has ended. Before the first answer
// they wait on: it may be a moment away.
func (s *keySet) ended(well bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking = false
	s.loaded = s.loaded || well
	if s.loaded {
		close(s.fetched)
		s.fetched = make(chan struct{})
	}
}

// sleep waits for d, at least a second; with zero until asked.
func (s *keySet) sleep(ctx context.Context, d time.Duration) {
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(max(d, jwksLeast))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-s.ask:
	}
}

// fetch reads the keys; next is when to do so again, zero: when asked only.
func (s *keySet) fetch(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return 0, errors.New("the URL cannot be used")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // its text has the URL, which may hold a secret
		}
		return 0, fmt.Errorf("asking for keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return 0, fmt.Errorf("the endpoint answered %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, jwksBytes+1))
	if err != nil {
		return 0, fmt.Errorf("reading keys: %w", err)
	}
	if len(body) > jwksBytes {
		return 0, fmt.Errorf("the answer has more than %d bytes", jwksBytes)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
	return freshFor(res.Header, time.Now()), nil
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Host
}

// parseKeys reads a JWK set (RFC 7517) and leaves out what is not for us: keys
// of other kinds, symmetric ones above all, weak ones, those for encryption.
func parseKeys(body []byte) ([]setKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is no JWK set")
	}
	var keys []setKey
	for _, raw := range set.Keys {
		var m jwkset.JWKMarshal
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		// The library would fetch x5u, and doubt keys for their certificates.
		m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
		j, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipUse: true, SkipKeyOps: true})
		if err != nil || m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		algs := fittingAlgs(j.Key())
		if m.ALG != "" {
			algs = slices.DeleteFunc(algs, func(a string) bool { return a != string(m.ALG) })
		}
		if len(algs) > 0 {
			keys = append(keys, setKey{id: m.KID, algs: algs, key: j.Key()})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the answer has no key that could verify a token")
	}
	return keys, nil
}
