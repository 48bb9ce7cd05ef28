package auth

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestRevocationsAreForgotten once no token they refuse can live: in the database
// and in memory, and never while one may.
func TestRevocationsAreForgotten(t *testing.T) {
	t.Parallel()
	const days = 24 * time.Hour
	for name, c := range map[string]struct {
		lives [][2]time.Duration // from, until; 0: not said
		kept  []time.Duration    // since they were revoked
		gone  []time.Duration
	}{
		"tokens of an hour":           {[][2]time.Duration{{-time.Hour, time.Hour}}, []time.Duration{0, 30 * days}, []time.Duration{32 * days, 400 * days}},
		"none was seen":               {nil, []time.Duration{0, 30 * days}, []time.Duration{32 * days}},
		"tokens of sixty days":        {[][2]time.Duration{{-days, time.Hour}, {-time.Minute, 60 * days}}, []time.Duration{32 * days, 59 * days}, []time.Duration{61 * days}},
		"one that began nobody knows": {[][2]time.Duration{{0, 60 * days}}, []time.Duration{59 * days}, []time.Duration{61 * days}},
		"one that lives for ever":     {[][2]time.Duration{{-days, 0}}, []time.Duration{32 * days, 4000 * days}, nil},
		"one that lives ever, unsaid": {[][2]time.Duration{{0, 0}}, []time.Duration{32 * days, 4000 * days}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, now := Store{DB: pgtest.New(t)}, time.Now()
			at := func(d time.Duration) (x time.Time) {
				if d != 0 {
					x = now.Add(d)
				}
				return x
			}
			for i, life := range c.lives { // each seen by another node
				r := NewRevocations(0)
				r.lives.see(at(life[0]), at(life[1]), now)
				for range 2 {
					if err := s.Learn(t.Context(), r); err != nil {
						t.Fatal(i, err)
					}
				}
			}
			want := map[string]bool{}
			for _, list := range []struct {
				ages []time.Duration
				stay bool
			}{{c.kept, true}, {c.gone, false}} {
				for _, age := range list.ages {
					id := uuid.New()
					want[id.String()] = list.stay
					for _, q := range []string{
						`insert into realtime.revoked_users (tenant, user_id, not_before) values ('primary', $1::uuid, now() - $2::interval)`,
						`insert into realtime.revoked_tokens (tenant, user_id, token_id, revoked_at) values ('primary', $1::uuid, $1::uuid::text, now() - $2::interval)`,
					} {
						if _, err := s.DB.Exec(t.Context(), q, id, age); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			before, err := s.Stamp(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := sweep.All(t.Context(), s.Sweeps(0)...); err != nil {
				t.Fatal(err)
			}
			r := NewRevocations(0)
			if err := s.Load(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			for id, stay := range want {
				_, user := r.users[revokedUser{"primary", uuid.MustParse(id)}]
				_, token := r.tokens[revokedToken{"primary", id}]
				if user != stay || token != stay {
					t.Errorf("a user's is kept: %v, a token's: %v, want %v", user, token, stay)
				}
			}
			if after, err := s.Stamp(t.Context()); err != nil || (after != before) != (len(c.gone) > 0) {
				t.Errorf("nodes that remember them are not told: %q, %q, %v", before, after, err)
			}
		})
	}
}
