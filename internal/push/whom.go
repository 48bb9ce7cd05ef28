package push

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// busyAgain is how often whoever is busy without an end is asked about anew.
const busyAgain = time.Minute

// whom decides who is to hear of a message, and when.
type whom struct{ o Options }

// Whoever was a member when it was written and may read the channel, wants to hear of it, has not read it and has not
// blocked the sender; never the sender.
const wanting = `
select m.user_id
  from realtime.readers() m
 where m.tenant = $1 and m.channel_id = $2 and m.user_id is distinct from $3
   and (m.notify = 'all' or m.notify = 'mentions' and m.user_id = any ($4))
   and exists (select from realtime.stints s where s.channel_id = m.channel_id and s.user_id = m.user_id and s.to_seq is null and s.from_seq < $5)
   and not exists (select from realtime.marks k where k.user_id = m.user_id and k.channel_id = m.channel_id and k.read_seq >= $5
                      and (select x.thread from realtime.messages x where x.channel_id = $2 and x.seq = $5) is null)
   and not exists (select from realtime.thread_marks k where k.user_id = m.user_id and k.read_seq >= $5
                      and k.thread_id = (select x.thread from realtime.messages x where x.channel_id = $2 and x.seq = $5))
   and not exists (select from realtime.nchat_blocks() b where b.blocker_id = m.user_id and b.blocked_user_id = $3)`

// recipients are those who are to hear of a message, now or later; of some, or
// (nil) of all.
func (w whom) recipients(ctx context.Context, db postgres.DB, m candidate, among []uuid.UUID) ([]uuid.UUID, error) {
	q, args := wanting, []any{m.tenant, m.channel, m.sender, m.mentions, m.seq}
	if among != nil {
		q, args = q+` and m.user_id = any ($6)`, append(args, among)
	}
	return ids(db.Query(ctx, q+` order by m.user_id`, args...))
}

func ids(rows pgx.Rows, err error) ([]uuid.UUID, error) {
	if err == nil {
		var list []uuid.UUID
		if list, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err == nil {
			return list, nil
		}
	}
	return nil, fmt.Errorf("reading recipients: %w", err)
}

// judged are users by when they are to be told.
type judged struct {
	tell    []uuid.UUID // now
	looking []uuid.UUID // perhaps never: they look at a device
	held    []uuid.UUID
	until   []time.Time // of each held
	by      []string    // the quiet hours each held was judged by; "": none
}

// judge is when to tell users. Not to disturb goes before everything else.
func (w whom) judge(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) (j judged, err error) {
	if len(users) == 0 {
		return j, nil
	}
	list, err := w.o.Attention(ctx, db, tenant, users)
	if err != nil {
		return j, err
	}
	hours, err := loadHours(ctx, db, tenant, users)
	if err != nil {
		return j, err
	}
	now, zones := w.o.Now(), zones{}
	for i, u := range users {
		until, disturbs := list[i].disturbs(now)
		q, has := hours[u]
		if has {
			if end, quiet := q.ends(now, zones); quiet && end.After(until) {
				until, disturbs = end, true
			}
		}
		switch {
		case disturbs:
			j.held, j.until, j.by = append(j.held, u), append(j.until, until), append(j.by, q.key())
		case list[i].Looking:
			j.looking = append(j.looking, u)
		default:
			j.tell = append(j.tell, u)
		}
	}
	return j, nil
}

// disturbs is whether its user is busy, and when to ask again.
func (a Attention) disturbs(now time.Time) (until time.Time, yes bool) {
	if !a.Busy {
		return time.Time{}, false
	}
	until = now.Add(busyAgain)
	if a.BusyUntil != nil && a.BusyUntil.Before(until) {
		until = *a.BusyUntil
	}
	return until, true
}

// putOff notes whom to ask about later, one row a user and channel: those not to be
// disturbed, and those who look at a device. Each is asked about by itself: what it is told,
// and when, hangs on nobody else's looking.
func (w whom) putOff(ctx context.Context, db postgres.DB, m candidate, j judged) error {
	if len(j.held) > 0 {
		// Who has other hours by now is judged anew at once: a change that is under way is waited for, one
		// that comes later finds the row. Whom another node just lets go of is waited for, too.
		const q = `
with hours as (
  select q.user_id, q.from_minute || ' ' || q.to_minute || ' ' || q.zone as key from realtime.quiet_hours q
   where q.tenant = $3 and q.user_id = any ($1) and not exists (select from realtime.push_held h where h.user_id = q.user_id and h.channel_id = $2)
   order by q.user_id for share)
insert into realtime.push_held (user_id, channel_id, tenant, seq, until)
select x.u, $2, $3, $4, case when coalesce(o.key, '') = x.key then x.until else clock_timestamp() end
  from unnest($1::uuid[], $5::timestamptz[], $6::text[]) x (u, until, key) left join hours o on o.user_id = x.u order by x.u
on conflict do nothing`
		if _, err := db.Exec(ctx, q, j.held, m.channel, m.tenant, m.seq, j.until, j.by); err != nil {
			return fmt.Errorf("holding back: %w", err)
		}
	}
	if len(j.looking) == 0 {
		return nil
	}
	// A while after it was written; what is older than that, or written in the future, after now. Of two the
	// older one: from there on the newest is looked for.
	const q = `
with older as (update realtime.push_held h set seq = $4 where h.user_id = any ($1) and h.channel_id = $2 and h.seq > $4)
insert into realtime.push_held (user_id, channel_id, tenant, seq, until, looked)
select x.u, $2, $3, $4, w.at, true
  from (select $5::interval + case when t.since > t.now - $5::interval and t.since < t.now then t.since else t.now end as at
          from (select clock_timestamp() as now, (select r.since from realtime.nchat_messages() r where r.id = $6) as since) t offset 0) w
 cross join unnest($1::uuid[]) x (u) order by x.u
on conflict do nothing`
	if _, err := db.Exec(ctx, q, j.looking, m.channel, m.tenant, m.seq, w.o.Looking, m.message); err != nil {
		return fmt.Errorf("noting a second look: %w", err)
	}
	return nil
}
