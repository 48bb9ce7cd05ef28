package e2e

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
)

// An event stream has no socket to close, and ends with its token all the same.
func TestEventStreamsEndWithTheirToken(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	open := func(tok string) io.Reader { return n.events(tok, watch(demo.Bob)) }
	ended := func(name string, body io.Reader) {
		t.Helper()
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(io.Discard, body) }()
		select {
		case <-done:
		case <-time.After(patient):
			t.Errorf("%s: the stream goes on", name)
		}
	}
	expiring := open(token(t, demo.Alice, func(c *auth.Claims) { c.TTL = 2 * time.Second }))
	revoked := open(token(t, demo.Carol, func(c *auth.Claims) { c.TokenID = "stream" }))
	if r := n.post(fmt.Sprintf(`mutation { revokeSessions(userId: %q, tokenId: "stream") }`, demo.Carol), http.Header{"X-Hasura-Admin-Secret": {admin}}); len(r.Errors) > 0 {
		t.Fatal(r)
	}
	ended("revoked", revoked)
	ended("expired", expiring)
}
