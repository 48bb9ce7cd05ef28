package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Anonymous is a session as an operator may see it: that it is there, and of
// whom is left out. Whoever knew which user has a session would know that an
// invisible one is here. For the same reason it says nothing of a device, a
// tenant or activity, by which one could be told from another.
type Anonymous struct {
	ID    uuid.UUID
	Node  *uuid.UUID // the node that holds its socket; nil: it is over HTTP alone
	Since time.Time
}

// Anonymously are sessions that have not ended, over all tenants and nodes: how
// many each node holds (uuid.Nil: over HTTP alone), and the newest, most at most.
func (r *Reader) Anonymously(ctx context.Context, most int) (map[uuid.UUID]int, []Anonymous, error) {
	counts := map[uuid.UUID]int{}
	var node uuid.UUID
	var n int
	rows, err := r.w.pool.Query(ctx, `
select coalesce(node_id, '00000000-0000-0000-0000-000000000000'), count(*) from realtime.sessions where ended_at is null group by 1`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&node, &n}, func() error { counts[node] = n; return nil })
	}
	if err != nil {
		return nil, nil, fmt.Errorf("counting sessions: %w", err)
	}
	rows, err = r.w.pool.Query(ctx, `
select id, node_id, connected_at from realtime.sessions where ended_at is null order by connected_at desc, id limit $1`, most)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sessions: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Anonymous])
	if err != nil {
		return nil, nil, fmt.Errorf("reading sessions: %w", err)
	}
	return counts, list, nil
}

// Kick ends a session, whoever's and wherever it is, as its user signing it out
// would; false: there is none. For an operator alone: it asks nobody's right.
func (e *Editor) Kick(ctx context.Context, id uuid.UUID) (bool, error) {
	return e.end(ctx, id, nil)
}

// end closes a session, if it is of a user where one is given.
func (e *Editor) end(ctx context.Context, id uuid.UUID, of *Key) (bool, error) {
	if socket, ok := e.sessions.socket(id, of); ok {
		socket.SignOut()
		return true, nil
	}
	var found, http bool
	var whose Key
	err := postgres.Quietly(ctx, e.w.pool, func(tx pgx.Tx) error {
		old, err := readSession(ctx, tx, id)
		if found = err == nil && old != nil && (of == nil || old.key == *of); !found {
			return err
		}
		whose = old.key
		if http = old.Node == nil; !http {
			_, err := tx.Exec(ctx, `update realtime.sessions set signed_out = true where id = $1`, id)
			return err
		}
		var t touched
		now := e.w.now()
		t.add(whose, &now)
		b := &pgx.Batch{}
		t.lock(b)
		b.Queue(deleteSessions, []uuid.UUID{id})
		t.write(b)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return false, fmt.Errorf("signing out: %w", err)
	}
	if http {
		e.w.ring(whose)
	} else if found {
		e.w.ringSessions(id)
	}
	return found, nil
}
