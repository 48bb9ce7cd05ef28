package presence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

const (
	lockPatience = 250 * time.Millisecond // a batch of sessions waits so long for a row, and then goes on without its user
	heldAtOnce   = 500                    // users asked about in one statement
)

// aside are users whose rows another transaction holds: an operator's, an app's, or one
// of ours that waits for those. What their sessions have to say waits for its end, and
// nobody else's does. They belong to the writer's goroutine.
type aside struct {
	users map[Key]struct{}
	look  <-chan time.Time // when to ask for them again; nil: there are none
	after time.Duration
}

func (a *aside) add(keys []Key) {
	if a.users == nil {
		a.users = map[Key]struct{}{}
	}
	for _, k := range keys {
		a.users[k] = struct{}{}
	}
}

func (a *aside) lookAfter(d time.Duration) {
	a.after, a.look = d, nil
	if len(a.users) > 0 {
		a.look = time.After(d)
	}
}

// setAside finds whose rows are held, among those whom a batch is about that waited too long.
func (wr *writer) setAside(ctx context.Context, c *changes) error {
	defer func() {
		if wr.aside.look == nil || wr.aside.after > retryFirst { // what is due so soon is not put off
			wr.aside.lookAfter(retryFirst)
		}
	}()
	for keys := range slices.Chunk(c.touched.keys(), heldAtOnce) {
		held, err := wr.w.held(ctx, keys)
		if err != nil {
			return err
		}
		wr.aside.add(held)
	}
	return nil
}

// rejoin has those be written with everybody again whose rows nobody holds any more.
func (wr *writer) rejoin(ctx context.Context) {
	next := min(2*wr.aside.after, retryMost)
	switch {
	case wr.fewer(ctx):
		next = retryFirst
	case next == retryMost && wr.aside.after < retryMost:
		wr.w.log.WarnContext(ctx, "another transaction holds rows of users for long: their presence is not written before it ends",
			"users", len(wr.aside.users))
	}
	wr.aside.lookAfter(next)
}

// fewer asks for all of them, and is whether any can be written again.
func (wr *writer) fewer(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	before := len(wr.aside.users)
	for asked := range slices.Chunk(slices.Collect(maps.Keys(wr.aside.users)), heldAtOnce) {
		held, err := wr.w.held(ctx, asked)
		if err != nil { // what is written next will say it
			break
		}
		for _, k := range asked {
			delete(wr.aside.users, k)
		}
		wr.aside.add(held)
	}
	return len(wr.aside.users) < before
}

// held answers whose rows another transaction holds just now. It waits for none.
func (w *world) held(ctx context.Context, keys []Key) (held []Key, err error) {
	err = postgres.QuietBatch(ctx, w.vital, func(b *pgx.Batch) { queueHold(b, keys, &held) })
	if err != nil {
		return nil, fmt.Errorf("asking whose rows are held: %w", err)
	}
	return held, nil
}

// queueHold locks users' rows, but for those that it answers: another transaction holds
// them.
func queueHold(b *pgx.Batch, keys []Key, held *[]Key) {
	*held = nil
	for part := range slices.Chunk(keys, heldAtOnce) {
		tenants, users := keyColumns(part)
		b.Queue(`select held_tenant, held_user from realtime.hold_users($1, $2)`, tenants, users).Query(func(rows pgx.Rows) (err error) {
			*held, err = pgx.AppendRows(*held, rows, pgx.RowToStructByPos[Key])
			return err
		})
	}
}

// hold is lock for a transaction that waits for nobody: those whose rows another one
// holds are taken out, and answered.
func (t *touched) hold(ctx context.Context, tx pgx.Tx) (held []Key, err error) {
	b := &pgx.Batch{}
	queueHold(b, t.keys(), &held)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("locking users: %w", err)
	}
	out := make(map[Key]struct{}, len(held))
	for _, k := range held {
		out[k] = struct{}{}
	}
	var rest touched
	for i, user := range t.users {
		k := Key{Tenant: t.tenants[i], User: user}
		if _, is := out[k]; !is {
			rest.add(k, t.seen[i])
		}
	}
	*t = rest
	return held, nil
}
