package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Node is a server as the database knows it.
type Node struct {
	ID      uuid.UUID
	Started time.Time
	Left    time.Duration // until its lease runs out; negative: for so long it has not been heard of
	Bus     string        // what its doorbells travel by; "left": it took its leave
}

// mostNodes is how many Nodes tells of.
const mostNodes = 1000

// Nodes are the servers that have a lease or had one that nobody has buried
// yet, the oldest first; 1000 at most.
func Nodes(ctx context.Context, db postgres.DB) ([]Node, error) {
	const q = `select id, started_at, lease_until - clock_timestamp(), bus from realtime.nodes order by started_at, id limit $1`
	rows, err := db.Query(ctx, q, mostNodes)
	if err != nil {
		return nil, fmt.Errorf("reading the nodes: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Node])
	if err != nil {
		return nil, fmt.Errorf("reading the nodes: %w", err)
	}
	return all, nil
}
