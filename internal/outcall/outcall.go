// Package outcall posts signed JSON to an app's own webhook, and reads what its
// answer means. Nothing of the URL, which may hold a secret, gets into an error.
package outcall

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Limit is how long a call may take.
const Limit = 10 * time.Second

// Hook is where to tell.
type Hook struct {
	URL    string
	Secret string // signs; "": unsigned
	Client *http.Client
}

// New is a hook whose redirects are not followed: what is signed for one
// receiver is nobody else's.
func New(to, secret string) Hook {
	return Hook{URL: to, Secret: secret, Client: &http.Client{Timeout: Limit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Failure is a call that was not taken.
type Failure struct {
	Status int           // 0: there was no answer
	Final  bool          // to try again changes nothing
	After  time.Duration // when the receiver asks to be tried again; 0: it does not say
	err    error
}

func (f *Failure) Error() string {
	if f.Status != 0 {
		return fmt.Sprintf("the webhook answered %d", f.Status)
	}
	return "the webhook did not answer: " + f.err.Error()
}

// Unwrap is why there was no answer.
func (f *Failure) Unwrap() error { return f.err }

// Sign is the value of the header x-nchat-signature: t=<unix seconds>,v1=<hex
// HMAC-SHA256 of "<t>.<body>" under the secret>.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(t + "."))
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Post tells once. key is the same for each try of the same. The error is a *Failure.
func (h Hook) Post(ctx context.Context, key string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return &Failure{err: plain(err)}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "nchat-realtime")
	req.Header.Set("Idempotency-Key", key)
	if h.Secret != "" {
		req.Header.Set("X-Nchat-Signature", Sign(h.Secret, time.Now(), body))
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return &Failure{err: plain(err)}
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return verdict(res)
}

// plain is an error without the URL it is about.
func plain(err error) error {
	if u, is := errors.AsType[*url.Error](err); is {
		return u.Err
	}
	return err
}

// verdict: 2xx is taken; a 4xx that no retry mends is final.
func verdict(res *http.Response) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	f := &Failure{Status: res.StatusCode}
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusNotFound:
	default:
		f.Final = res.StatusCode/100 == 4
	}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
		f.After = time.Duration(n) * time.Second
	}
	return f
}
