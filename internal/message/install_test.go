package message

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestInstallsWithFewerColumns: whatever nchat's table lacks, messages are sent,
// read, edited and deleted.
func TestInstallsWithFewerColumns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`do $$ declare t record; begin -- as before our first migration: triggers hold on to the columns they watch
	  for t in select tgname, tgrelid::regclass as tbl from pg_trigger where tgname like 'realtime%' and not tgisinternal loop
	    execute format('drop trigger %I on %s', t.tgname, t.tbl);
	  end loop; end $$`)
	for _, col := range []string{"thread_id", "parent_message_id", "metadata", "mentions", "content_plain", "content_html", "is_edited", "is_deleted", "is_system",
		"edited_at", "deleted_at", "scheduled_at", "published_at", "source_account_id"} {
		r.exec(`alter table public.nchat_messages drop column ` + col + ` cascade`)
	}
	r.exec(`alter table public.nchat_threads drop column is_locked, drop column is_archived`)
	r.exec(`alter table public.nchat_channels drop column is_archived, drop column archived_at, drop column is_readonly`)
	r.exec(`alter table public.nchat_channel_members drop column role, drop column can_read cascade, drop column can_write cascade`)
	pgtest.Migrate(t, r.pool)
	res := r.send(r.one, as(demo.Bob), say("k", demo.Team, "hello"))
	if res.Err != nil || res.Message == nil {
		t.Fatal(res)
	}
	if m, _, err := r.one.Edit(t.Context(), as(demo.Bob), res.Message.ID, "there", 1); err != nil || *m.Content != "there" {
		t.Fatal(m, err)
	}
	if m, err := r.one.Delete(t.Context(), as(demo.Bob), res.Message.ID); err != nil || m.For(demo.Bob).Content != nil {
		t.Fatal(m, err)
	}
	if n := r.count(`select count(*) from public.nchat_messages where id = $1`, res.Message.ID); n != 0 {
		t.Error("without a mark for it, a deletion is for good")
	}
	// What an install gains later is watched from the next migration on, and is made for it once.
	r.exec(`alter table public.nchat_channel_members add column can_read boolean not null default true; alter table public.nchat_messages add column is_deleted boolean`)
	pgtest.Migrate(t, r.pool)
	gone := r.send(r.one, as(demo.Bob), say("k2", demo.Team, "hello"))
	r.exec(`update public.nchat_messages set is_deleted = true where id = $1`, gone.Message.ID)
	r.exec(`select realtime.sequence(1000, false)`)
	if n := r.count(`select count(*) from realtime.messages where message_id = $1 and deleted`, gone.Message.ID); n != 1 {
		t.Error("a column that came later is not watched")
	}
	r.exec(`update public.nchat_channel_members set can_read = false where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	r.exec(`select realtime.sequence(1000, false)`)
	if n := r.count(`select count(*) from realtime.stints where channel_id = $1 and user_id = $2 and to_seq is null`, demo.Team, demo.Bob); n != 0 {
		t.Error("a right that came later is not watched")
	}
	before := r.count(`select coalesce(max(oid::bigint), 0) from pg_trigger where tgname like 'realtime%'`)
	pgtest.Migrate(t, r.pool)
	if n := r.count(`select coalesce(max(oid::bigint), 0) from pg_trigger where tgname like 'realtime%'`); n != before {
		t.Error("triggers are made anew though nothing changed")
	}
}

// TestInstallsBesideOtherTypes: where an app has types of its own that are named as nchat's are,
// the tables that are made have others, and in a table of the app's a message's type is of whatever
// type it is. What Postgres computes there is written by nobody.
func TestInstallsBesideOtherTypes(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, pool: pgtest.Pool(t, pgtest.Empty(t))}
	r.exec(`
create type public.user_status as enum ('active', 'retired');
create table public.channel_type (name text);
create type public.member_role as enum ('owner', 'admin', 'moderator', 'member', 'guest', 'pope');
create type public.message_type as enum ('letter');
create table public.nchat_messages (id uuid primary key default gen_random_uuid(), channel_id uuid not null, user_id uuid, thread_id uuid, content text, type varchar(20) not null default 'text',
  content_plain text generated always as (lower(content)) stored, content_html text generated always as ('<p>' || content || '</p>') stored,
  edited_at timestamptz, is_edited boolean generated always as (edited_at is not null) stored,
  deleted_at timestamptz, is_deleted boolean generated always as (deleted_at is not null) stored,
  created_at timestamptz not null default now())`)
	pgtest.Migrate(t, r.pool)
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	for column, want := range map[string]string{"nchat_users.status": "nchat_user_status", "nchat_channels.type": "nchat_channel_type", "nchat_channel_members.role": "member_role"} {
		table, name, _ := strings.Cut(column, ".")
		if n := r.count(`select count(*) from pg_attribute where attrelid = $1::text::regclass and attname = $2 and atttypid = $3::text::regtype`, table, name, want); n != 1 {
			t.Errorf("%s is not of type %s", column, want)
		}
	}
	if n := r.count(`select count(*) from pg_type where typname in ('nchat_member_role', 'nchat_message_type')`); n != 0 {
		t.Error("types are made that nothing has")
	}
	r.one = New(Options{Pool: r.pool, Committed: func() {}, Settle: r.settle, Content: 10000, Batch: 100, Log: slog.New(slog.DiscardHandler)})
	res := r.send(r.one, as(demo.Bob), say("k", demo.Team, "Hello"))
	if res.Err != nil || res.Message == nil || res.Message.Type != "text" {
		t.Fatal(res)
	}
	computed := func(want string) {
		t.Helper()
		const q = `select count(*) from public.nchat_messages where id = $1 and concat_ws(' ', content_plain, content_html, is_edited, is_deleted) = $2`
		if n := r.count(q, res.Message.ID, want); n != 1 {
			t.Errorf("want a message of %s", want)
		}
	}
	computed("hello <p>Hello</p> f f")
	if m, _, err := r.one.Edit(t.Context(), as(demo.Bob), res.Message.ID, "There", 1); err != nil || *m.Content != "There" || m.EditedAt == nil {
		t.Fatal(m, err)
	}
	computed("there <p>There</p> t f")
	if m, err := r.one.Delete(t.Context(), as(demo.Bob), res.Message.ID); err != nil || m.For(demo.Bob).Content != nil {
		t.Fatal(m, err)
	}
	computed("there <p>There</p> t t")
}

// TestAskingHoldsUpNobody: whoever may not write is answered at once, however
// busy the channel is, and so learns nothing of that.
func TestAskingHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sent := r.send(r.one, as(demo.Bob), say("k", demo.Team, "hello"))
	if sent.Err != nil {
		t.Fatal(sent.Err)
	}
	held, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := held.Exec(t.Context(), `select realtime.hold($1)`, demo.Team); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `select from public.nchat_messages where id = $1 for update`, sent.Message.ID); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if res, err := r.one.Send(ctx, as(demo.Dave), say("k", demo.Team, "hello")); err != nil || code(res.Err) != fault.Denied {
		t.Errorf("sending: %v %v", res.Err, err)
	}
	if _, _, err := r.one.Edit(ctx, as(demo.Dave), sent.Message.ID, "other", 1); !isDenied(err) {
		t.Errorf("editing: %v", err)
	}
	if _, err := r.one.Delete(ctx, as(demo.Dave), sent.Message.ID); !isDenied(err) {
		t.Errorf("deleting: %v", err)
	}
}

// TestAKeyIsNoRight: whoever was removed learns by its old keys nothing of what
// became of its messages.
func TestAKeyIsNoRight(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	in := say("k", demo.Team, "hello")
	if res := r.send(r.one, as(demo.Bob), in); res.Err != nil {
		t.Fatal(res.Err)
	}
	r.exec(`update public.nchat_channel_members set can_write = false where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	if res := r.send(r.one, as(demo.Bob), in); res.Err != nil || !res.Duplicate || res.Message == nil {
		t.Errorf("a reader who asks again: %+v", res)
	}
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	if res := r.send(r.one, as(demo.Bob), in); code(res.Err) != fault.Denied || res.Message != nil {
		t.Errorf("whoever was removed: %+v", res)
	}
}

func isDenied(err error) bool {
	f := fault.From(err)
	return err != nil && f.Code == fault.Denied
}
