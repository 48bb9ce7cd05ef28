package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	jwksBytes   = 1 << 20
	jwksTimeout = 10 * time.Second
	jwksLeast   = time.Second      // between two fetches, as Hasura
	jwksUnknown = 10 * time.Second // between two fetches for an unknown key id
)

// keySet holds the keys of a jwk_url. Keys once read stay usable while the
// endpoint is away; an unknown key id asks for them again, not too often.
type keySet struct {
	url    string
	client *http.Client
	ask    chan struct{}
	loaded chan struct{} // closed with the first answer

	mu    sync.Mutex
	keys  []setKey  // guarded by mu
	asked time.Time // guarded by mu: last for an unknown id
}

type setKey struct {
	id, alg string // alg "": any that fits the key
	key     any
}

func newKeySet(url string, client *http.Client) *keySet {
	if client == nil {
		client = &http.Client{Timeout: jwksTimeout}
	}
	return &keySet{url: url, client: client, ask: make(chan struct{}, 1), loaded: make(chan struct{})}
}

// find is the key for a token's kid and algorithm. Before the first answer it
// waits, as long as ctx and no longer than a fetch takes.
func (s *keySet) find(ctx context.Context, kid, alg string) (any, bool) {
	if k, ok := s.lookup(kid, alg); ok {
		return k, true
	}
	wait, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	select {
	case <-s.loaded:
	case <-wait.Done():
		return nil, false
	}
	if k, ok := s.lookup(kid, alg); ok {
		return k, true
	}
	s.mu.Lock()
	if time.Since(s.asked) >= jwksUnknown {
		s.asked = time.Now()
		select {
		case s.ask <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	return nil, false
}

func (s *keySet) lookup(kid, alg string) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if (kid == "" || k.id == kid) && (k.alg == "" || k.alg == alg) && fits(k.key, alg) {
			return k.key, true
		}
	}
	return nil, false
}

func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS")
	case *ecdsa.PublicKey:
		return alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// run fetches at first, when the answer's own headers say, and when asked.
func (s *keySet) run(ctx context.Context) {
	first := true
	for ctx.Err() == nil {
		next, err := s.fetch(ctx)
		if err != nil {
			next = jwksLeast
		} else if first {
			first = false
			close(s.loaded)
		}
		var after <-chan time.Time
		var t *time.Timer
		if next > 0 {
			t = time.NewTimer(max(next, jwksLeast))
			after = t.C
		}
		select {
		case <-ctx.Done():
		case <-after:
		case <-s.ask:
		}
		if t != nil {
			t.Stop()
		}
	}
}

// fetch reads the keys; next is when to do so again, zero: when asked only.
func (s *keySet) fetch(ctx context.Context) (next time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return 0, fmt.Errorf("asking for keys: %w", err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking for keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, jwksBytes+1))
	if err != nil || len(body) > jwksBytes || res.StatusCode != http.StatusOK {
		return 0, errors.New("the key endpoint gave no usable answer")
	}
	keys, err := parseKeys(body)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.keys = keys
	s.mu.Unlock()
	return freshFor(res.Header, time.Now()), nil
}

func parseKeys(body []byte) ([]setKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the key endpoint's answer is no JWK set")
	}
	var keys []setKey
	for _, raw := range set.Keys {
		j, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipX5UScheme: true, GetX5U: nil, SkipUse: true, SkipKeyOps: true})
		if err != nil {
			continue // a key of a kind we do not know is not ours to judge
		}
		m := j.Marshal()
		if m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		alg := string(m.ALG)
		if _, hmac := j.Key().([]byte); hmac || alg != "" && !slices.Contains(publicAlgs, alg) {
			continue
		}
		keys = append(keys, setKey{id: m.KID, alg: alg, key: j.Key()})
	}
	if len(keys) == 0 {
		return nil, errors.New("the key endpoint's set has no usable key")
	}
	return keys, nil
}

// freshFor reads Cache-Control and Expires as Hasura does: zero when neither
// says anything.
func freshFor(h http.Header, now time.Time) time.Duration {
	for directive := range strings.SplitSeq(strings.ToLower(h.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-cache", "no-store", "must-revalidate":
			if name != "must-revalidate" || !strings.Contains(h.Get("Cache-Control"), "max-age") {
				return jwksLeast
			}
		case "max-age", "s-maxage":
			if n, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil && n >= 0 {
				return max(time.Duration(n)*time.Second, jwksLeast)
			}
		}
	}
	if at, err := http.ParseTime(h.Get("Expires")); err == nil {
		return max(at.Sub(now), jwksLeast)
	}
	return 0
}
