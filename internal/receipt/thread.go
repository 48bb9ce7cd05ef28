package receipt

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// ThreadState is how far the viewer is in a thread. Unread counts what others wrote
// there after the mark, but not what is deleted or the system's.
type ThreadState struct {
	ThreadID          uuid.UUID
	ChannelID         uuid.UUID
	LastReadMessageID *uuid.UUID
	LastReadAt        *time.Time
	UnreadCount       int
	MentionCount      int
	Followed          bool
}

// ID is the cache key: the thread's id.
func (s ThreadState) ID() string { return s.ThreadID.String() }

// Key is the thread's id.
func (s ThreadState) Key() uuid.UUID { return s.ThreadID }

// Same reports whether two states tell the same.
func (s ThreadState) Same(o ThreadState) bool {
	return s.ThreadID == o.ThreadID && s.ChannelID == o.ChannelID && s.UnreadCount == o.UnreadCount && s.MentionCount == o.MentionCount &&
		s.Followed == o.Followed && same(s.LastReadAt, o.LastReadAt) && same(s.LastReadMessageID, o.LastReadMessageID)
}

// Threads is how far viewers are in threads, and which they follow.
type Threads struct{ s *Service }

// Current is States with everything that was committed before the call.
func (t *Threads) Current(ctx context.Context, v viewer.Viewer, threads []uuid.UUID) ([]ThreadState, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if err := t.s.o.toRead(ctx); err != nil {
		return nil, err
	}
	return t.States(ctx, v, threads)
}

// States is how far the viewer is in threads, by what is in the log, in one
// statement. Those of channels it is no member of are left out.
func (t *Threads) States(ctx context.Context, v viewer.Viewer, threads []uuid.UUID) ([]ThreadState, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	const q = `select x.* from realtime.thread_states($1, $2, $3) x`
	return t.states(ctx, q, v.Tenant, v.User, distinct(threads))
}

// Touched is States of own, and of those of others that the viewer follows.
func (t *Threads) Touched(ctx context.Context, v viewer.Viewer, others, own []uuid.UUID) ([]ThreadState, error) {
	if len(others)+len(own) == 0 {
		return nil, nil
	}
	const q = `
select x.* from realtime.thread_states($1, $2, array(
  select unnest($4::uuid[]) union select f.thread_id from realtime.nchat_thread_members() f where f.thread_id = any ($3) and f.user_id = $2 and f.followed)) x`
	return t.states(ctx, q, v.Tenant, v.User, some(others), some(own))
}

func (t *Threads) states(ctx context.Context, q string, args ...any) ([]ThreadState, error) {
	rows, err := t.s.o.Pool.Query(ctx, q, args...)
	if err != nil {
		return nil, fmt.Errorf("reading threads: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ThreadState])
	if err != nil {
		return nil, fmt.Errorf("reading threads: %w", err)
	}
	n := 0
	for _, st := range list {
		n += st.UnreadCount
	}
	t.s.o.Counted(ctx, n)
	return list, nil
}

// Followed are the threads that the viewer follows in channels it is a member of.
func (t *Threads) Followed(ctx context.Context, v viewer.Viewer) ([]uuid.UUID, error) {
	rows, err := t.s.o.Pool.Query(ctx, `select f.thread_id from realtime.followed_threads($1, $2) f`, v.Tenant, v.User)
	if err != nil {
		return nil, fmt.Errorf("reading which threads are followed: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading which threads are followed: %w", err)
	}
	return list, nil
}

// Follow has the viewer follow a thread, or not; done again it changes nothing. What
// was written before it is not unread by that, but where it has read there. Error:
// access-denied for a thread that is in none of the viewer's channels.
func (t *Threads) Follow(ctx context.Context, v viewer.Viewer, thread uuid.UUID, follows bool) (ThreadState, error) {
	if err := v.Denied(); err != nil {
		return ThreadState{}, err
	}
	if err := t.s.o.Settle(ctx); err != nil { // the membership may not be in the log yet
		return ThreadState{}, err
	}
	done := false
	err := postgres.QuietBatch(ctx, t.s.o.Pool, func(b *pgx.Batch) {
		b.Queue(`select realtime.follow($1, $2, $3, $4)`, v.Tenant, v.User, thread, follows).
			QueryRow(func(row pgx.Row) error { return row.Scan(&done) })
	})
	if err != nil {
		return ThreadState{}, fmt.Errorf("following a thread: %w", err)
	}
	if !done {
		return ThreadState{}, fault.Access()
	}
	t.s.o.Committed()
	list, err := t.States(ctx, v, []uuid.UUID{thread})
	if err == nil && len(list) == 0 { // the right to it ended meanwhile
		err = fault.Access()
	}
	if err != nil {
		return ThreadState{}, err
	}
	return list[0], nil
}
