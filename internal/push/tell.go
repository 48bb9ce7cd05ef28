package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/text"
)

const (
	atOnce      = 8                // jobs taken together
	leaseOfJob  = 30 * time.Second // until then nobody else tries it
	firstWait   = time.Second      // doubling to longestWait
	longestWait = time.Hour
	givenUp     = 24 * time.Hour // then nobody wants to hear of a message any more
	previewLen  = 240            // characters of the content
	badgeMost   = 999
)

// job is one call to be made.
type job struct {
	id       uuid.UUID
	kind     string
	m        candidate
	users    []uuid.UUID
	second   bool
	attempts int
	created  time.Time
}

func (s *Service) tell(ctx context.Context) {
	for {
		n, err := s.tellSome(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Log.DebugContext(ctx, "pushing", "error", err)
		}
		if n == atOnce && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
	}
}

// tellSome takes due jobs and makes their calls, one after another.
func (s *Service) tellSome(ctx context.Context) (int, error) {
	const q = `
update realtime.push_jobs j set attempts = j.attempts + 1, next_at = clock_timestamp() + $2::interval
 where j.id in (select d.id from realtime.push_jobs d where d.next_at <= clock_timestamp() order by d.next_at limit $1 for update skip locked)
returning j.id, j.kind, j.tenant, j.channel_id, j.message_id, j.seq, j.users, j.second, j.attempts, j.created_at`
	rows, err := s.o.Pool.Query(ctx, q, atOnce, leaseOfJob+atOnce*outcall.Limit)
	if err != nil {
		return 0, fmt.Errorf("taking jobs: %w", err)
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j job, err error) {
		err = row.Scan(&j.id, &j.kind, &j.m.tenant, &j.m.channel, &j.m.message, &j.m.seq, &j.users, &j.second, &j.attempts, &j.created)
		return j, err
	})
	if err != nil {
		return 0, fmt.Errorf("taking jobs: %w", err)
	}
	slices.SortFunc(jobs, func(a, b job) int { return a.created.Compare(b.created) })
	var all error
	for _, j := range jobs {
		if err := s.one(ctx, j); err != nil {
			all = errors.Join(all, err, s.putJobOff(ctx, j, backoff(j.attempts)))
		}
	}
	return len(jobs), all
}

// one makes a job's call, unless nobody is left to tell.
func (s *Service) one(ctx context.Context, j job) error {
	if s.o.Now().Sub(j.created) > givenUp {
		return s.done(ctx, j, nil)
	}
	p := Payload{ID: j.id, Type: j.kind, Tenant: j.m.tenant, ChannelID: j.m.channel, MessageID: j.m.message, Seq: strconv.FormatInt(j.m.seq, 10),
		CollapseKey: "channel:" + j.m.channel.String()}
	var users []uuid.UUID
	var err error
	if j.kind == TypeWithdraw {
		users, err = s.stillTold(ctx, j)
	} else {
		users, err = s.message(ctx, &j, &p)
	}
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return s.done(ctx, j, nil)
	}
	if p.Recipients, err = s.badges(ctx, j, users); err != nil {
		return err
	}
	wait, err := s.call(ctx, p)
	switch {
	case err == nil:
		return s.done(ctx, j, users)
	case wait < 0:
		s.o.Log.WarnContext(ctx, "the push webhook refuses a message", "error", err)
		return s.done(ctx, j, nil)
	}
	if wait == 0 {
		wait = backoff(j.attempts)
	}
	if err := s.putJobOff(ctx, j, wait); err != nil {
		return err
	}
	s.o.Log.InfoContext(ctx, "the push webhook is tried again", "attempt", j.attempts, "in", wait, "error", err)
	return nil
}

// putJobOff has a job tried again before whoever took it is taken for dead.
func (s *Service) putJobOff(ctx context.Context, j job, wait time.Duration) error {
	if _, err := s.o.Pool.Exec(ctx, `update realtime.push_jobs set next_at = clock_timestamp() + $2::interval where id = $1`, j.id, wait); err != nil {
		return fmt.Errorf("putting a job off: %w", err)
	}
	return nil
}

// backoff doubles, give or take a tenth.
func backoff(attempts int) time.Duration {
	d := longestWait
	if attempts < 13 {
		d = min(firstWait<<(attempts-1), longestWait)
	}
	return d + rand.N(d/5+1) - d/10
}

// done ends a job. Users just told of its message for whom that is over are told
// so: what happened while the call was made nobody has withdrawn, or too early.
func (s *Service) done(ctx context.Context, j job, told []uuid.UUID) error {
	const q = `
with ended as (delete from realtime.push_jobs where id = $1),
over as (
  select u from unnest($6::uuid[]) u
   where not exists (select from realtime.push_told t where t.user_id = u and t.channel_id = $3 and t.seq >= $5)
      or exists (select from realtime.messages y
           left join realtime.thread_marks h on h.user_id = u and h.thread_id = y.thread
           left join realtime.marks k on k.user_id = u and k.channel_id = $3 and y.thread is null
          where y.message_id = $4 and coalesce(h.read_seq, k.read_seq) >= $5)
      or not exists (select from realtime.readers() r where r.tenant = $2 and r.channel_id = $3 and r.user_id = u)
      or not exists (select from realtime.messages m where m.message_id = $4 and m.channel_id = $3 and not m.gone and not m.deleted)),
untold as (delete from realtime.push_told t using over o where t.user_id = o.u and t.channel_id = $3 and t.seq = $5)
insert into realtime.push_jobs (kind, tenant, channel_id, message_id, seq, users)
select 'withdraw', $2, $3, $4, $5, array_agg(u) from over having count(*) > 0`
	if j.kind == TypeWithdraw {
		told = nil
	}
	if _, err := s.o.Pool.Exec(ctx, q, j.id, j.m.tenant, j.m.channel, j.m.message, j.m.seq, told); err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	return nil
}

// message reads what is to be told as it is now, and to whom of a job's users;
// nobody: the message is no more, or too old, or nobody is to hear of it now.
func (s *Service) message(ctx context.Context, j *job, p *Payload) ([]uuid.UUID, error) {
	const q = `
select m.seq, n.sender, realtime.told_mentions(n.mentions, 1000), coalesce(c.name, ''), u.display_name, coalesce(left(o.content, $4), ''), o.created_at
  from realtime.messages m
  join realtime.nchat_messages() n on n.id = m.message_id and n.channel_id = m.channel_id and n.published and not n.deleted
  join realtime.message_rows() o on o.id = m.message_id
  join realtime.nchat_channels() c on c.id = m.channel_id and c.tenant = $2
  left join realtime.nchat_users() u on u.id = n.sender and u.tenant = $2
 cross join lateral (` + since + `) w
 where m.message_id = $1 and m.channel_id = $3 and not m.gone and w.since > clock_timestamp() - $5::interval`
	err := s.o.Pool.QueryRow(ctx, q, j.m.message, j.m.tenant, j.m.channel, previewLen+1, givenUp).Scan(
		&j.m.seq, &j.m.sender, &j.m.mentions, &p.Channel, &p.Sender, &p.Preview, &p.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading a message to push: %w", err)
	}
	p.SenderID, p.Sender, p.Preview, p.Seq = j.m.sender, named(j.m.sender, p.Sender), preview(p.Preview), strconv.FormatInt(j.m.seq, 10)
	users, err := s.recipients(ctx, s.o.Pool, j.m, j.users)
	if err != nil {
		return nil, err
	}
	verdict, err := s.judge(ctx, s.o.Pool, j.m.tenant, users)
	if err != nil {
		return nil, err
	}
	if j.second {
		verdict.looking = nil // they have been here all the while since it came
	}
	if err := s.putOff(ctx, s.o.Pool, j.m, verdict); err != nil {
		return nil, err
	}
	return s.claim(ctx, *j, verdict.tell)
}

// claim notes that users are told of a message, before they are: those who have
// not been by another job.
func (s *Service) claim(ctx context.Context, j job, users []uuid.UUID) ([]uuid.UUID, error) {
	if len(users) == 0 {
		return nil, nil
	}
	const q = `
insert into realtime.push_told as t (user_id, channel_id, tenant, message_id, seq, job)
select u, $2, $3, $4, $5, $6 from unnest($1::uuid[]) u order by u
on conflict (user_id, channel_id) do update
   set tenant = excluded.tenant, at = excluded.at, seq = greatest(t.seq, excluded.seq),
       message_id = case when excluded.seq >= t.seq then excluded.message_id else t.message_id end,
       job = case when excluded.seq >= t.seq then excluded.job else t.job end
 where t.seq <> excluded.seq or t.job = excluded.job
returning t.user_id`
	return ids(s.o.Pool.Query(ctx, q, users, j.m.channel, j.m.tenant, j.m.message, j.m.seq, j.id))
}

// stillTold are users of a withdrawal who have not been told of a newer message
// since: that takes the place of what is withdrawn.
func (s *Service) stillTold(ctx context.Context, j job) ([]uuid.UUID, error) {
	const q = `
select u from unnest($1::uuid[]) u
 where not exists (select from realtime.push_told t where t.user_id = u and t.channel_id = $2 and t.seq > $3) order by u`
	return ids(s.o.Pool.Query(ctx, q, j.users, j.m.channel, j.m.seq))
}

// badges are users with how much each has to read.
func (s *Service) badges(ctx context.Context, j job, users []uuid.UUID) ([]Recipient, error) {
	const q = `select u.id, realtime.badge($1, u.id, $3) from unnest($2::uuid[]) with ordinality u (id, ord) order by u.ord`
	rows, err := s.o.Pool.Query(ctx, q, j.m.tenant, users, badgeMost)
	if err != nil {
		return nil, fmt.Errorf("reading badges: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Recipient, err error) {
		err = row.Scan(&r.UserID, &r.Badge)
		r.Mentioned = j.kind == TypeMessage && slices.Contains(j.m.mentions, r.UserID)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading badges: %w", err)
	}
	return list, nil
}

// named is what a sender is called; nil: there is none.
func named(sender *uuid.UUID, name *string) *string {
	if sender == nil {
		return nil
	}
	if name = text.Name(name); name == nil {
		someone := "Someone"
		return &someone
	}
	return name
}

func preview(content string) string {
	if utf8.RuneCountInString(content) <= previewLen {
		return content
	}
	return string([]rune(content)[:previewLen-1]) + "…"
}
