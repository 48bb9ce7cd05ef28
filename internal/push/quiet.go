package push

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // an image may have no time zones of its own

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// QuietHours is when a user is not to be disturbed, each day.
type QuietHours struct {
	From, To string // HH:MM on the user's own clock; To before From: of the next day
	TimeZone string // of the IANA database, as Europe/Berlin
}

// night is QuietHours as they are kept: minutes of a day.
type night struct {
	from, to int
	zone     string
}

const clockFace = "15:04"

func minutes(field, s string) (int, error) {
	t, err := time.Parse(clockFace, s)
	if err != nil || len(s) != len(clockFace) {
		return 0, fault.Field("input."+field, "%s must be a time of day, HH:MM", field)
	}
	return t.Hour()*60 + t.Minute(), nil
}

func (q QuietHours) parse() (n night, err error) {
	if n.from, err = minutes("from", q.From); err != nil {
		return n, err
	}
	if n.to, err = minutes("to", q.To); err != nil {
		return n, err
	}
	if n.from == n.to {
		return n, fault.Field("input.to", "to must not be from")
	}
	if n.zone = q.TimeZone; q.TimeZone == "" || q.TimeZone == "Local" || len(q.TimeZone) > 64 || (zones{}).of(q.TimeZone) == nil {
		return n, fault.Field("input.timeZone", "timeZone must be one of the IANA database, as Europe/Berlin")
	}
	return n, nil
}

func (n night) hours() QuietHours {
	face := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	return QuietHours{From: face(n.from), To: face(n.to), TimeZone: n.zone}
}

// key tells hours from others, as putOff does.
func (n night) key() string {
	if n.zone == "" {
		return ""
	}
	return fmt.Sprintf("%d %d %s", n.from, n.to, n.zone)
}

// zones are time zones by name, read once; nil: there is no such zone.
type zones map[string]*time.Location

func (z zones) of(name string) *time.Location {
	loc, known := z[name]
	if !known {
		loc, _ = time.LoadLocation(name) //nolint:errcheck // nil then
		z[name] = loc
	}
	return loc
}

// ends is whether it is night at an instant, and until when. Where clocks are
// changed that may be too early, and is asked again.
func (n night) ends(now time.Time, z zones) (until time.Time, yes bool) {
	loc := z.of(n.zone)
	if loc == nil {
		return time.Time{}, false
	}
	t := now.In(loc)
	at, day := t.Hour()*60+t.Minute(), t.Day()
	if n.from < n.to {
		yes = n.from <= at && at < n.to
	} else {
		yes = at >= n.from || at < n.to
		if at >= n.from {
			day++
		}
	}
	if !yes {
		return time.Time{}, false
	}
	until = time.Date(t.Year(), t.Month(), day, n.to/60, n.to%60, 0, 0, loc)
	if !until.After(now) {
		until = now.Add(time.Minute)
	}
	return until, true
}

func loadHours(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) (map[uuid.UUID]night, error) {
	rows, err := db.Query(ctx, `select user_id, from_minute, to_minute, zone from realtime.quiet_hours where tenant = $1 and user_id = any ($2)`, tenant, users)
	if err != nil {
		return nil, fmt.Errorf("reading quiet hours: %w", err)
	}
	out := map[uuid.UUID]night{}
	var user uuid.UUID
	var n night
	if _, err := pgx.ForEachRow(rows, []any{&user, &n.from, &n.to, &n.zone}, func() error { out[user] = n; return nil }); err != nil {
		return nil, fmt.Errorf("reading quiet hours: %w", err)
	}
	return out, nil
}

// Hours is what users choose: when they are not to be disturbed.
type Hours struct{ Pool *pgxpool.Pool }

// Of is the viewer's own; nil: never quiet.
func (h Hours) Of(ctx context.Context, v viewer.Viewer) (*QuietHours, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	all, err := loadHours(ctx, h.Pool, v.Tenant, []uuid.UUID{v.User})
	if n, has := all[v.User]; err == nil && has {
		q := n.hours()
		return &q, nil
	}
	return nil, err
}

// Set changes the viewer's own; nil: never quiet. What was held back until then
// is looked at anew. Errors: validation-failed.
func (h Hours) Set(ctx context.Context, v viewer.Viewer, q *QuietHours) (*QuietHours, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	b := &pgx.Batch{}
	if q == nil {
		b.Queue(`delete from realtime.quiet_hours where tenant = $1 and user_id = $2`, v.Tenant, v.User)
	} else {
		n, err := q.parse()
		if err != nil {
			return nil, err
		}
		const put = `
insert into realtime.quiet_hours (tenant, user_id, from_minute, to_minute, zone) values ($1, $2, $3, $4, $5)
on conflict (tenant, user_id) do update set from_minute = excluded.from_minute, to_minute = excluded.to_minute, zone = excluded.zone`
		b.Queue(put, v.Tenant, v.User, n.from, n.to, n.zone)
	}
	b.Queue(`update realtime.push_held set until = case when looked then until else clock_timestamp() end where tenant = $1 and user_id = $2`, v.Tenant, v.User)
	if err := h.Pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, errors.Join(errors.New("writing quiet hours"), err)
	}
	return q, nil
}
