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

// releaseMost is how many held users, and how many channels, one transaction takes.
const releaseMost = 500

// release makes jobs for those who were put off until now: how many it took, at
// most releaseMost.
func (s scanner) release(ctx context.Context) (n int, err error) {
	err = postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		again, err := s.releaseAgain(ctx, tx)
		if err != nil {
			return err
		}
		held, err := s.releaseHeld(ctx, tx)
		n = max(again, held)
		return err
	})
	return n, err
}

// spot is a channel, and from which message on something of it is to be told.
type spot struct {
	tenant  string
	channel uuid.UUID
	seq     int64
}

// releaseAgain asks once more about channels whose members looked at a device.
func (s scanner) releaseAgain(ctx context.Context, tx pgx.Tx) (int, error) {
	const q = `
delete from realtime.push_again a
 where a.channel_id in (select d.channel_id from realtime.push_again d where d.at <= clock_timestamp() order by d.at limit $1 for update skip locked)
returning a.tenant, a.channel_id, a.seq`
	rows, err := tx.Query(ctx, q, releaseMost)
	if err != nil {
		return 0, fmt.Errorf("looking once more: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p spot, err error) {
		err = row.Scan(&p.tenant, &p.channel, &p.seq)
		return p, err
	})
	if err != nil {
		return 0, fmt.Errorf("looking once more: %w", err)
	}
	for _, p := range list {
		if err := s.newest(ctx, tx, p, nil); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// releaseHeld tells those whom it does not disturb any more.
func (s scanner) releaseHeld(ctx context.Context, tx pgx.Tx) (int, error) {
	const q = `
select h.tenant, h.channel_id, h.seq, h.user_id from realtime.push_held h
 where h.until <= clock_timestamp() order by h.until, h.user_id, h.channel_id limit $1 for update skip locked`
	rows, err := tx.Query(ctx, q, releaseMost)
	if err != nil {
		return 0, fmt.Errorf("reading who was held: %w", err)
	}
	byTenant := map[string]map[uuid.UUID][]spot{}
	var p spot
	var user uuid.UUID
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&p.tenant, &p.channel, &p.seq, &user}, func() error {
		if n++; byTenant[p.tenant] == nil {
			byTenant[p.tenant] = map[uuid.UUID][]spot{}
		}
		byTenant[p.tenant][user] = append(byTenant[p.tenant][user], p)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading who was held: %w", err)
	}
	for tenant, spots := range byTenant {
		if err := s.lookAgain(ctx, tx, tenant, spots); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lookAgain judges users of a tenant anew, and makes jobs of what waits for those
// whom it does not disturb any more.
func (s scanner) lookAgain(ctx context.Context, tx pgx.Tx, tenant string, spots map[uuid.UUID][]spot) error {
	j, err := s.judge(ctx, tx, tenant, slices.Collect(maps.Keys(spots)))
	if err != nil {
		return err
	}
	if err := holdOn(ctx, tx, spots, j); err != nil {
		return err
	}
	free := map[spot][]uuid.UUID{}
	for _, u := range append(j.tell, j.looking...) {
		for _, p := range spots[u] {
			free[p] = append(free[p], u)
		}
	}
	for p, users := range free {
		if err := s.letGo(ctx, tx, p, users); err != nil {
			return err
		}
	}
	return nil
}

// holdOn moves the time of those whom it still disturbs.
func holdOn(ctx context.Context, tx pgx.Tx, spots map[uuid.UUID][]spot, j judged) error {
	var users, channels []uuid.UUID
	var until []time.Time
	for i, u := range j.held {
		for _, p := range spots[u] {
			users, channels, until = append(users, u), append(channels, p.channel), append(until, j.until[i])
		}
	}
	if len(users) == 0 {
		return nil
	}
	const q = `
update realtime.push_held h set until = x.until from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) x (u, c, until)
 where h.user_id = x.u and h.channel_id = x.c`
	if _, err := tx.Exec(ctx, q, users, channels, until); err != nil {
		return fmt.Errorf("holding on: %w", err)
	}
	return nil
}

func (s scanner) letGo(ctx context.Context, tx pgx.Tx, p spot, users []uuid.UUID) error {
	if _, err := tx.Exec(ctx, `delete from realtime.push_held where channel_id = $1 and user_id = any ($2)`, p.channel, users); err != nil {
		return fmt.Errorf("letting go: %w", err)
	}
	return s.newest(ctx, tx, p, users)
}

// newest makes jobs to tell users, or (nil) everybody, each of the newest message
// from a place on that it is to hear of, unless it was told of that. Of one that came
// after that place, whoever looks at a device is asked about anew.
func (s scanner) newest(ctx context.Context, tx pgx.Tx, p spot, users []uuid.UUID) error {
	const q = `
select x.message_id, x.seq, array_agg(r.user_id order by r.user_id)
  from realtime.readers() r
 cross join lateral (
   select k.message_id, k.seq from realtime.messages k
    where k.channel_id = r.channel_id and k.seq >= $3 and not k.gone and not k.deleted and k.sender is distinct from r.user_id
      and (r.notify = 'all' or r.user_id = any (k.mentions))
      and not exists (select from realtime.nchat_blocks() b where b.blocker_id = r.user_id and b.blocked_user_id = k.sender)
    order by k.seq desc limit 1) x
 where r.tenant = $1 and r.channel_id = $2 and r.notify in ('all', 'mentions') and ($4::uuid[] is null or r.user_id = any ($4))
   and not exists (select from realtime.messages y join realtime.marks k on k.channel_id = y.channel_id and k.read_seq >= y.seq and y.thread is null
                    where y.message_id = x.message_id and k.user_id = r.user_id)
   and not exists (select from realtime.messages y join realtime.thread_marks k on k.thread_id = y.thread and k.read_seq >= y.seq
                    where y.message_id = x.message_id and k.user_id = r.user_id)
   and not exists (select from realtime.push_told t where t.user_id = r.user_id and t.channel_id = r.channel_id and t.seq >= x.seq)
   and not exists (select from realtime.push_held h where h.user_id = r.user_id and h.channel_id = r.channel_id)
   and not exists (select from realtime.push_jobs j where j.message_id = x.message_id and j.kind = 'message' and r.user_id = any (j.users))
 group by x.message_id, x.seq`
	rows, err := tx.Query(ctx, q, p.tenant, p.channel, p.seq, users)
	if err != nil {
		return fmt.Errorf("reading the newest messages: %w", err)
	}
	type told struct {
		m     candidate
		users []uuid.UUID
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (x told, err error) {
		x.m = candidate{tenant: p.tenant, channel: p.channel}
		err = row.Scan(&x.m.message, &x.m.seq, &x.users)
		return x, err
	})
	if err != nil {
		return fmt.Errorf("reading the newest messages: %w", err)
	}
	for _, x := range list {
		if err := keep(ctx, tx, x.m, x.users, users == nil && x.m.seq == p.seq); err != nil {
			return err
		}
	}
	return nil
}
