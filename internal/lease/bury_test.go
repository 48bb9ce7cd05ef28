package lease

import (
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestWhoWasHeldUpJudgesNobody: a node that stood still for as long as the others, by its
// own clock or only by the database's, buries none of them when it goes on.
func TestWhoWasHeldUpJudgesNobody(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	judge, told := newLease(pool)
	other, _ := newLease(pool)
	for _, l := range []*Lease{judge, other} {
		if err := l.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	long := -time.Hour
	buries := func() bool {
		t.Helper()
		if err := judge.buryDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(told.buried) > 0
	}
	stands := func(local, database time.Duration) {
		judge.since, judge.heard, judge.renewed = time.Now().Add(long), judge.heard.Add(local), judge.renewed.Add(database)
	}
	if _, err := pool.Exec(t.Context(), `update realtime.nodes set lease_until = clock_timestamp() - interval '1 minute' where id = $1`, other.ID()); err != nil {
		t.Fatal(err)
	}
	if stands(long, long); buries() {
		t.Error("one that stood still buries another")
	}
	if err := judge.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := judge.InTouch(); d > time.Minute || buries() {
		t.Errorf("it has been in touch for %v all the while", d)
	}
	if stands(0, long); buries() {
		t.Error("one whose own clock stood still too buries another")
	}
	if err := judge.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if judge.InTouch() > time.Minute {
		t.Error("its own clock says that it was in touch")
	}
	if judge.since = time.Now().Add(long); !buries() {
		t.Error("in touch for long it buries nobody")
	}
}
