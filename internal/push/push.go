// Package push tells an app's own push service of messages for users who are
// not connected: a signed webhook, tried again from a table until it is taken.
//
// Whom to tell is decided twice: when the message enters the log, and again
// when it is told, for whoever may still read it and is still away. It owns
// the tables push_state and push_jobs of the schema realtime.
package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	scanEvery  = time.Second
	scanBatch  = 500 // entries of the log looked at in one transaction
	usersInJob = 500
)

// Absent is presence, as far as push asks it: those of users who have no live
// session that counts.
type Absent func(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error)

// Options are what the package stands on.
type Options struct {
	Pool   *pgxpool.Pool
	Absent Absent
	URL    string // where to tell; "": nothing runs
	Secret string // signs; "": unsigned
	Client *http.Client
	Log    *slog.Logger
}

// Service finds whom to tell, and tells.
type Service struct {
	o    Options
	wake wait.Flag // a job may be due
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: callLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &Service{o: o, wake: wait.NewFlag()}
}

// Run works until ctx ends. Any number of nodes may run it: one at a time looks
// at the log, and each job is told by one.
func (s *Service) Run(ctx context.Context) {
	if s.o.URL == "" {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.tell(ctx) })
	t := time.NewTicker(scanEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for {
			n, err := s.scan(ctx)
			if err != nil && ctx.Err() == nil {
				s.o.Log.DebugContext(ctx, "looking for messages to push", "error", err)
			}
			if n < scanBatch {
				break
			}
		}
		s.wake.Raise()
	}
}

// scan makes jobs of the next messages in the log: how many entries it passed.
func (s *Service) scan(ctx context.Context) (n int, err error) {
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

func (s *Service) scanOnce(ctx context.Context, tx pgx.Tx) (int, error) {
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
  left join lateral (select coalesce((to_jsonb(r) ->> 'published_at')::timestamptz, r.created_at) as since
                       from public.nchat_messages r where r.id = m.message_id) o on true
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

// Whoever was a member when it was written and may read the channel, wants to hear of it, and has not blocked the
// sender; never the sender.
const wanting = `
select m.user_id
  from realtime.readers() m
 where m.tenant = $1 and m.channel_id = $2 and m.user_id is distinct from $3
   and (m.notify = 'all' or m.notify = 'mentions' and m.user_id = any ($4))
   and exists (select from realtime.stints s where s.channel_id = m.channel_id and s.user_id = m.user_id and s.to_seq is null and s.from_seq < $5)
   and not exists (select from realtime.nchat_blocks() b where b.blocker_id = m.user_id and b.blocked_user_id = $3)`

func (s *Service) recipients(ctx context.Context, db postgres.DB, m candidate, among []uuid.UUID) ([]uuid.UUID, error) {
	q, args := wanting, []any{m.tenant, m.channel, m.sender, m.mentions, m.seq}
	if among != nil {
		q, args = q+` and m.user_id = any ($6)`, append(args, among)
	}
	rows, err := db.Query(ctx, q+` order by m.user_id`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading recipients: %w", err)
	}
	users, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading recipients: %w", err)
	}
	if len(users) == 0 {
		return nil, nil
	}
	return s.o.Absent(ctx, db, m.tenant, users)
}

func (s *Service) enqueue(ctx context.Context, tx pgx.Tx, m candidate) error {
	users, err := s.recipients(ctx, tx, m, nil)
	if err != nil {
		return err
	}
	for len(users) > 0 {
		part := users[:min(len(users), usersInJob)]
		users = users[len(part):]
		if _, err := tx.Exec(ctx, `insert into realtime.push_jobs (tenant, message_id, users) values ($1, $2, $3)`, m.tenant, m.message, part); err != nil {
			return fmt.Errorf("keeping a job: %w", err)
		}
	}
	return nil
}

// Sweeps forget jobs that nobody takes any more, as where the webhook was taken away.
func (s *Service) Sweeps() []sweep.Task {
	const q = `
delete from realtime.push_jobs j where j.ctid = any (array(select o.ctid from realtime.push_jobs o where o.created_at < clock_timestamp() - $2::interval limit $1))`
	return []sweep.Task{{Of: "push_jobs", Batch: sweep.Rows(s.o.Pool, q, givenUp+time.Hour)}}
}
