package events

import (
	"context"
	"os"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// oddSets are what an app may write into a message.
var oddSets = []string{
	`edited_at = 'infinity'`, `edited_at = '-infinity'`, `edited_at = '10000-01-01'`, `edited_at = '0001-01-01 BC'`,
	`created_at = 'infinity'`, `created_at = '-infinity'`, `created_at = '294276-12-31'`, `created_at = '4713-01-01 BC'`,
	`deleted_at = 'infinity'`, `deleted_at = '-infinity'`, `is_deleted = true, updated_at = 'infinity'`, `is_deleted = true, updated_at = '-infinity'`,
	`scheduled_at = 'infinity', published_at = 'infinity'`, `scheduled_at = '-infinity', published_at = '0044-03-15 BC'`,
	`mentions = array[null]::uuid[]`, `mentions = array[[user_id, null]]`, `mentions = array_fill(user_id, array[5000])`,
	`type = 'poll'`, `type = null, is_system = null, is_deleted = null, is_edited = null`, `user_id = null`, `parent_message_id = id, thread_id = id`,
	`content = null`, `content = repeat('x', 5000000)`, `content = ''`, `metadata = null`, `metadata = 'null'`, `metadata = '7'`,
	`metadata = '{"n": 1e131071}'`, `metadata = (select jsonb_agg('1e131071'::jsonb) from generate_series(1, 9000))`,
	`metadata = (repeat('[', 3000) || repeat(']', 3000))::jsonb`, `metadata = jsonb_build_object('s', repeat('x', 5000000))`,
}

// TestOddRowsStopNobody: whatever an app writes into a message, every road goes
// on, for the members of its channel and for tenants that share nothing with it.
func TestOddRowsStopNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pgtest.Uncopyable(t, r.pool, "nchat_messages", "nchat_channel_members")
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, scheduled_at) values ($1, $2, 'later', 'infinity')`, demo.AliceBob, demo.Bob)
	r.exec(`update public.nchat_channel_members set role = 'moderator' where channel_id = $1 and user_id = $2`, demo.Team, demo.Carol)
	r.exec(`alter type public.message_type add value 'poll'`)
	r.run()
	stranger, theirs := uuid.New(), uuid.New()
	r.exec(`insert into public.nchat_users (id, source_account_id, email, display_name) values ($1, 'other', 'x@example.com', 'x')`, stranger)
	r.exec(`insert into public.nchat_channels (id, source_account_id, name, slug, type) values ($1, 'other', 'theirs', 'theirs', 'private')`, theirs)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id, source_account_id) values ($1, $2, 'other')`, theirs, stranger)
	foreign := r.events(viewer.Of("other", stranger), Query{Kinds: []Kind{KindMessages}})
	all := r.events(bob, Query{Kinds: []Kind{KindMessages}})
	_, cursor := want[StreamReset](t, all)
	one, _ := begin(r, func(ctx context.Context, fail func(error)) (<-chan MessageEvent, error) {
		return r.Messages(ctx, bob, demo.Team, false, fail)
	})
	odd := map[uuid.UUID]string{}
	for _, set := range oddSets {
		for _, channel := range oddPlaces {
			at := r.says(demo.Alice, channel, "odd")
			odd[at] = set
			r.exec(`update public.nchat_messages set `+set+` where id = $1`, at)
		}
		after := r.says(demo.Alice, demo.AliceBob, "after")
		came(t, foreign, r.says(stranger, theirs, "after"))
		came(t, all, after)
		after = r.says(demo.Alice, demo.Team, "after")
		came(t, all, after)
		for {
			if e, open := next(t, one); !open {
				t.Fatal(set, "ended the stream of its channel")
			} else if e.Message.ID == after {
				break
			}
		}
		p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor, First: 1000})
		if err != nil || p.More {
			t.Fatalf("%s: %v, more %v", set, err, p.More)
		}
		if fresh, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{}); err != nil || len(fresh.Messages) == 0 {
			t.Fatalf("%s: %v", set, err)
		}
		if _, err := r.o.Receipts.Current(t.Context(), bob, nil); err != nil {
			t.Fatalf("%s: %v", set, err)
		}
		came(t, r.events(bob, Query{Cursor: cursor, Kinds: []Kind{KindMessages}}), after) // by the table
	}
	told := map[uuid.UUID]bool{}
	p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor, First: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range p.Messages {
		m, _ := MessageOf(body)
		told[m.ID] = true
	}
	for _, id := range p.Deleted {
		told[id] = true
	}
	for id, set := range odd {
		if !told[id] {
			t.Error(set, "is not told at all")
		}
	}
}

// oddPlaces are where they do: in a direct channel the log looks at what was written before.
var oddPlaces = []uuid.UUID{demo.Team, demo.AliceBob}

// came waits for a message.
func came(t *testing.T, in <-chan Event, message uuid.UUID) {
	t.Helper()
	for {
		e, open := next(t, in)
		if !open {
			t.Fatal("the stream ended")
		}
		if p, ok := e.Payload.(MessageCreated); ok && p.Message.ID == message {
			return
		}
	}
}

// TestAHugeRowStopsNobody: one of which Postgres can make no JSON. It takes a
// gigabyte for some seconds.
func TestAHugeRowStopsNobody(t *testing.T) {
	t.Parallel()
	if os.Getenv("HUGE_ROW") == "" {
		t.Skip("HUGE_ROW is not set")
	}
	r := newRig(t).run()
	all := r.events(bob, Query{Kinds: []Kind{KindMessages}})
	want[StreamReset](t, all)
	for _, set := range []string{`content = repeat('x', 290000000)`, `content = repeat('x', 100000000), content_html = repeat('y', 100000000), content_plain = repeat('z', 100000000)`} {
		for _, channel := range oddPlaces {
			at := r.says(demo.Alice, channel, "huge")
			r.exec(`update public.nchat_messages set `+set+` where id = $1`, at)
			came(t, all, r.says(demo.Alice, channel, "after"))
		}
	}
}

// oddOthers are what an app may write into its other tables: of a channel ($1), where
// bob is a member, and of another member ($2).
var oddOthers = []string{
	`update public.nchat_channels set type = 'forum' where id = $1 and $2::uuid is not null`,
	`update public.nchat_channels set type = null, name = null, is_archived = null, is_readonly = null where id = $1 and $2::uuid is not null`,
	`update public.nchat_channels set is_archived = null, archived_at = 'infinity', last_message_at = '-infinity', created_at = '294276-12-31' where id = $1 and $2::uuid is not null`,
	`update public.nchat_channels set archived_at = null, type = 'direct', last_message_at = 'infinity' where id = $1 and $2::uuid is not null`,
	`update public.nchat_channels set archived_at = '0044-03-15 BC', created_at = '-infinity' where id = $1 and $2::uuid is not null`,
	`update public.nchat_channels set archived_at = null, type = 'public', source_account_id = null where id = $1 and $2::uuid is not null`,
	`update public.nchat_channel_members set role = 'bishop' where channel_id = $1 and user_id = $2`,
	`update public.nchat_channel_members set role = null, can_read = null, can_write = null, is_muted = null, notification_level = null where channel_id = $1 and user_id = $2`,
	`update public.nchat_channel_members set joined_at = 'infinity', created_at = 'infinity', last_read_at = 'infinity' where channel_id = $1 and user_id = $2`,
	`update public.nchat_channel_members set joined_at = '0044-03-15 BC', created_at = '-infinity', last_read_at = '-infinity' where channel_id = $1 and user_id = $2`,
	`update public.nchat_channel_members set joined_at = '294276-12-31', created_at = null, last_read_at = '294276-12-31', source_account_id = null where channel_id = $1 and user_id = $2`,
	`update public.nchat_users set created_at = 'infinity', last_seen_at = 'infinity' where $1::uuid is not null and id = $2`,
	`update public.nchat_users set source_account_id = null, created_at = '0044-03-15 BC' where $1::uuid is not null and id = $2`,
	`update public.nchat_users set deleted_at = 'infinity', last_seen_at = '-infinity' where $1::uuid is not null and id = $2`,
	`update public.nchat_users set deleted_at = '-infinity' where $1::uuid is not null and id = $2`,
	`update public.nchat_users set deleted_at = '294276-12-31' where $1::uuid is not null and id = $2`,
	`update public.nchat_users set deleted_at = null, source_account_id = 'primary', display_name = repeat('x', 100), status = null where $1::uuid is not null and id = $2`,
	`insert into public.nchat_channels (source_account_id, name, slug) select null, 'nobody''s', 'nobodys' where $1::uuid is not null and $2::uuid is not null`,
	`insert into public.nchat_users (source_account_id, email, display_name) select null, 'nobody@example.com', 'x' where $1::uuid is not null and $2::uuid is not null`,
	`delete from public.nchat_users where email = 'nobody@example.com' and $1::uuid is not null and $2::uuid is not null`,
	`delete from public.nchat_channels where slug = 'nobodys' and $1::uuid is not null and $2::uuid is not null`,
}

// TestOddRowsOfOtherTablesStopNobody: whatever an app writes into its channels, members
// and users it may write, and every road goes on, also for those of whom it is.
func TestOddRowsOfOtherTablesStopNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`alter type public.channel_type add value 'forum'`)
	r.exec(`alter type public.member_role add value 'bishop'`)
	for table, columns := range map[string][]string{
		"nchat_channels": {"source_account_id", "type", "name", "created_at"}, "nchat_users": {"source_account_id", "created_at"},
		"nchat_channel_members": {"source_account_id", "joined_at", "created_at"},
	} {
		for _, column := range columns {
			r.exec(`alter table public.` + table + ` alter column ` + column + ` drop not null`)
		}
	}
	odd := uuid.New()
	r.exec(`insert into public.nchat_channels (id, name, slug, type) values ($1, 'odd', 'odd', 'group')`, odd)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2), ($1, $3)`, odd, demo.Bob, demo.Carol)
	r.run()
	all := r.events(bob, Query{})
	_, cursor := want[StreamReset](t, all)
	for _, set := range oddOthers {
		r.exec(set, odd, demo.Carol)
		r.says(demo.Carol, odd, "odd")
		r.says(demo.Bob, odd, "odd")
		last := r.says(demo.Alice, demo.Team, "after")
		came(t, all, last)
		for _, v := range []viewer.Viewer{bob, viewer.Of("primary", demo.Carol)} {
			if _, err := r.o.Feed.Sync(t.Context(), v, feed.Query{}); err != nil {
				t.Fatalf("%s: %v", set, err)
			}
			if _, err := r.o.Receipts.Current(t.Context(), v, nil); err != nil {
				t.Fatalf("%s: %v", set, err)
			}
			if _, err := r.o.Receipts.CurrentTotals(t.Context(), v); err != nil {
				t.Fatalf("%s: %v", set, err)
			}
			if _, err := r.presence.Read.Presences(t.Context(), v, []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}); err != nil {
				t.Fatalf("%s: %v", set, err)
			}
		}
		if p, err := r.o.Feed.Sync(t.Context(), bob, feed.Query{Cursor: cursor, First: 1000}); err != nil || p.More {
			t.Fatalf("%s: %v, more %v", set, err, p.More)
		}
	}
	last := r.says(demo.Alice, demo.Team, "the end")
	came(t, r.events(bob, Query{Cursor: cursor}), last)
	if p, err := r.o.Feed.Sync(t.Context(), viewer.Of("primary", demo.Carol), feed.Query{}); err != nil || len(p.Channels) < 2 {
		t.Errorf("whose rows are odd has %d channels in the end: %v", len(p.Channels), err)
	}
}
