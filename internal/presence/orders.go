package presence

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// ordersEvery is how often orders are read, should a doorbell be lost.
const ordersEvery = 5 * time.Second

// orders is what other nodes ask of the sessions held here: they write it into a
// session's row, and ring.
type orders struct {
	w        *world
	sessions *Sessions
	node     Node
	rung     wait.Flag
}

func (o *orders) ring(id uuid.UUID) {
	if o.sessions.holds(id) {
		o.rung.Raise()
	}
}

func (o *orders) run(ctx context.Context) {
	every := time.NewTicker(ordersEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-o.rung:
		}
		o.read(ctx)
	}
}

func (o *orders) read(ctx context.Context) {
	node, _, ok := o.node.Identity()
	if !ok || o.sessions.Count() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	const q = `
select id, signed_out, token_expires_at, token_next, token_issued_at, parked_at, last_active_at
  from realtime.sessions
 where node_id = $1 and (signed_out or token_expires_at is not null or parked_at is not null or touched)`
	rows, err := o.w.vital.Query(ctx, q, node)
	if err != nil {
		return // read again at the next tick
	}
	defer rows.Close()
	for rows.Next() {
		var id uuid.UUID
		var out bool
		var next *string
		var expires, issued, parked *time.Time
		var active time.Time
		if rows.Scan(&id, &out, &expires, &next, &issued, &parked, &active) != nil {
			return
		}
		var to *Token
		if expires != nil {
			to = &Token{ExpiresAt: *expires}
			if next != nil {
				to.ID = *next
			}
			if issued != nil {
				to.IssuedAt = *issued
			}
		}
		o.sessions.obey(id, out, to, parked, active)
	}
}

// obey does what another node asks of a session, if it is held here.
func (s *Sessions) obey(id uuid.UUID, out bool, to *Token, parked *time.Time, active time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.all[id]
	if !ok || o.ended != nil {
		return
	}
	if out {
		o.Socket.SignOut()
		return
	}
	if to != nil && !to.equal(o.renewed) {
		o.renewed = *to
		o.Socket.Renew(*to)
		s.runsOnLocked(o, to.ID)
	}
	unpark := parked != nil && o.lastActive.After(*parked) && !active.After(*parked)
	if parked != nil && !o.lastActive.After(*parked) {
		o.parked = parked
	}
	moved := active.Sub(o.lastActive) >= time.Millisecond && !active.Equal(o.connected) // which is no activity
	if moved {
		o.lastActive = active
		if o.parked != nil && active.After(*o.parked) {
			o.parked = nil
		}
	}
	if o.edges(s.w.rules, s.w.now()) || unpark {
		s.changeLocked(o)
	} else if moved {
		s.setAlarmLocked(o)
	}
}
