package presence

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/rivo/uniseg"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Editor carries out what users choose. What it answers is committed.
type Editor struct {
	w        *world
	read     *Reader
	sessions *Sessions
}

// The limits of a custom status, and how far ahead anything may expire.
const (
	MaxStatusText  = 255
	maxEmojiRunes  = 16 // the longest family or flag sequence in Unicode has fewer
	maxExpiryAhead = 366 * 24 * time.Hour
)

// SetStatus chooses a status by hand. Away and busy hold until changed or
// until expires; Online is automatic again; Offline parks the session the
// request came over, or over HTTP all of the caller's, until it is active again.
func (e *Editor) SetStatus(ctx context.Context, v viewer.Viewer, status Status, expires *time.Time) (View, error) {
	if err := v.Denied(); err != nil {
		return View{}, err
	}
	manual := status == Away || status == Busy
	if expires != nil && !manual {
		return View{}, fault.Field("expiresAt", "expiresAt is given with away and busy only")
	}
	if err := e.checkExpiry("expiresAt", expires); err != nil {
		return View{}, err
	}
	if err := e.choose(ctx, v, status, expires); err != nil {
		return View{}, err
	}
	return e.read.Presence(ctx, v, v.User)
}

// choose parks what the choice is of, or counts it again, and writes the choice.
func (e *Editor) choose(ctx context.Context, v viewer.Viewer, status Status, expires *time.Time) error {
	park := status == Offline
	held, err := e.sessions.park(ctx, v.Session, v.Key, park)
	if err != nil || held && park {
		return err
	}
	var parked []uuid.UUID
	err = postgres.QuietBatch(ctx, e.w.pool, func(b *pgx.Batch) {
		if !held {
			queueParking(b, v.Key, park, e.w.now(), &parked)
		}
		if !park {
			const q = `
insert into realtime.presence as p (tenant, user_id, manual_status, manual_until) values ($1, $2, nullif($3, 'online'), $4)
on conflict (tenant, user_id) do update
   set manual_status = excluded.manual_status, manual_until = excluded.manual_until, updated_at = clock_timestamp()
 where (p.manual_status, p.manual_until) is distinct from (excluded.manual_status, excluded.manual_until)`
			b.Queue(q, v.Tenant, v.User, string(status), expires)
		}
	})
	if err != nil {
		return fmt.Errorf("choosing a status: %w", err)
	}
	if !park || len(parked) > 0 {
		e.w.ring(v.Key)
	}
	e.ringSessions(parked...)
	return nil
}

// queueParking parks all of a user's sessions, or counts them again, wherever
// their sockets are; ids are those that it changed.
func queueParking(b *pgx.Batch, k Key, on bool, now time.Time, ids *[]uuid.UUID) {
	const park = `
update realtime.sessions set parked_at = greatest(parked_at, $3)
 where tenant = $1 and user_id = $2 and counts and ended_at is null and (parked_at is null or parked_at < last_active_at) returning id`
	const unpark = `
update realtime.sessions set last_active_at = greatest(last_active_at, $3, parked_at + interval '1 microsecond'), idle = false, touched = true
 where tenant = $1 and user_id = $2 and ended_at is null and parked_at >= last_active_at returning id`
	q := unpark
	if on {
		q = park
	}
	b.Queue(q, k.Tenant, k.User, now).Query(func(rows pgx.Rows) (err error) {
		*ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	var t touched
	t.add(k, &now)
	t.lock(b)
	t.write(b)
}

func (e *Editor) ringSessions(ids ...uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	topics := make([]string, len(ids))
	for i, id := range ids {
		topics[i] = "session/" + id.String()
	}
	e.w.bell.Ring(topics...)
}

// SetCustom sets the caller's own line; an empty one clears it.
func (e *Editor) SetCustom(ctx context.Context, v viewer.Viewer, c Custom) (View, error) {
	if err := v.Denied(); err != nil {
		return View{}, err
	}
	c, err := e.checkCustom(c)
	if err != nil {
		return View{}, err
	}
	const q = `
insert into realtime.presence as p (tenant, user_id, custom_text, custom_emoji, custom_expires_at) values ($1, $2, $3, $4, $5)
on conflict (tenant, user_id) do update
   set custom_text = excluded.custom_text, custom_emoji = excluded.custom_emoji,
       custom_expires_at = excluded.custom_expires_at, updated_at = clock_timestamp()
 where (p.custom_text, p.custom_emoji, p.custom_expires_at)
       is distinct from (excluded.custom_text, excluded.custom_emoji, excluded.custom_expires_at)`
	err = postgres.QuietBatch(ctx, e.w.pool, func(b *pgx.Batch) { b.Queue(q, v.Tenant, v.User, c.Text, c.Emoji, c.ExpiresAt) })
	if err != nil {
		return View{}, fmt.Errorf("writing a custom status: %w", err)
	}
	e.w.ring(v.Key)
	return e.read.Presence(ctx, v, v.User)
}

func (e *Editor) checkCustom(c Custom) (Custom, error) {
	c.Text, c.Emoji = trimmed(c.Text), trimmed(c.Emoji)
	if c.Text == nil && c.Emoji == nil {
		return Custom{}, nil
	}
	if err := e.checkExpiry("input.expiresAt", c.ExpiresAt); err != nil {
		return c, err
	}
	if c.Text != nil {
		if most := cmp.Or(e.w.rules.StatusText, MaxStatusText); utf8.RuneCountInString(*c.Text) > most {
			return c, fault.Field("input.text", "text has more than %d characters", most)
		}
		if !printable(*c.Text) {
			return c, fault.Field("input.text", "text holds control characters")
		}
	}
	if c.Emoji != nil && !isEmoji(*c.Emoji) {
		return c, fault.Field("input.emoji", "emoji is not one emoji")
	}
	return c, nil
}

func (e *Editor) checkExpiry(field string, at *time.Time) error {
	if at == nil {
		return nil
	}
	now := e.w.now()
	if !at.After(now) {
		return fault.Field(field, "%s is in the past", field[strings.LastIndexByte(field, '.')+1:])
	}
	if at.After(now.Add(maxExpiryAhead)) {
		return fault.Field(field, "%s is more than a year ahead", field[strings.LastIndexByte(field, '.')+1:])
	}
	return nil
}

func trimmed(s *string) *string {
	if s == nil {
		return nil
	}
	if t := strings.TrimSpace(*s); t != "" {
		return &t
	}
	return nil
}

// printable: valid text without control characters, nor the directional
// overrides that let one name pass for another.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return false
		}
	}
	return true
}

// isEmoji: one grapheme that is shown as a picture.
func isEmoji(s string) bool {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxEmojiRunes || uniseg.GraphemeClusterCount(s) != 1 {
		return false
	}
	keycap := strings.HasSuffix(s, "\u20e3")
	picture := keycap
	for _, r := range s {
		switch {
		case r == '\u200d' || r == '\ufe0f' || r == '\u20e3' || r >= 0xe0020 && r <= 0xe007f:
		case keycap && (r >= '0' && r <= '9' || r == '#' || r == '*'):
		case unicode.Is(unicode.So, r) || unicode.Is(unicode.Sk, r) && r > 0x7f || r == '\u203c' || r == '\u2049' || unicode.Is(unicode.Sm, r) && r > 0xff,
			r == 0xa9 || r == 0xae || r == 0x3030 || r == 0x303d:
			picture = true
		default:
			return false
		}
	}
	return picture
}
