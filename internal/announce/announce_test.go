package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const secret = "what signs the tests"

// rig is a service on a database, and the app's own end of it.
type rig struct {
	t    *testing.T
	pool *pgxpool.Pool
	s    *Service
	log  bytes.Buffer

	mu      sync.Mutex
	answers []func(http.ResponseWriter) // the last one for good; guarded by mu
	got     []Payload
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.New(t), answers: []func(http.ResponseWriter){func(http.ResponseWriter) {}}}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.s = New(Options{Pool: r.pool, Hook: outcall.New(srv.URL+"/hunter2?key=hunter2", secret), Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	return r
}

func (r *rig) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var p Payload
	if err != nil || json.Unmarshal(body, &p) != nil || req.Header.Get("Idempotency-Key") != p.ID.String() || p.Type != "presence" || req.Header.Get("X-Nchat-Signature") == "" {
		r.t.Errorf("told %s", body)
	}
	r.mu.Lock()
	r.got = append(r.got, p)
	answer := r.answers[0]
	if len(r.answers) > 1 {
		r.answers = r.answers[1:]
	}
	r.mu.Unlock()
	answer(w)
}

func (r *rig) answer(list ...func(http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = list
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

// is has presence show a user as that.
func (r *rig) is(user uuid.UUID, status string) {
	r.t.Helper()
	r.exec(`
with n as (update realtime.showing set version = version + 1 returning version)
insert into realtime.public_presence as s (tenant, user_id, status, last_seen_at, version) select 'primary', $1, $2, '2026-01-02 03:04+00', version from n
on conflict (tenant, user_id) do update set status = excluded.status, version = excluded.version`, user, status)
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatal(err)
	}
}

// told makes the calls that are due, and is what came.
func (r *rig) told() []Payload {
	r.t.Helper()
	if _, err := r.s.tellSome(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.got
	r.got = nil
	return out
}

func (r *rig) due() { r.exec(`update realtime.announced set next_at = clock_timestamp()`) }

// TestTheLatestOfEachIsTold once, in batches, in their order.
func TestTheLatestOfEachIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Alice, "online")
	r.is(demo.Bob, "online")
	r.is(demo.Alice, "away")
	list := r.told()
	if len(list) != 1 || len(list[0].Changes) != 2 || list[0].Changes[0].UserID != demo.Bob || list[0].Changes[1].Status != "away" || list[0].Changes[1].Version != 3 ||
		!list[0].Changes[0].LastSeenAt.Equal(time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)) {
		t.Fatalf("%+v", list)
	}
	if list := r.told(); len(list) != 0 {
		t.Errorf("told again: %+v", list)
	}
	r.exec(`insert into realtime.public_presence (tenant, user_id, status, version) select 'primary', gen_random_uuid(), 'online', 10 + i from generate_series(1, 450) i`)
	var sizes []int
	for range 4 {
		for _, p := range r.told() {
			sizes = append(sizes, len(p.Changes))
		}
	}
	if len(sizes) != 3 || sizes[0] != atOnce || sizes[2] != 50 {
		t.Errorf("batches of %v", sizes)
	}
}

// TestTheReceiverIsAway: what fails is told later and later, and then the latest;
// nothing waits but what is shown.
func TestTheReceiverIsAway(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]func(http.ResponseWriter){
		"500": status(500), "a redirect": status(302), "429": status(429), "no rights": status(401),
		"cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.is(demo.Alice, "online")
			r.answer(bad)
			first := r.told()
			if again := r.told(); len(first) != 1 || len(again) != 0 {
				t.Fatalf("told %d times, and at once %d times more", len(first), len(again))
			}
			r.due()
			if same := r.told(); len(same) != 1 || same[0].ID != first[0].ID {
				t.Errorf("another try is another call: %+v", same)
			}
			r.is(demo.Alice, "busy")
			r.is(demo.Alice, "offline")
			r.answer(status(204))
			r.due()
			if last := r.told(); len(last) != 1 || len(last[0].Changes) != 1 || last[0].Changes[0].Status != "offline" || last[0].ID == first[0].ID {
				t.Errorf("at last: %+v", last)
			}
			r.due()
			if list := r.told(); len(list) != 0 {
				t.Errorf("told again: %+v", list)
			}
			if said := r.log.String(); strings.Contains(said, "hunter2") || !strings.Contains(said, "tried again") {
				t.Errorf("logged: %s", said)
			}
		})
	}
}

// TestARefusalIsFinal: the next states of those users are told as any.
func TestARefusalIsFinal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Alice, "online")
	r.answer(status(400), status(200))
	r.told()
	if list := r.told(); len(list) != 0 {
		t.Errorf("a refusal is tried again: %+v", list)
	}
	r.is(demo.Alice, "away")
	if list := r.told(); len(list) != 1 || list[0].Changes[0].Status != "away" {
		t.Errorf("%+v", list)
	}
}

// TestASlowReceiver: it is given up, and nobody else tells meanwhile.
func TestASlowReceiver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Alice, "online")
	inside, let := make(chan struct{}), make(chan struct{})
	r.answer(func(http.ResponseWriter) { close(inside); <-let }, status(200))
	r.s.o.Hook.Client.Timeout = 300 * time.Millisecond
	done := make(chan error)
	go func() {
		_, err := r.s.tellSome(context.WithoutCancel(t.Context()))
		done <- err
	}()
	<-inside
	if n, err := r.s.tellSome(t.Context()); n != 0 || err != nil {
		t.Errorf("told beside it: %d %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(let)
	var attempts int
	var later bool
	if err := r.pool.QueryRow(t.Context(), `select attempts, next_at > clock_timestamp() from realtime.announced`).Scan(&attempts, &later); err != nil || attempts != 1 || !later {
		t.Errorf("%d attempts, put off %v, %v", attempts, later, err)
	}
}

// TestACrashBetweenTellingAndNoting: it is told again, the very same.
func TestACrashBetweenTellingAndNoting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Alice, "online")
	ctx, crash := context.WithCancel(t.Context())
	r.answer(func(w http.ResponseWriter) { w.WriteHeader(200); crash() }, status(200))
	_, _ = r.s.tellSome(ctx) // taken, or not heard of: never noted
	var noted int64
	if err := r.pool.QueryRow(t.Context(), `select version from realtime.announced`).Scan(&noted); err != nil || noted != 0 {
		t.Fatalf("noted %d, %v", noted, err)
	}
	first := r.told() // claimed still
	r.due()
	if again := r.told(); len(first) != 1 || len(again) != 1 || first[0].ID != again[0].ID {
		t.Errorf("%+v, then %+v", first, again)
	}
}

// TestManyNodesTellOnce.
func TestManyNodesTellOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var wg sync.WaitGroup
	seen := map[int64]int{}
	for range 4 {
		wg.Go(func() {
			for range 30 {
				if _, err := r.s.tellSome(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		r.is(demo.Alice, "online")
	}
	wg.Wait()
	for _, p := range r.told() {
		for _, c := range p.Changes {
			seen[c.Version]++
		}
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("version %d was told %d times", v, n)
		}
	}
	if seen[100] != 1 {
		t.Errorf("the last one was not told: %v", seen)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{1: time.Second, 3: 4 * time.Second, 9: 256 * time.Second, 10: longestWait, 1000: longestWait} {
		for range 100 {
			if got := backoff(attempt); got < want-want/10 || got > want+want/10 {
				t.Fatalf("after %d attempts %v, want about %v", attempt, got, want)
			}
		}
	}
}
