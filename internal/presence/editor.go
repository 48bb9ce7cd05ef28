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
	if err := e.park(ctx, v, status == Offline); err != nil {
		return View{}, err
	}
	if status != Offline {
		const q = `
insert into realtime.presence as p (tenant, user_id, manual_status, manual_until) values ($1, $2, nullif($3, ''), $4)
on conflict (tenant, user_id) do update
   set manual_status = excluded.manual_status, manual_until = excluded.manual_until, updated_at = clock_timestamp()
 where (p.manual_status, p.manual_until) is distinct from (excluded.manual_status, excluded.manual_until)`
		chosen := ""
		if manual {
			chosen = string(status)
		}
		if err := e.exec(ctx, v.Key, q, chosen, expires); err != nil {
			return View{}, err
		}
	}
	return e.read.Presence(ctx, v, v.User)
}

// park sets the request's session offline or counts it again; without a socket
// of this node behind it, every session of the caller's, wherever it is.
func (e *Editor) park(ctx context.Context, v viewer.Viewer, on bool) error {
	if v.Session != uuid.Nil {
		if held, err := e.sessions.park(ctx, v.Session, v.Key, on); held || err != nil {
			return err
		}
	}
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
	now := e.w.now()
	var ids []uuid.UUID
	err := e.w.quietly(ctx, func(tx pgx.Tx) error {
		var t touched
		t.add(v.Key, &now)
		rows, err := tx.Query(ctx, q, v.Tenant, v.User, now)
		if err != nil {
			return fmt.Errorf("parking sessions: %w", err)
		}
		if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil || len(ids) == 0 {
			return err
		}
		if err := t.lock(ctx, tx); err != nil {
			return err
		}
		return t.write(ctx, tx)
	})
	if err == nil && len(ids) > 0 {
		e.w.ring(v.Key)
		e.ringSessions(ids...)
	}
	return err
}

func (e *Editor) ringSessions(ids ...uuid.UUID) {
	topics := make([]string, len(ids))
	for i, id := range ids {
		topics[i] = "session/" + id.String()
	}
	e.w.bell.Ring(topics...)
}

// exec writes one of the caller's rows ($1 tenant, $2 user) and rings.
func (e *Editor) exec(ctx context.Context, k Key, q string, args ...any) error {
	err := e.w.quietly(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, q, append([]any{k.Tenant, k.User}, args...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing presence: %w", err)
	}
	e.w.ring(k)
	return nil
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
	if err := e.exec(ctx, v.Key, q, c.Text, c.Emoji, c.ExpiresAt); err != nil {
		return View{}, err
	}
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
