package presence

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// everybody is the viewer for whom it is kept.
var everybody = relation{viewer: true}

// columns of what is shown, as unnest takes them.
type shownColumns struct {
	tenants, statuses []string
	users             []uuid.UUID
	texts, emojis     []*string
	expiries, seen    []*time.Time
}

func (c *shownColumns) add(k Key, v View) {
	c.tenants, c.users, c.statuses = append(c.tenants, k.Tenant), append(c.users, k.User), append(c.statuses, string(v.Status))
	line := v.CustomStatus
	if line == nil {
		line = &Custom{}
	}
	c.texts, c.emojis, c.expiries = append(c.texts, line.Text), append(c.emojis, line.Emoji), append(c.expiries, line.ExpiresAt)
	c.seen = append(c.seen, v.LastSeenAt)
}

var errNotKept = errors.New("another node keeps it now")

// show reads users, makes of each what everybody may see, and writes what differs.
func (k *keeper) show(ctx context.Context, keys []Key) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	w := k.s.w
	recs, err := loadRecords(ctx, w.pool, keys)
	if err != nil {
		return err
	}
	var c shownColumns
	now, o := w.now(), w.outage()
	for _, rec := range recs {
		if rec.active && len(rec.sessions) == 0 && !rec.invisible() {
			k.s.alarm.Set(rec.key, now.Add(retryMost)) // a crash took its sessions: their nodes are about to say which live
			continue
		}
		view, _ := project(rec, everybody, w.rules, o, now)
		c.add(rec.key, view)
		if next := nextChange(rec, w.rules, o, now); next.IsZero() {
			k.s.alarm.Clear(rec.key)
		} else {
			k.s.alarm.Set(rec.key, next)
		}
	}
	var n *int64
	err = w.pool.QueryRow(ctx, `select realtime.show($1, $2, $3, $4, $5, $6, $7, $8)`,
		k.s.node, c.tenants, c.users, c.statuses, c.texts, c.emojis, c.expiries, c.seen).Scan(&n)
	if err == nil && n == nil {
		k.renewed = time.Time{}
		return errNotKept
	}
	return err
}

// legacy brings nchat's own tables to where the table is. A user whom they refuse
// is passed by: nobody else is to wait for that.
func (k *keeper) legacy(ctx context.Context) error {
	if !k.s.also {
		return nil
	}
	for ctx.Err() == nil {
		told, err := k.tellLegacy(ctx, showAtOnce)
		if _, is := refusal(err); is {
			told, err = k.oneByOne(ctx)
		}
		if err != nil {
			return err
		}
		if !told {
			return k.hide(ctx)
		}
		if holds, err := k.hold(ctx); err != nil || !holds {
			return err
		}
	}
	return ctx.Err()
}

// hide has nchat's own tables say nothing of whom there is nothing to see.
func (k *keeper) hide(ctx context.Context) error {
	for k.passed && ctx.Err() == nil {
		var n int
		if err := k.s.w.pool.QueryRow(ctx, `select realtime.hide_legacy($1)`, 10*showAtOnce).Scan(&n); err != nil {
			return err
		}
		if n < 0 { // the next turn has another look
			return nil
		}
		k.passed = n > 0
		if holds, err := k.hold(ctx); err != nil || !holds {
			return err
		}
	}
	return ctx.Err()
}

// tellLegacy tells of those after the version that was told, and whenever there is nobody,
// of those whom it could not: another transaction held their rows. They are noted
// with what was told, and so are not lost with this node.
const tellLegacy = `
with fresh as (
       select s.version from realtime.public_presence s where s.version > (select h.legacy from realtime.showing h where h.node = $1) order by s.version limit $2),
     next as materialized (
       table fresh union all
       (select s.version from realtime.public_presence s
         where s.legacy_due <= now() and not exists (table fresh) and exists (select from realtime.showing h where h.node = $1)
         order by s.legacy_due, s.version limit $2)),
     told as materialized (
       select x.versions, realtime.tell_legacy(x.versions) as held from (select array_agg(n.version) as versions from next n) x where x.versions is not null),
     noted as (
       update realtime.public_presence s set legacy_due = case when s.version = any (t.held) then now() + $3::interval end
         from told t where s.version = any (t.versions) and (s.version = any (t.held) or s.legacy_due is not null)),
     moved as (
       update realtime.showing h set legacy = (select max(f.version) from fresh f) from told where h.node = $1 and exists (table fresh))
select exists (table fresh) or exists (select from told t where cardinality(t.versions) > cardinality(t.held))`

func (k *keeper) tellLegacy(ctx context.Context, most int) (told bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err = k.s.w.pool.QueryRow(ctx, tellLegacy, k.s.node, most, lateAgain).Scan(&told)
	return told, err
}

// refusal is what nchat's own tables, or an app's triggers there, say of a value or a
// row, each time anew.
func refusal(err error) (*pgconn.PgError, bool) {
	e, is := errors.AsType[*pgconn.PgError](err)
	if !is {
		return nil, false
	}
	_, refused := fault.Refuses(e.Code)
	return e, refused || strings.HasPrefix(e.Code, "23") // a key too: nobody races for one here
}

// oneByOne passes by whom they refuse, and nobody whom it only could not tell now.
func (k *keeper) oneByOne(ctx context.Context) (told bool, err error) {
	for range showAtOnce {
		if told, err = k.tellLegacy(ctx, 1); err == nil && told {
			continue
		}
		e, is := refusal(err)
		if !is {
			return told, err
		}
		k.s.w.log.WarnContext(ctx, "nchat's own presence refuses a user", "code", e.Code, "constraint", e.ConstraintName)
		if _, err := k.s.w.pool.Exec(ctx, passLegacy, k.s.node); err != nil {
			return false, err
		}
	}
	return true, nil
}

// passLegacy passes by whom tellLegacy tells next.
const passLegacy = `
with n as (select min(s.version) as version from realtime.public_presence s where s.version > (select h.legacy from realtime.showing h where h.node = $1)),
     late as (
       update realtime.public_presence s set legacy_due = null
        where s.legacy_due is not null and exists (select from realtime.showing h where h.node = $1)
          and s.version = coalesce((select n.version from n), (select l.version from realtime.public_presence l
                                                                where l.legacy_due is not null order by l.legacy_due, l.version limit 1)))
update realtime.showing h set legacy = n.version from n where h.node = $1 and n.version is not null`
