package push

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestHeldWhileAnotherLetsGo: who is held back anew while another node lets go of what
// was held before is held.
func TestHeldWhileAnotherLetsGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	hold := func(seq int64) error {
		return r.s.putOff(t.Context(), r.pool, candidate{tenant: "primary", channel: demo.Team, seq: seq},
			judged{held: []uuid.UUID{demo.Bob}, until: []time.Time{time.Now().Add(time.Hour)}})
	}
	if err := hold(1); err != nil {
		t.Fatal(err)
	}
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `delete from realtime.push_held`); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := hold(2); err != nil {
			t.Error(err)
		}
	}()
	pgtest.WaitsForLock(t, r.pool, 1, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	var seq int64
	if err := r.pool.QueryRow(t.Context(), `select coalesce(sum(seq), 0) from realtime.push_held`).Scan(&seq); err != nil || seq != 2 {
		t.Errorf("held from %d on, %v", seq, err)
	}
}
