package presence

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/rivo/uniseg"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// The limits of a custom status.
const (
	MaxStatusText = 255
	maxEmojiRunes = 16 // the longest family or flag sequence in Unicode has fewer
)

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
	if err := checkExpiry("input.expiresAt", c.ExpiresAt, e.w.now()); err != nil {
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
