package feed

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// TestATruncateIsNoted: of messages, of members, and of channels with all they hold.
func TestATruncateIsNoted(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	say(t, pool, channels[0])
	start := mustSync(t, s, v, Query{}).Cursor
	say(t, pool, channels[1]) // in the inbox, or not
	mustExec(t, pool, `truncate public.nchat_messages cascade`)
	p := mustSync(t, s, v, Query{Cursor: start})
	if len(p.Left) != lawChannels || len(p.Messages) != 0 || len(p.Channels) != lawChannels {
		t.Errorf("of messages: %+v", p)
	}
	if n := number(t, pool, `select count(*) from realtime.messages where countable or not gone`); n != 0 {
		t.Errorf("%d messages are still counted", n)
	}
	id := say(t, pool, channels[0])
	if p = mustSync(t, s, v, Query{Cursor: p.Cursor}); len(p.Messages) != 1 || texts(p.Messages)[0].ID != id {
		t.Errorf("what comes after: %+v", p)
	}
	mustExec(t, pool, `truncate public.nchat_channel_members`)
	if p = mustSync(t, s, v, Query{Cursor: p.Cursor}); len(p.Left) != lawChannels {
		t.Errorf("of members: %+v", p)
	}
	mustExec(t, pool, `truncate public.nchat_channels cascade`)
	mustSync(t, s, v, Query{Cursor: p.Cursor})
	if n := number(t, pool, `select count(*) from realtime.log where kind = 'gone'`); n != lawChannels {
		t.Errorf("%d channels are said to be gone", n)
	}
	if n := number(t, pool, `select count(*) from realtime.stints where to_seq is null`); n != 0 {
		t.Errorf("%d are still members", n)
	}
}

// TestWhatWasWrittenPastTheTriggersIsFound: and noted when asked for.
func TestWhatWasWrittenPastTheTriggersIsFound(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	lost := say(t, pool, channels[0])
	start := mustSync(t, s, v, Query{}).Cursor
	came := uuid.New()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for q, args := range map[string][]any{
			`insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`:              {came, channels[1]},
			`delete from public.nchat_messages where id = $1`:                                               {lost},
			`insert into public.nchat_users (id, email, display_name) values ($1, 'past@example.com', 'x')`: {fixed('p', 1)},
			`delete from public.nchat_channel_members where channel_id = $1 and user_id <> $2`:              {channels[2], v.User},
		} {
			if _, err := tx.Exec(t.Context(), `set local session_replication_role = replica`); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), q, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Noted(t.Context(), pool); err == nil {
		t.Error("nothing is found")
	}
	if n := number(t, pool, `select realtime.reconcile()`); n != 3 {
		t.Errorf("%d are noted", n)
	}
	p := mustSync(t, s, v, Query{Cursor: start})
	if len(p.Messages) != 1 || texts(p.Messages)[0].ID != came || len(p.Deleted) != 1 || p.Deleted[0] != lost || len(p.Members) != 1 {
		t.Errorf("told: %+v", p)
	}
	if err := Noted(t.Context(), pool); err != nil {
		t.Errorf("all is noted: %v", err)
	}
	mustExec(t, pool, `alter table public.nchat_messages disable trigger "!realtime_feed_insert"`)
	if err := Noted(t.Context(), pool); err == nil {
		t.Error("a disabled trigger is not found")
	}
}
