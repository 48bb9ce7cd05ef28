package push

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

const secret = "what signs the tests"

// rig is a push service on the demo world, and the app's own end of it.
type rig struct {
	t    *testing.T
	pool *pgxpool.Pool
	s    *Service

	mu     sync.Mutex
	where  map[uuid.UUID]Attention // guarded by mu
	now    time.Duration           // guarded by mu: how far the clock is ahead
	status []int                   // to answer with, the last one for good; guarded by mu
	got    []Payload
	bad    []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.New(t), status: []int{http.StatusOK}, where: map[uuid.UUID]Attention{}}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.s = r.service(srv.URL)
	r.exec(`select realtime.sequence(1000, false)`)
	if n, err := r.s.scan(t.Context()); n != 0 || err != nil {
		t.Fatalf("what was there before is pushed: %d %v", n, err)
	}
	return r
}

func (r *rig) service(url string) *Service {
	return New(Options{Pool: r.pool, Hook: outcall.New(url, secret), Log: slog.New(slog.DiscardHandler), Attention: r.attention, Now: r.clock, Looking: time.Minute})
}

// attention is as a test says; presence's own tests prove how it is known.
func (r *rig) attention(_ context.Context, _ postgres.DB, tenant string, users []uuid.UUID) ([]Attention, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Attention, len(users))
	for i, u := range users {
		if tenant == "primary" {
			out[i] = r.where[u]
		}
	}
	return out, nil
}

// is says where somebody's attention is from now on.
func (r *rig) is(user uuid.UUID, a Attention) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.where[user] = a
}

// due makes everything due that waits for its time.
func (r *rig) due() {
	r.t.Helper()
	r.exec(`update realtime.push_jobs set next_at = clock_timestamp()`)
	r.exec(`update realtime.push_held set until = clock_timestamp()`)
}

// read moves somebody's mark up to a message, as receipts do.
func (r *rig) read(user, message uuid.UUID) {
	r.t.Helper()
	r.exec(`insert into realtime.marks as k (channel_id, user_id, read_seq, read_at, delivered_seq, delivered_at)
	        select m.channel_id, $1, m.seq, now(), m.seq, now() from realtime.messages m where m.message_id = $2
	        on conflict (user_id, channel_id) do update set read_seq = excluded.read_seq, delivered_seq = excluded.delivered_seq`, user, message)
	r.exec(`select realtime.note_marks($1, array[m.channel_id], array[m.seq], array[0::bigint]) from realtime.messages m where m.message_id = $2`, user, message)
	r.exec(`select realtime.sequence(1000, false)`)
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.now)
}

func (r *rig) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	var p Payload
	if err != nil || json.Unmarshal(body, &p) != nil {
		r.bad = append(r.bad, "a body that cannot be read")
	}
	sig := req.Header.Get("X-Nchat-Signature")
	stamp, _, _ := strings.Cut(strings.TrimPrefix(sig, "t="), ",")
	at, err := time.Parse("2006", "1970")
	if d, e := time.ParseDuration(stamp + "s"); err == nil && e == nil {
		at = at.Add(d)
	}
	if sig != outcall.Sign(secret, at, body) || req.Header.Get("Idempotency-Key") != p.ID.String() {
		r.bad = append(r.bad, "signed "+sig)
	}
	r.got = append(r.got, p)
	code := r.status[0]
	if len(r.status) > 1 {
		r.status = r.status[1:]
	}
	w.WriteHeader(code)
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
}

func (r *rig) say(channel, sender uuid.UUID, text string, mentions ...uuid.UUID) uuid.UUID {
	r.t.Helper()
	var id uuid.UUID
	err := r.pool.QueryRow(r.t.Context(), `insert into public.nchat_messages (channel_id, user_id, content, mentions) values ($1, $2, $3, $4) returning id`,
		channel, sender, text, mentions).Scan(&id)
	if err != nil {
		r.t.Fatal(err)
	}
	r.exec(`select realtime.sequence(1000, false)`)
	return id
}

// told looks at the log and makes what calls are due: those that came.
func (r *rig) told() []Payload {
	r.t.Helper()
	if err := r.s.look(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	for n := atOnce; n == atOnce; {
		var err error
		if n, err = r.s.tellSome(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) > 0 {
		r.t.Fatal(r.bad)
	}
	out := r.got
	r.got = nil
	return out
}

func (r *rig) jobs() (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), `select count(*) from realtime.push_jobs`).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

func users(list []Payload) []uuid.UUID {
	var out []uuid.UUID
	for _, p := range list {
		for _, x := range p.Recipients {
			out = append(out, x.UserID)
		}
	}
	slices.SortFunc(out, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return out
}

func TestWhoIsTold(t *testing.T) {
	t.Parallel()
	general := []uuid.UUID{demo.Bob, demo.Carol, demo.Dave, demo.Erin, demo.Frank} // but alice, who writes
	without := func(id uuid.UUID) []uuid.UUID {
		return slices.DeleteFunc(slices.Clone(general), func(x uuid.UUID) bool { return x == id })
	}
	for name, c := range map[string]struct {
		set      string
		looks    uuid.UUID
		mentions []uuid.UUID
		want     []uuid.UUID
	}{
		"all but the sender":                     {want: general},
		"who is connected, and looks at nothing": {set: `insert into realtime.presence (tenant, user_id, active) values ('primary', '` + demo.Bob.String() + `', true)`, want: general},
		"not who looks":                          {looks: demo.Bob, want: without(demo.Bob)},
		"not who muted for a while":              {set: `select realtime.set_notifications('primary', '` + demo.General.String() + `', '` + demo.Carol.String() + `', null, true, now() + interval '1 hour')`, want: without(demo.Carol)},
		"not who muted":                          {set: `update public.nchat_channel_members set is_muted = true where user_id = '` + demo.Carol.String() + `'`, want: without(demo.Carol)},
		"not who wants none":                     {set: `update public.nchat_channel_members set notification_level = 'none' where user_id = '` + demo.Carol.String() + `'`, want: without(demo.Carol)},
		"not who wants mentions only": {set: `update public.nchat_channel_members set notification_level = 'mentions' where user_id = '` + demo.Carol.String() + `'`,
			want: without(demo.Carol)},
		"who wants mentions and is mentioned": {set: `update public.nchat_channel_members set notification_level = 'mentions' where user_id = '` + demo.Carol.String() + `'`,
			mentions: []uuid.UUID{demo.Carol}, want: general},
		"not who blocked the sender": {set: `insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ('` + demo.Dave.String() + `', '` + demo.Alice.String() + `')`,
			want: without(demo.Dave)},
		"not who may not read":      {set: `update public.nchat_channel_members set can_read = false where user_id = '` + demo.Erin.String() + `'`, want: without(demo.Erin)},
		"not who left":              {set: `delete from public.nchat_channel_members where user_id = '` + demo.Frank.String() + `'`, want: without(demo.Frank)},
		"not whose account is gone": {set: `update public.nchat_users set deleted_at = now() where id = '` + demo.Frank.String() + `'`, want: without(demo.Frank)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if c.set != "" {
				r.exec(c.set)
			}
			r.is(c.looks, Attention{Looking: true})
			id := r.say(demo.General, demo.Alice, "hello", c.mentions...)
			list := r.told()
			if got := users(list); !slices.Equal(got, c.want) {
				t.Errorf("told %v, want %v", got, c.want)
			}
			for _, p := range list {
				if p.MessageID != id || p.Preview != "hello" || *p.SenderID != demo.Alice || *p.Sender != "Alice" || p.Channel != "general" || p.Type != TypeMessage || p.CollapseKey != "channel:"+demo.General.String() {
					t.Errorf("told %+v", p)
				}
				for _, x := range p.Recipients {
					if x.Mentioned != slices.Contains(c.mentions, x.UserID) || x.Badge == 0 {
						t.Errorf("told %+v", x)
					}
				}
			}
			if r.jobs() != 0 || len(r.told()) != 0 {
				t.Error("told twice")
			}
		})
	}
}

// TestNobodyIsToldOfThePast: of what was imported, of what came while nothing
// ran, or of what was written before one was a member.
func TestNobodyIsToldOfThePast(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, created_at) values ('` + demo.General.String() + `', '` + demo.Alice.String() + `', 'old', now() - interval '25 hours')`)
	if list := r.told(); len(list) != 0 {
		t.Errorf("imported: %+v", list)
	}
	r.say(demo.General, demo.Alice, "while nothing ran")
	r.exec(`select realtime.sequence(1000, false)`)
	r.exec(`update realtime.log set at = at - interval '25 hours'`)
	if list := r.told(); len(list) != 0 {
		t.Errorf("after an outage: %+v", list)
	}
	r.exec(`delete from public.nchat_channel_members where user_id = '` + demo.Bob.String() + `'`)
	r.say(demo.General, demo.Alice, "between us")
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ('` + demo.General.String() + `', '` + demo.Bob.String() + `')`)
	r.exec(`select realtime.sequence(1000, false)`)
	if got := users(r.told()); slices.Contains(got, demo.Bob) || len(got) != 4 {
		t.Errorf("who came later is told: %v", got)
	}
}

// TestPushBeginsAnewInAnotherHistory: where it stands is another entry now, or
// ahead of the log; it neither tells of what came before nor stands still.
func TestPushBeginsAnewInAnotherHistory(t *testing.T) {
	t.Parallel()
	for _, set := range []string{`mark = mark + 1`, `pos = pos + 1000`} {
		r := newRig(t)
		r.told()
		r.exec(`update realtime.push_state set ` + set)
		r.say(demo.AliceBob, demo.Alice, "before it looks")
		r.told()
		r.say(demo.AliceBob, demo.Alice, "after")
		if got := users(r.told()); !slices.Equal(got, []uuid.UUID{demo.Bob}) {
			t.Errorf("%s: told %v", set, got)
		}
	}
}

// TestTheAnswerDecides: a failure is tried again, later and later; a refusal is
// final; what nobody needs any more is not told.
func TestTheAnswerDecides(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.status = []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusOK}
	r.say(demo.AliceBob, demo.Alice, "one")
	for try := 1; try <= 3; try++ {
		if got := users(r.told()); !slices.Equal(got, []uuid.UUID{demo.Bob}) {
			t.Fatalf("try %d told %v", try, got)
		}
		if len(r.told()) != 0 {
			t.Fatal("tried again at once")
		}
		r.exec(`update realtime.push_jobs set next_at = clock_timestamp()`)
	}
	if r.jobs() != 0 {
		t.Fatal("told and kept")
	}

	r.status = []int{http.StatusBadRequest, http.StatusOK}
	r.say(demo.AliceBob, demo.Alice, "two")
	if len(r.told()) != 1 || r.jobs() != 0 {
		t.Fatal("a refusal is not final")
	}

	r.status = []int{http.StatusServiceUnavailable, http.StatusOK}
	id := r.say(demo.AliceBob, demo.Alice, "three")
	r.told()
	r.exec(`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`, id)
	r.exec(`update realtime.push_jobs set next_at = clock_timestamp()`)
	if got := r.told(); len(got) != 0 || r.jobs() != 0 {
		t.Fatalf("a deleted message was told: %v", got)
	}

	r.status = []int{http.StatusServiceUnavailable, http.StatusOK}
	r.say(demo.AliceBob, demo.Alice, "four")
	r.told()
	r.is(demo.Bob, Attention{Looking: true})
	r.exec(`update realtime.push_jobs set next_at = clock_timestamp()`)
	if got := r.told(); len(got) != 0 || r.jobs() != 0 {
		t.Fatalf("who came back was told: %v", got)
	}
}

// TestTwoNodesTellOnce: any number of nodes look and tell; each message is told once.
func TestTwoNodesTellOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 40 {
		r.say(demo.AliceBob, demo.Alice, "again")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := r.service(r.s.o.Hook.URL)
			for range 20 {
				if _, err := s.scan(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := s.tellSome(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := r.told(); len(got) != 40 || r.jobs() != 0 {
		t.Fatalf("told %d of 40, %d left", len(got), r.jobs())
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 12: 2048 * time.Second, 13: time.Hour, 1000: time.Hour} {
		for range 100 {
			if got := backoff(attempt); got < want-want/10 || got > want+want/10 {
				t.Fatalf("after %d attempts %v, want about %v", attempt, got, want)
			}
		}
	}
}
