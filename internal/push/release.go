package push

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// releaseMost is how many who were put off one transaction takes.
const releaseMost = 500

// release makes jobs for those who were put off until now: how many it took, at
// most releaseMost.
func (s scanner) release(ctx context.Context) (n int, err error) {
	err = postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		list, err := due(ctx, tx)
		if err != nil {
			return err
		}
		n = len(list)
		byTenant := map[string][]waiting{}
		for _, w := range list {
			byTenant[w.tenant] = append(byTenant[w.tenant], w)
		}
		for tenant, list := range byTenant {
			if err := s.lookAgain(ctx, tx, tenant, list); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// waiting is who was put off in a channel, from which message on something of it is to
// be told, and whether because it looked at a device.
type waiting struct {
	tenant  string
	channel uuid.UUID
	user    uuid.UUID
	seq     int64
	looked  bool
}

// due are those whose time has come, by it.
func due(ctx context.Context, tx pgx.Tx) ([]waiting, error) {
	const q = `
select h.tenant, h.channel_id, h.user_id, h.seq, h.looked from realtime.push_held h
 where h.until <= clock_timestamp() order by h.until, h.user_id, h.channel_id limit $1 for update skip locked`
	rows, err := tx.Query(ctx, q, releaseMost)
	if err != nil {
		return nil, fmt.Errorf("reading who was put off: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w waiting, err error) {
		err = row.Scan(&w.tenant, &w.channel, &w.user, &w.seq, &w.looked)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading who was put off: %w", err)
	}
	return list, nil
}

// lookAgain judges users of a tenant anew, and makes jobs of what waits for those
// whom it does not disturb any more.
func (s scanner) lookAgain(ctx context.Context, tx pgx.Tx, tenant string, list []waiting) error {
	users := map[uuid.UUID]struct{}{}
	for _, w := range list {
		users[w.user] = struct{}{}
	}
	j, err := s.judge(ctx, tx, tenant, slices.Collect(maps.Keys(users)))
	if err != nil {
		return err
	}
	until := map[uuid.UUID]time.Time{}
	for i, u := range j.held {
		until[u] = j.until[i]
	}
	if err := holdOn(ctx, tx, list, until); err != nil {
		return err
	}
	free := map[uuid.UUID][]waiting{}
	for _, w := range list {
		if _, held := until[w.user]; !held {
			free[w.channel] = append(free[w.channel], w)
		}
	}
	for channel, list := range free {
		if err := s.newest(ctx, tx, candidate{tenant: tenant, channel: channel}, list); err != nil {
			return err
		}
	}
	return nil
}

// holdOn moves the time of those whom it still disturbs.
func holdOn(ctx context.Context, tx pgx.Tx, list []waiting, held map[uuid.UUID]time.Time) error {
	var users, channels []uuid.UUID
	var until []time.Time
	for _, w := range list {
		if end, is := held[w.user]; is {
			users, channels, until = append(users, w.user), append(channels, w.channel), append(until, end)
		}
	}
	if len(users) == 0 {
		return nil
	}
	const q = `
update realtime.push_held h set until = x.until, looked = false from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) x (u, c, until)
 where h.user_id = x.u and h.channel_id = x.c`
	if _, err := tx.Exec(ctx, q, users, channels, until); err != nil {
		return fmt.Errorf("holding on: %w", err)
	}
	return nil
}

// newest lets go of who was put off in a channel, and makes jobs to tell each of them, and
// nobody else, of the newest message from its place on that it is to hear of, unless it was
// told of that. Of one that came after that place, whoever looks at a device is asked about anew.
func (s scanner) newest(ctx context.Context, tx pgx.Tx, at candidate, list []waiting) error {
	users, from, looked := make([]uuid.UUID, len(list)), make([]int64, len(list)), make([]bool, len(list))
	for i, w := range list {
		users[i], from[i], looked[i] = w.user, w.seq, w.looked
	}
	if _, err := tx.Exec(ctx, `delete from realtime.push_held where channel_id = $1 and user_id = any ($2)`, at.channel, users); err != nil {
		return fmt.Errorf("letting go: %w", err)
	}
	const q = `
select x.message_id, x.seq, w.looked and x.seq = w.seq, array_agg(r.user_id order by r.user_id)
  from unnest($3::uuid[], $4::bigint[], $5::boolean[]) w (user_id, seq, looked)
  join realtime.readers() r on r.tenant = $1 and r.channel_id = $2 and r.user_id = w.user_id and r.notify in ('all', 'mentions')
 cross join lateral (
   select k.message_id, k.seq from realtime.messages k
    where k.channel_id = r.channel_id and k.seq >= w.seq and not k.gone and not k.deleted and k.sender is distinct from r.user_id
      and (r.notify = 'all' or r.user_id = any (k.mentions))
      and not exists (select from realtime.nchat_blocks() b where b.blocker_id = r.user_id and b.blocked_user_id = k.sender)
    order by k.seq desc limit 1) x
 where not exists (select from realtime.messages y join realtime.marks k on k.channel_id = y.channel_id and k.read_seq >= y.seq and y.thread is null
                    where y.message_id = x.message_id and k.user_id = r.user_id)
   and not exists (select from realtime.messages y join realtime.thread_marks k on k.thread_id = y.thread and k.read_seq >= y.seq
                    where y.message_id = x.message_id and k.user_id = r.user_id)
   and not exists (select from realtime.push_told t where t.user_id = r.user_id and t.channel_id = r.channel_id and t.seq >= x.seq)
   and not exists (select from realtime.push_jobs j where j.message_id = x.message_id and j.kind = 'message' and r.user_id = any (j.users))
 group by 1, 2, 3`
	rows, err := tx.Query(ctx, q, at.tenant, at.channel, users, from, looked)
	if err != nil {
		return fmt.Errorf("reading the newest messages: %w", err)
	}
	type told struct {
		m      candidate
		second bool
		users  []uuid.UUID
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x told, err error) {
		x.m = at
		err = row.Scan(&x.m.message, &x.m.seq, &x.second, &x.users)
		return x, err
	})
	if err != nil {
		return fmt.Errorf("reading the newest messages: %w", err)
	}
	for _, x := range jobs {
		if err := keep(ctx, tx, x.m, x.users, x.second); err != nil {
			return err
		}
	}
	return nil
}
