package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/announce"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestTheAppsServerIsToldOfPresence: by whichever node, of each change once, of the
// invisible as of one who went; also after the node that kept it was killed; and
// what it is told stands in the view.
func TestTheAppsServerIsToldOfPresence(t *testing.T) {
	whole(t)
	url := database(t)
	var mu sync.Mutex
	told, all := map[uuid.UUID][]string{}, ""
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var p announce.Payload
		if json.Unmarshal(body, &p) != nil || r.Header.Get("X-Nchat-Signature") == "" {
			t.Errorf("told %s", body)
		}
		mu.Lock()
		defer mu.Unlock()
		all += string(body)
		for _, c := range p.Changes {
			told[c.UserID] = append(told[c.UserID], c.Status)
		}
	}))
	t.Cleanup(hook.Close)
	heard := func(user uuid.UUID, want ...string) {
		t.Helper()
		eventually(t, strings.Join(want, ", "), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Join(told[user], " ") == strings.Join(want, " ")
		})
	}
	env := []string{"PRESENCE_WEBHOOK_URL=" + hook.URL + "/in", "PRESENCE_WEBHOOK_SECRET=what signs the tests", "PRESENCE_VIEW=on", "OFFLINE_GRACE=100ms"}
	a := startNode(t, url, env...)
	b := startNode(t, url, env...)
	a.dial(token(t, demo.Alice))
	heard(demo.Alice, "online")
	b.dial(token(t, demo.Bob))
	heard(demo.Bob, "online")
	b.post(`mutation { setInvisibleMode(enabled: true) { invisibleMode } }`, bearer(token(t, demo.Bob)))
	heard(demo.Bob, "online", "offline")
	b.post(`mutation { setCustomStatus(input: {text: "in hiding"}) { userId } }`, bearer(token(t, demo.Bob)))
	a.cmd.Process.Kill() //nolint:errcheck // it is gone either way
	heard(demo.Alice, "online", "offline")
	b.dial(token(t, demo.Carol))
	heard(demo.Carol, "online")
	heard(demo.Bob, "online", "offline")
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(all, "in hiding") {
		t.Errorf("told of what is done in hiding: %s", all)
	}
	var seen string
	const q = `select string_agg(v.status, ' ' order by v.user_id) from realtime.visible_presence v`
	if err := pgtest.Pool(t, url).QueryRow(t.Context(), q).Scan(&seen); err != nil || seen != "offline offline online" {
		t.Errorf("the view says %q, %v", seen, err)
	}
}
