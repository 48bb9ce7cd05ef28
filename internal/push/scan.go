package push

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// scanner makes jobs of what is in the log, and of what was put off.
type scanner struct{ whom }

// look makes jobs of all that is due.
func (s scanner) look(ctx context.Context) error {
	n, err := scanBatch, error(nil)
	for n == scanBatch && err == nil {
		n, err = s.scan(ctx)
	}
	n, late := releaseMost, error(nil)
	for n == releaseMost && late == nil {
		n, late = s.release(ctx)
	}
	return errors.Join(err, late)
}

// scan makes jobs of the next messages in the log: how many entries it passed.
func (s scanner) scan(ctx context.Context) (n int, err error) {
	err = postgres.InTx(ctx, s.o.Pool, func(tx pgx.Tx) error {
		n, err = s.scanOnce(ctx, tx)
		return err
	})
	return n, err
}

// candidate is a message that somebody may have to be told of.
type candidate struct {
	pos      int64
	tenant   string
	message  uuid.UUID
	channel  uuid.UUID
	seq      int64
	sender   *uuid.UUID
	mentions []uuid.UUID
}

func (s scanner) scanOnce(ctx context.Context, tx pgx.Tx) (int, error) {
	const begin = `insert into realtime.push_state (pos, mark) select l.pos, realtime.mark_at(l.pos) from (select realtime.last_pos() as pos) l on conflict do nothing`
	if _, err := tx.Exec(ctx, begin); err != nil {
		return 0, fmt.Errorf("beginning: %w", err)
	}
	var pos int64
	var same bool
	err := tx.QueryRow(ctx, `select pos, realtime.mark_at(pos) is not distinct from mark or pos < realtime.log_floor() from realtime.push_state for update skip locked`).Scan(&pos, &same)
	if err != nil {
		if errors.Is(err, pgx.ErrNoRows) { // another node is at it
			return 0, nil
		}
		return 0, fmt.Errorf("reading where push is: %w", err)
	}
	if !same { // another history: what came before now is nobody's news
		s.o.Log.WarnContext(ctx, "push begins anew: the log goes on from elsewhere")
		const anew = `update realtime.push_state set (pos, mark) = (select l.pos, realtime.mark_at(l.pos) from (select realtime.last_pos() as pos) l)`
		if _, err := tx.Exec(ctx, anew); err != nil {
			return 0, fmt.Errorf("beginning anew: %w", err)
		}
		return 0, nil
	}
	list, last, n, err := news(ctx, tx, pos)
	if err != nil || n == 0 {
		return 0, err
	}
	for _, m := range list {
		if err := s.enqueue(ctx, tx, m); err != nil {
			return 0, err
		}
	}
	if err := withdraw(ctx, tx, pos, last); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `update realtime.push_state set pos = $1, mark = realtime.mark_at($1)`, last); err != nil {
		return 0, fmt.Errorf("writing where push is: %w", err)
	}
	return n, nil
}

// news are the messages among the next entries of the log that are not too old
// to tell of (after an outage, or an import), and how far those entries go.
func news(ctx context.Context, tx pgx.Tx, after int64) (list []candidate, last int64, n int, err error) {
	const q = `
select l.pos, l.tenant, coalesce(l.kind = 'created' and l.at > clock_timestamp() - $3::interval and o.since > clock_timestamp() - $3::interval, false),
       coalesce(m.message_id, l.channel_id), l.channel_id, coalesce(m.seq, 0), m.sender, realtime.told_mentions(m.mentions, 1000)
  from (select * from realtime.log x where x.pos > $1 order by x.pos limit $2) l
  left join realtime.messages m on m.message_id = l.message_id and not m.gone and not m.deleted
  left join lateral (` + since + `) o on true
 order by l.pos`
	rows, err := tx.Query(ctx, q, after, scanBatch, givenUp)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reading the log: %w", err)
	}
	var m candidate
	var counts bool
	_, err = pgx.ForEachRow(rows, []any{&m.pos, &m.tenant, &counts, &m.message, &m.channel, &m.seq, &m.sender, &m.mentions}, func() error {
		n, last = n+1, m.pos
		if counts {
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reading the log: %w", err)
	}
	return list, last, n, nil
}

// since is when a message m was published, or written.
const since = `
select r.since from realtime.nchat_messages() r where r.id = m.message_id`

// enqueue makes jobs of a message, and notes whom to ask about later.
func (s scanner) enqueue(ctx context.Context, tx pgx.Tx, m candidate) error {
	users, err := s.recipients(ctx, tx, m, nil)
	if err != nil || len(users) == 0 {
		return err
	}
	j, err := s.judge(ctx, tx, m.tenant, users)
	if err != nil {
		return err
	}
	if err := s.putOff(ctx, tx, m, j); err != nil {
		return err
	}
	return keep(ctx, tx, m, j.tell, false)
}

// keep makes jobs to tell users of a message.
func keep(ctx context.Context, db postgres.DB, m candidate, users []uuid.UUID, second bool) error {
	const q = `insert into realtime.push_jobs (kind, tenant, channel_id, message_id, seq, users, second) values ('message', $1, $2, $3, $4, $5, $6)`
	for len(users) > 0 {
		part := users[:min(len(users), usersInJob)]
		users = users[len(part):]
		if _, err := db.Exec(ctx, q, m.tenant, m.channel, m.message, m.seq, part, second); err != nil {
			return fmt.Errorf("keeping a job: %w", err)
		}
	}
	return nil
}

// withdraw makes jobs of what is told no more by entries of the log: it was read
// elsewhere, or deleted, or whoever was told of it may not read it any more.
func withdraw(ctx context.Context, tx pgx.Tx, after, upTo int64) error {
	const q = `
with l as materialized (
  select x.kind, x.channel_id, x.user_id, x.message_id from realtime.log x
   where x.pos > $1 and x.pos <= $2 and x.kind in ('mark', 'left', 'deleted', 'opened', 'gone')),
over as (
  select t.user_id, t.channel_id from l join realtime.push_told t on t.user_id = l.user_id and t.channel_id = l.channel_id
   where l.kind = 'left'
      or l.kind = 'mark' and exists (select from realtime.messages y
           left join realtime.thread_marks h on h.user_id = t.user_id and h.thread_id = y.thread
           left join realtime.marks k on k.user_id = t.user_id and k.channel_id = t.channel_id and y.thread is null
          where y.message_id = t.message_id and coalesce(h.read_seq, k.read_seq) >= t.seq)
  union
  select t.user_id, t.channel_id from l join realtime.push_told t on t.message_id = l.message_id where l.kind = 'deleted'
  union
  select t.user_id, t.channel_id from l join realtime.channels c on c.channel_id = l.channel_id
    join realtime.push_told t on t.channel_id = l.channel_id and t.seq <= c.void where l.kind = 'opened'
  union
  select t.user_id, t.channel_id from l join realtime.push_told t on t.channel_id = l.channel_id where l.kind = 'gone'),
gone as (
  delete from realtime.push_told t using over o where t.user_id = o.user_id and t.channel_id = o.channel_id
  returning t.user_id, t.channel_id, t.tenant, t.message_id, t.seq)
insert into realtime.push_jobs (kind, tenant, channel_id, message_id, seq, users)
select 'withdraw', p.tenant, p.channel_id, p.message_id, p.seq, array_agg(p.user_id order by p.user_id)
  from (select g.*, (row_number() over (partition by g.tenant, g.message_id order by g.user_id) - 1) / $3 as part from gone g) p
 group by p.tenant, p.channel_id, p.message_id, p.seq, p.part`
	if _, err := tx.Exec(ctx, q, after, upTo, usersInJob); err != nil {
		return fmt.Errorf("withdrawing: %w", err)
	}
	return nil
}
