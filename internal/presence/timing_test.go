package presence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

const (
	crowd   = 25  // ids in one question, so that what each costs adds up
	samples = 250 // of each kind
	// apart is the two-sample Kolmogorov-Smirnov distance at which times tell. Equal
	// ones are so far apart once in ten thousand times, and in all tries never.
	apart = 0.2
	tries = 3 // a leak is there each time, a busy machine is not
)

// TestTimeDoesNotTellWhoIsConnected: of those hidden from the viewer it takes as
// long to say nothing whether they are connected or not, or there at all.
func TestTimeDoesNotTellWhoIsConnected(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for some seconds")
	}
	r := newRig(t)
	reader := r.node(quick).Read
	people := func(kind string, connected bool) []uuid.UUID {
		ids := make([]uuid.UUID, crowd)
		for i := range ids {
			ids[i] = uuid.New()
		}
		r.exec(`insert into public.nchat_users (id, email, display_name) select u, u::text, 'x' from unnest($1::uuid[]) u`, ids)
		switch kind {
		case "invisible":
			r.exec(`insert into realtime.presence_settings (tenant, user_id, invisible_mode) select 'primary', u, true from unnest($1::uuid[]) u`, ids)
		case "nobody's", "contacts'":
			r.exec(`insert into realtime.presence_settings (tenant, user_id, visibility) select 'primary', u, $2 from unnest($1::uuid[]) u`, ids,
				map[string]string{"nobody's": "nobody", "contacts'": "contacts"}[kind])
		case "blocking":
			r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) select u, $2 from unnest($1::uuid[]) u`, ids, demo.Bob)
		}
		if connected || kind == "invisible" {
			r.exec(`insert into realtime.presence (tenant, user_id, active, active_http, hidden_since, frozen_status, last_seen_at)
			        select 'primary', u, $2, $2, case when $3 then now() - interval '1 hour' end, case when $3 then 'offline' end, now() - interval '1 hour'
			          from unnest($1::uuid[]) u`, ids, connected, kind == "invisible")
		}
		if connected {
			r.exec(`insert into realtime.sessions (id, tenant, user_id, connected_at, last_active_at, lapses_at)
			        select gen_random_uuid(), 'primary', u, now(), now(), now() + interval '1 hour' from unnest($1::uuid[]) u, generate_series(1, 8)`, ids)
		}
		return ids
	}
	unknown := make([]uuid.UUID, crowd)
	for i := range unknown {
		unknown[i] = uuid.New()
	}
	type pair struct {
		what string
		a, b []uuid.UUID
	}
	pairs := []pair{{"never seen and unknown", people("", false)[:1], unknown[:1]}}
	for _, kind := range []string{"invisible", "nobody's", "contacts'", "blocking"} {
		pairs = append(pairs, pair{kind + ", connected and not", people(kind, true), people(kind, false)})
	}
	r.exec(`analyze`)
	ask := func(ids []uuid.UUID) float64 {
		began := time.Now()
		views, err := reader.Presences(t.Context(), as(demo.Bob), ids)
		took := time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range views {
			if v.LastSeenAt = nil; !v.equal(neverSeen(ids[i])) {
				t.Fatalf("shown: %+v", v)
			}
		}
		return float64(took)
	}
	for _, p := range pairs {
		distance := 1.0
		for try := 0; distance > apart && try < tries; try++ {
			var a, b []float64
			for range samples { // in pairs, either first: what slows the machine slows both
				if rand.IntN(2) == 0 {
					a, b = append(a, ask(p.a)), append(b, ask(p.b))
				} else {
					b, a = append(b, ask(p.b)), append(a, ask(p.a))
				}
			}
			distance = min(distance, kolmogorovSmirnov(a, b))
		}
		t.Logf("%s: %.3f apart", p.what, distance)
		if distance > apart {
			t.Errorf("%s are told apart by time: %.3f", p.what, distance)
		}
	}
	// The measure sees what it is for: who is connected and may be seen costs more.
	seen := people("", true)
	most := 0.0
	for try := 0; most <= apart && try < tries; try++ {
		var a, b []float64
		for range samples {
			began := time.Now()
			if _, err := reader.Presences(t.Context(), as(demo.Bob), seen); err != nil {
				t.Fatal(err)
			}
			a, b = append(a, float64(time.Since(began))), append(b, ask(unknown))
		}
		most = max(most, kolmogorovSmirnov(a, b))
	}
	if most <= apart {
		t.Errorf("what is read takes no time: %.3f", most)
	}
}

// kolmogorovSmirnov is the largest distance between the distributions of two samples.
func kolmogorovSmirnov(a, b []float64) (most float64) {
	slices.Sort(a)
	slices.Sort(b)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] <= at {
			i++
		}
		for j < len(b) && b[j] <= at {
			j++
		}
		d := float64(i)/float64(len(a)) - float64(j)/float64(len(b))
		most = max(most, d, -d)
	}
	return most
}

// TestHiddenIdsCostTheSameRows: of those hidden from the viewer nothing is read that
// hangs on what they do.
func TestHiddenIdsCostTheSameRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	for _, u := range []uuid.UUID{demo.Alice, demo.Erin, demo.Carol, demo.Dave, demo.Frank} {
		r.connect(n, u)
	}
	r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Erin, demo.Bob)
	for u, c := range map[uuid.UUID]Change{demo.Alice: {InvisibleMode: ptr(true)}, demo.Carol: {Visibility: ptr(Nobody)}, demo.Dave: {Visibility: ptr(Contacts)}} {
		if _, err := n.Edit.UpdateSettings(t.Context(), as(u), c, nil); err != nil {
			t.Fatal(err)
		}
	}
	read := func(viewer, u uuid.UUID) string {
		seen, err := n.Read.look(t.Context(), as(viewer).Key, []uuid.UUID{u})
		if err != nil {
			t.Fatal(err)
		}
		rec := seen[0].rec
		return strings.TrimSpace(fmt.Sprint(len(rec.sessions), rec.active, rec.lastSeen != nil, rec.custom, rec.manual))
	}
	const nothing = "0 false false {<nil> <nil> <nil>}"
	for _, u := range []uuid.UUID{demo.Erin, demo.Carol, demo.Dave, uuid.New()} {
		if got := read(demo.Bob, u); got != nothing {
			t.Errorf("read of %s: %s", u, got)
		}
	}
	seen, err := n.Read.look(t.Context(), as(demo.Bob).Key, []uuid.UUID{demo.Alice, demo.Frank})
	if err != nil || len(seen[0].rec.sessions) != 0 || len(seen[1].rec.sessions) != 1 {
		t.Errorf("of the invisible and of the visible: %d and %d sessions (%v)", len(seen[0].rec.sessions), len(seen[1].rec.sessions), err)
	}
	for _, u := range []uuid.UUID{demo.Alice, demo.Carol} { // one's own
		if seen, err := n.Read.look(t.Context(), as(u).Key, []uuid.UUID{u}); err != nil || len(seen[0].rec.sessions) != 1 {
			t.Errorf("of oneself: %d sessions (%v)", len(seen[0].rec.sessions), err)
		}
	}
	if got := read(uuid.New(), demo.Frank); got != nothing {
		t.Errorf("read for nobody: %s", got)
	}
}
