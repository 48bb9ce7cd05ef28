package feed

import (
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestThroughAPooler: by way of a PgBouncer in transaction mode in front of the test
// server, POOLER_URL, everything is told once and in order, and no statement of ours
// is missed by the server connection it meets.
func TestThroughAPooler(t *testing.T) {
	pooler, err := url.Parse(os.Getenv("POOLER_URL"))
	if err != nil || pooler.Host == "" {
		t.Skip("POOLER_URL is not set: needs a PgBouncer in front of the test server")
	}
	direct := pgtest.New(t)
	pooler.Path = "/" + direct.Config().ConnConfig.Database
	pool, err := postgres.Open(t.Context(), pooler.String(), postgres.Options{MaxConns: 16, Pooled: true})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	reader, channels := lawWorld(t, direct)
	v := viewer.Of("primary", reader)
	s := runService(t, pool, &bells{})
	_, _, at := readAll(t, s, v, "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				say(t, pool, channels[i])
				if _, err := s.Sync(t.Context(), v, Query{First: 5}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, reset, _ := readAll(t, s, v, at)
	if reset != "" || len(list) != 400 {
		t.Errorf("reset %q, told of %d messages", reset, len(list))
	}
}
