package presence

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/text"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// MaxStatusText is how many characters a custom status may have.
const MaxStatusText = 255

// SetCustom sets the caller's own line; an empty one clears it.
func (e *Editor) SetCustom(ctx context.Context, v viewer.Viewer, c Custom) (View, error) {
	if err := v.Denied(); err != nil {
		return View{}, err
	}
	c, err := e.checkCustom(c)
	if err != nil {
		return View{}, err
	}
	err = postgres.QuietBatch(ctx, e.w.pool, func(b *pgx.Batch) { queueCustom(b, v.Key, c) })
	if err != nil {
		return View{}, fmt.Errorf("writing a custom status: %w", err)
	}
	e.w.ring(v.Key)
	return e.read.Presence(ctx, v, v.User)
}

func queueCustom(b *pgx.Batch, k Key, c Custom) {
	const q = `
insert into realtime.presence as p (tenant, user_id, custom_text, custom_emoji, custom_expires_at) values ($1, $2, $3, $4, $5)
on conflict (tenant, user_id) do update
   set custom_text = excluded.custom_text, custom_emoji = excluded.custom_emoji,
       custom_expires_at = excluded.custom_expires_at, updated_at = clock_timestamp()
 where (p.custom_text, p.custom_emoji, p.custom_expires_at)
       is distinct from (excluded.custom_text, excluded.custom_emoji, excluded.custom_expires_at)`
	b.Queue(q, k.Tenant, k.User, c.Text, c.Emoji, c.ExpiresAt)
}

func (e *Editor) checkCustom(c Custom) (Custom, error) {
	if c.Text != nil {
		line, ok := text.Line(*c.Text)
		if !ok {
			return c, fault.Field("input.text", "text holds control characters, or overrides the direction of what stands around it")
		}
		c.Text = &line
	}
	c.Text, c.Emoji = seen(c.Text), seen(c.Emoji)
	if c.Text == nil && c.Emoji == nil {
		return Custom{}, nil
	}
	if err := checkExpiry("input.expiresAt", c.ExpiresAt, e.w.now()); err != nil {
		return c, err
	}
	if most := cmp.Or(e.w.rules.StatusText, MaxStatusText); c.Text != nil && utf8.RuneCountInString(*c.Text) > most {
		return c, fault.Field("input.text", "text has more than %d characters", most)
	}
	if c.Emoji != nil && !text.Emoji(*c.Emoji) {
		return c, fault.Field("input.emoji", "emoji is not one emoji")
	}
	return c, nil
}

// seen is a text without space around it; nil: nothing of it can be seen.
func seen(s *string) *string {
	if s == nil || text.Blank(*s) {
		return nil
	}
	t := strings.TrimSpace(*s)
	return &t
}
