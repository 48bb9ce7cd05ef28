package receipt_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

func notifier(pool *pgxpool.Pool) *receipt.Notifier {
	return receipt.NewNotifier(receipt.NotifierOptions{Pool: pool, Now: time.Now, Committed: func() {}, Log: slog.New(slog.DiscardHandler)})
}

func at(level receipt.Level) receipt.Choice { return receipt.Choice{Level: &level} }

func until(t time.Time) receipt.Choice { return receipt.Choice{Mutes: true, Until: &t} }

var unmuted = receipt.Choice{Mutes: true}

// hears checks what bob wants to hear of the team's channel, as asked and as
// everybody who decides by it reads it.
func (r *rig) hears(what string, level receipt.Level, muted bool) {
	r.t.Helper()
	got, err := notifier(r.pool).Of(r.t.Context(), as(demo.Bob), demo.Team)
	if err != nil || got.Level != level || (got.MutedUntil != nil) != muted {
		r.t.Errorf("%s: %+v %v, want %s, muted %v", what, got, err, level, muted)
	}
	notify := string(level)
	if muted {
		notify = "none"
	}
	if n := r.count(`select count(*) from realtime.readers() r where r.channel_id = $1 and r.user_id = $2 and r.notify = $3`, demo.Team, demo.Bob, notify); n != 1 {
		r.t.Errorf("%s: not %s to those who decide by it", what, notify)
	}
}

// changes is how many changes of it the log tells bob of; the inbox is emptied.
func (r *rig) changes() int {
	r.t.Helper()
	if err := r.settle(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	n := r.count(`select count(*) from realtime.log where kind = 'notify' and user_id = $1 and channel_id = $2`, demo.Bob, demo.Team)
	r.exec(`update realtime.log set kind = 'member' where kind = 'notify'`)
	return n
}

// TestNotifications: what is chosen is what is read, whatever columns nchat's
// table has, and each change is told once.
func TestNotifications(t *testing.T) {
	t.Parallel()
	for _, lacks := range []string{"", "is_muted", "notification_level", "both", "is_muted, but muted_until", "none"} {
		t.Run("without "+lacks, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			for _, col := range []string{"is_muted", "notification_level"} {
				if strings.HasPrefix(lacks, col) || lacks == "both" {
					r.exec(`alter table public.nchat_channel_members drop column ` + col + ` cascade`)
				}
			}
			if lacks == "none" || strings.HasSuffix(lacks, "muted_until") {
				r.exec(`alter table public.nchat_channel_members add column muted_until timestamptz`)
			}
			pgtest.Migrate(t, r.pool)
			n := notifier(r.pool)
			r.hears("at first", receipt.LevelAll, false)
			r.changes()
			for i, c := range []struct {
				choice  receipt.Choice
				level   receipt.Level
				muted   bool
				changes int
			}{
				{at(receipt.LevelMentions), receipt.LevelMentions, false, 1},
				{at(receipt.LevelMentions), receipt.LevelMentions, false, 0},
				{until(time.Now().Add(time.Hour)), receipt.LevelMentions, true, 1},
				{at(receipt.LevelAll), receipt.LevelAll, true, 1},
				{unmuted, receipt.LevelAll, false, 1},
				{unmuted, receipt.LevelAll, false, 0},
				{at(receipt.LevelNone), receipt.LevelNone, false, 1},
				{until(time.Now().Add(receipt.MaxMute - time.Hour)), receipt.LevelNone, true, 1},
				{receipt.Choice{Level: at(receipt.LevelAll).Level, Mutes: true}, receipt.LevelAll, false, 1},
			} {
				got, err := n.Set(t.Context(), as(demo.Bob), demo.Team, c.choice)
				if err != nil || got.Level != c.level || (got.MutedUntil != nil) != c.muted || got.ChannelID != demo.Team {
					t.Errorf("%d: answered %+v %v", i, got, err)
				}
				r.hears(fmt.Sprint(i), c.level, c.muted)
				if n := r.changes(); n != c.changes {
					t.Errorf("%d: told %d times, want %d", i, n, c.changes)
				}
			}
			if n := r.count(`select count(*) from realtime.notifications where level is null and muted_until is null`); n != 0 {
				t.Errorf("%d rows say nothing", n)
			}
		})
	}
}

// TestMuteWrittenPastUs: nchat's own columns, written by Hasura or SQL, count at
// once and are told; an end that they do not say is none.
func TestMuteWrittenPastUs(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	mine := fmt.Sprintf(` where channel_id = '%s' and user_id = '%s'`, demo.Team, demo.Bob)
	if _, err := notifier(r.pool).Set(t.Context(), as(demo.Bob), demo.Team, until(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	r.changes()
	for i, c := range []struct {
		set     string
		level   receipt.Level
		muted   bool
		changes int
	}{
		{`is_muted = true`, receipt.LevelAll, true, 0}, // it was
		{`is_muted = false`, receipt.LevelAll, false, 1},
		{`is_muted = true`, receipt.LevelNone, false, 1},
		{`is_muted = null`, receipt.LevelAll, false, 1},
		{`notification_level = 'mentions'`, receipt.LevelMentions, false, 1},
		{`notification_level = 'whatever'`, receipt.LevelAll, false, 1},
		{`notification_level = null`, receipt.LevelAll, false, 1},
		{`unread_count = 7`, receipt.LevelAll, false, 0},
	} {
		r.exec(`update public.nchat_channel_members set ` + c.set + mine)
		r.hears(c.set, c.level, c.muted)
		if n := r.changes(); n != c.changes {
			t.Errorf("%d, %s: told %d times, want %d", i, c.set, n, c.changes)
		}
	}
	// What was muted without an end is unmuted by either field.
	for _, c := range []receipt.Choice{unmuted, at(receipt.LevelAll)} {
		r.exec(`update public.nchat_channel_members set is_muted = true` + mine)
		if got, err := notifier(r.pool).Set(t.Context(), as(demo.Bob), demo.Team, c); err != nil || got.Level != receipt.LevelAll {
			t.Errorf("%+v: %+v %v", c, got, err)
		}
	}
	if _, err := notifier(r.pool).Set(t.Context(), as(demo.Bob), demo.Team, until(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	r.exec(`delete from public.nchat_channel_members` + mine)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Bob)
	r.hears("come back", receipt.LevelAll, false)
	if n := r.count(`select count(*) from realtime.notifications`); n != 0 {
		t.Error("what was chosen outlives the membership")
	}
}

// TestAMutesEndWrittenPastUs: an app may have a column for it, and write it without is_muted.
func TestAMutesEndWrittenPastUs(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.exec(`alter table public.nchat_channel_members add column muted_until timestamptz`)
	pgtest.Migrate(t, r.pool)
	mine := fmt.Sprintf(` where channel_id = '%s' and user_id = '%s'`, demo.Team, demo.Bob)
	r.changes()
	for i, c := range []struct {
		set     string
		level   receipt.Level
		muted   bool
		changes int
	}{
		{`muted_until = now() + interval '1 hour'`, receipt.LevelAll, true, 1},
		{`is_muted = null`, receipt.LevelAll, true, 1},
		{`muted_until = now() - interval '1 hour'`, receipt.LevelAll, false, 1},
		{`muted_until = 'infinity'`, receipt.LevelNone, false, 1},
		{`muted_until = '294276-12-31'`, receipt.LevelNone, false, 1},
		{`muted_until = '-infinity'`, receipt.LevelAll, false, 1},
		{`muted_until = '0044-03-15 BC', is_muted = true`, receipt.LevelNone, false, 1},
		{`muted_until = null, is_muted = false`, receipt.LevelAll, false, 1},
		{`muted_until = now() + interval '5 years'`, receipt.LevelAll, true, 1},
	} {
		r.exec(`update public.nchat_channel_members set ` + c.set + mine)
		r.hears(c.set, c.level, c.muted)
		if n := r.changes(); n != c.changes {
			t.Errorf("%d, %s: told %d times, want %d", i, c.set, n, c.changes)
		}
	}
	column := func(what string) int {
		return r.count(`select count(*) from public.nchat_channel_members` + mine + ` and ` + what)
	}
	set := func(c receipt.Choice, is string) {
		t.Helper()
		if _, err := notifier(r.pool).Set(t.Context(), as(demo.Bob), demo.Team, c); err != nil || column(is) != 1 {
			t.Errorf("%s does not hold: %v", is, err)
		}
	}
	set(unmuted, `muted_until is null`)
	r.hears("unmuted by us", receipt.LevelAll, false)
	set(until(time.Now().Add(time.Hour)), `muted_until > now()`)
	r.hears("muted by us", receipt.LevelAll, true)
	r.exec(`update public.nchat_channel_members set muted_until = 'infinity'` + mine)
	set(at(receipt.LevelMentions), `muted_until is null`)
	r.hears("without an end, and a level chosen", receipt.LevelMentions, false)
	// What the app muted ends by itself, and is told.
	r.exec(`update public.nchat_channel_members set muted_until = now() + interval '1 hour'` + mine)
	r.exec(`set session_replication_role = replica; update public.nchat_channel_members set muted_until = now() - interval '1 second'` + mine +
		`; update realtime.notifications set muted_until = now() - interval '1 second'; reset session_replication_role`)
	r.changes()
	r.exec(`select realtime.unmute(10)`)
	if n := r.changes(); n != 1 || column(`muted_until is null`) != 1 {
		t.Errorf("the end is told %d times", n)
	}
	r.hears("over", receipt.LevelMentions, false)
	// Whose row comes with it hears of the end too.
	r.exec(`delete from public.nchat_channel_members` + mine)
	r.exec(fmt.Sprintf(`insert into public.nchat_channel_members (channel_id, user_id, muted_until) values ('%s', '%s', now() + interval '1 hour')`, demo.Team, demo.Bob))
	r.exec(`update realtime.notifications set muted_until = now() - interval '1 second'`)
	r.changes()
	r.exec(`select realtime.unmute(10)`)
	if n := r.changes(); n != 1 {
		t.Errorf("the end of a mute that came with its row is told %d times", n)
	}
}

// TestMuteIsOver: it ends by itself, in nchat's column too, told once, however
// many look; whose row somebody holds is left for the next look; and until then
// it is over all the same.
func TestMuteIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	n := notifier(r.pool)
	if _, err := n.Set(t.Context(), as(demo.Bob), demo.Team, until(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	r.changes()
	r.exec(`update realtime.notifications set muted_until = clock_timestamp() - interval '1 second'`)
	r.hears("over, and not yet written", receipt.LevelAll, false)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `select from public.nchat_channel_members where user_id = $1 for update`, demo.Bob); err != nil {
		t.Fatal(err)
	}
	r.exec(`select realtime.unmute(10)`)
	if got := r.changes(); got != 0 {
		t.Error("a row that somebody holds was not left alone")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	for range 2 {
		go func() { n.Run(ctx); ended <- struct{}{} }()
	}
	for deadline := time.Now().Add(30 * time.Second); r.count(`select count(*) from realtime.notifications`) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the mute does not end")
		}
	}
	cancel()
	<-ended
	<-ended
	if got := r.changes(); got != 1 {
		t.Errorf("told %d times", got)
	}
	if n := r.count(`select count(*) from public.nchat_channel_members where is_muted and user_id = $1 and channel_id = $2`, demo.Bob, demo.Team); n != 0 {
		t.Error("nchat's own column still says muted")
	}
}

// TestNotificationsAreRefused: to whoever is no member, whatever the channel is,
// and what makes no sense.
func TestNotificationsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	n := notifier(r.pool)
	r.exec(`update public.nchat_channel_members set can_read = false where user_id = $1 and channel_id = $2`, demo.Carol, demo.Team)
	r.exec(`delete from public.nchat_channel_members where user_id = $1 and channel_id = $2`, demo.Frank, demo.General)
	for what, c := range map[string]struct {
		v       viewer.Viewer
		channel uuid.UUID
	}{
		"no member":            {as(demo.Dave), demo.Team},
		"none, and it is open": {as(demo.Frank), demo.General},
		"barred":               {as(demo.Carol), demo.Team},
		"no such channel":      {as(demo.Bob), uuid.New()},
		"another tenant":       {viewer.Of("other", demo.Bob), demo.Team},
		"nobody":               {viewer.Viewer{}, demo.Team},
	} {
		_, read := n.Of(t.Context(), c.v, c.channel)
		_, wrote := n.Set(t.Context(), c.v, c.channel, at(receipt.LevelNone))
		for _, err := range []error{read, wrote} {
			if err == nil || fault.From(err).Code != fault.Denied || fault.From(err).Retryable {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	for what, c := range map[string]receipt.Choice{
		"nothing":           {},
		"an end that is by": until(time.Now().Add(-time.Second)),
		"an end too far":    until(time.Now().Add(receipt.MaxMute + time.Hour)),
		"the year 9999":     until(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)),
		"before Christ":     until(time.Date(-44, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		if _, err := n.Set(t.Context(), as(demo.Bob), demo.Team, c); err == nil || fault.From(err).Code != fault.Invalid || fault.From(err).Field == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := r.changes(); got != 0 {
		t.Errorf("refused, and told %d times", got)
	}
}
