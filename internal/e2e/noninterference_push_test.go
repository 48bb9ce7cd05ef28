package e2e

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// What is pushed to the viewer is a part of its trace: each call of the webhook that is
// addressed to it, whole, but for who else is addressed. Whom it does not disturb is the
// operator's to know, and no viewer's.
//
// The viewer looks at no device, so that it is told; the friend, and of the hidden those of the
// first groups, are told too, held back, or asked about once more, each by what it does in
// hiding. Both nodes look for what is to be told, each second, and tell.

// pushGroups are the groups whose users hear of messages; the others' level is none, until
// they choose another. A push counts what each of those has to read whom it tells.
const pushGroups = 4

// pushed is the app's own end of the webhook, for all worlds.
type pushed struct {
	url string

	mu   sync.Mutex
	seen map[uuid.UUID]struct{}     // guarded by mu: calls; one that is made again is the same
	told map[uuid.UUID][]pushedCall // guarded by mu: by whom they are addressed to
}

type pushedCall struct {
	seq  int64
	body []byte
}

func newPushed(t *testing.T) *pushed {
	t.Helper()
	p := &pushed{seen: map[uuid.UUID]struct{}{}, told: map[uuid.UUID][]pushedCall{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *pushed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var c struct {
		ID         uuid.UUID
		Seq        int64 `json:",string"`
		Recipients []struct{ UserID uuid.UUID }
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &c) != nil {
		w.WriteHeader(http.StatusInternalServerError) // it comes again, and nothing rests until it does
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.seen[c.ID]; again {
		return
	}
	p.seen[c.ID] = struct{}{}
	for _, x := range c.Recipients {
		p.told[x.UserID] = append(p.told[x.UserID], pushedCall{c.Seq, body})
	}
}

// of are the calls that told a user something since the last time.
func (p *pushed) of(user uuid.UUID) []pushedCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer delete(p.told, user)
	return p.told[user]
}

// rests is whether push has looked at all that is in the log of a world's channels, and
// in the inbox before it, and told whom it was to tell, or whom it held back until now: in one
// snapshot, for where it stands is written with what it finds to tell, and what is told is
// forgotten after the call. $3: nobody is to be asked once more either.
const rests = `
select not exists (select from realtime.inbox i where i.channel_id = any ($1))
   and not exists (select from realtime.log l, realtime.push_state s where l.pos > s.pos and l.channel_id = any ($1))
   and not exists (select from realtime.push_jobs j where j.channel_id = any ($1))
   and not exists (select from realtime.push_held h where h.channel_id = any ($1) and (h.user_id = $2 and h.until <= clock_timestamp() or $3 and h.looked))`

// pushes waits until push rests, and writes down what the viewer was told since the last
// time. Whatever changes what it is to be told of something is done after that.
func (w *world) pushes(where string, last bool) {
	w.t.Helper()
	eventually(w.t, "push rests", func() (rest bool) {
		channels := []uuid.UUID{w.channel(0), w.channel(1)}
		if err := w.pool.QueryRow(w.t.Context(), rests, channels, w.user(theViewer), last).Scan(&rest); err != nil {
			w.t.Fatal(err)
		}
		return rest
	})
	calls := w.push.of(w.user(theViewer))
	slices.SortStableFunc(calls, func(a, b pushedCall) int { return cmp.Compare(a.seq, b.seq) })
	for i, c := range calls {
		var m map[string]any
		if err := json.Unmarshal(c.body, &m); err != nil {
			w.t.Fatal(err)
		}
		own := addressed(m, w.user(theViewer))
		if i < len(calls)-1 {
			own["badge"] = "a number"
		}
		m["recipients"] = own
		w.tell(where, "push", asText(w.clean("", m)))
	}
}

// addressed is what a call says of one of those it is addressed to.
func addressed(call map[string]any, user uuid.UUID) map[string]any {
	list, _ := call["recipients"].([]any)
	for _, r := range list {
		if m, ok := r.(map[string]any); ok && m["userId"] == user.String() {
			return m
		}
	}
	return nil
}

// pushing are the extras that change what was told before, or is to be.
var pushing = regexp.MustCompile(`setQuietHours|acknowledgeRead|markUnread`)

// quietNow are quiet hours that began long ago and end in a long time, whatever the time is.
func quietNow() (from, to string) {
	now := time.Now().UTC()
	return now.Add(-6 * time.Hour).Format("15:04"), now.Add(6 * time.Hour).Format("15:04")
}
