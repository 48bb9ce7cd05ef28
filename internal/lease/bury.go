package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// buryDue buries where there is somebody to bury, and begins nothing where not.
func (l *Lease) buryDue(ctx context.Context) error {
	if l.InTouch() < patience {
		return nil
	}
	var due bool
	const q = `select exists (select from realtime.nodes where lease_until + $2::interval < clock_timestamp() and clock_timestamp() < $3 and id <> $1)`
	if err := l.pool.QueryRow(ctx, q, l.id, Every, l.judges()).Scan(&due); err != nil {
		return fmt.Errorf("looking for dead nodes: %w", err)
	}
	if !due {
		return nil
	}
	return l.bury(ctx)
}

// bury deletes the dead, and what hangs on them, in one transaction.
func (l *Lease) bury(ctx context.Context) error {
	var dead []Dead
	after := func() {}
	err := postgres.Quietly(ctx, l.pool, func(tx pgx.Tx) (err error) {
		if dead, err = l.findDead(ctx, tx); err != nil || len(dead) == 0 {
			return err
		}
		if after, err = l.hooks.Bury(ctx, tx, dead); err != nil {
			return err
		}
		ids := make([]uuid.UUID, len(dead))
		for i, d := range dead {
			ids[i] = d.Node
		}
		if _, err := tx.Exec(ctx, `delete from realtime.nodes where id = any($1)`, ids); err != nil {
			return fmt.Errorf("deleting dead nodes: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("burying: %w", err)
	}
	if len(dead) > 0 {
		l.log.InfoContext(ctx, "buried dead nodes", "nodes", len(dead))
		after()
	}
	return nil
}

// judges is until when this node may say by the database's clock that another is dead:
// what has not run itself for a while, whatever its own clock says, knows of nobody.
func (l *Lease) judges() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed.Add(stalled)
}

// findDead locks their rows. A node that is just writing holds its own: it is not dead.
func (l *Lease) findDead(ctx context.Context, tx pgx.Tx) ([]Dead, error) {
	const q = `
select id, lease_until + $3::interval - $1::interval from realtime.nodes
 where lease_until + $3::interval < clock_timestamp() and clock_timestamp() < $4 and id <> $2 order by id for update skip locked`
	rows, err := tx.Query(ctx, q, TTL, l.id, Every, l.judges())
	if err != nil {
		return nil, fmt.Errorf("finding dead nodes: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Dead])
}
