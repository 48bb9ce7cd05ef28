package presence

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestWhoTogglesContactsLeavesFewRows: whoever looks at such a user counts few,
// and what changes afterwards is still another state than before.
func TestWhoTogglesContactsLeavesFewRows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	rows := func(user uuid.UUID) (n int) {
		t.Helper()
		if err := r.pool.QueryRow(t.Context(), `select count(*) from realtime.audience where user_id = $1`, user).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	version := func() (v string) {
		t.Helper()
		if err := r.pool.QueryRow(t.Context(), `select realtime.audience_version('primary', $1)`, demo.Alice).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	r.exec(`delete from realtime.audience`)
	r.exec(`insert into realtime.audience (user_id, at) select $1, now() - interval '1 minute' from generate_series(1, 3000)`, demo.Alice)
	r.exec(`insert into realtime.audience (user_id) select $1 from generate_series(1, 20)`, demo.Bob)
	r.exec(`insert into realtime.audience (user_id, at) select $1, now() - interval '2 hours' from generate_series(1, 3)`, demo.Carol)
	seen := map[string]bool{version(): true}
	for range 3 {
		if err := sweep.All(t.Context(), n.Sweeps()...); err != nil {
			t.Fatal(err)
		}
		if a, b, c := rows(demo.Alice), rows(demo.Bob), rows(demo.Carol); a != audienceMost || b != 20 || c != 0 {
			t.Errorf("%d, %d and %d rows are left", a, b, c)
		}
		if err := n.Lists.AddContact(t.Context(), as(demo.Alice), demo.Frank); err != nil {
			t.Fatal(err)
		}
		if err := n.Lists.RemoveContact(t.Context(), as(demo.Alice), demo.Frank); err != nil {
			t.Fatal(err)
		}
		if v := version(); seen[v] {
			t.Errorf("%s stands for two states", v)
		} else {
			seen[v] = true
		}
		r.exec(`update realtime.audience set at = now() - interval '1 minute' where user_id = $1`, demo.Alice)
	}
}
