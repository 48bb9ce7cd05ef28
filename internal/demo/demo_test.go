package demo_test

import (
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// nchats are nchat's own tables as its migrations leave them: other columns than
// where ours made them, some of which must have a value that only the app gives.
const nchats = `
create type public.user_status as enum ('active', 'inactive', 'suspended', 'deleted');
create type public.channel_type as enum ('public', 'private', 'direct', 'group', 'announcement');
create type public.message_type as enum ('text', 'system', 'bot', 'file', 'voice', 'video', 'embed');
create type public.member_role as enum ('owner', 'admin', 'moderator', 'member', 'guest');
create table public.nchat_users (
  id uuid primary key default gen_random_uuid(), email varchar(255) unique not null, display_name varchar(100) not null,
  username varchar(50) unique, avatar_url text not null default 'none.png', status public.user_status not null, email_verified boolean not null,
  password_hash varchar(20) not null, login_count integer not null, joined timestamptz not null, prefs jsonb not null, tags text[] not null,
  metadata jsonb default '{}', last_seen_at timestamptz, deleted_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table public.nchat_channels (
  id uuid primary key default gen_random_uuid(), workspace_id uuid, name varchar(100) not null, slug varchar(100) not null,
  type public.channel_type not null default 'public', is_archived boolean default false, member_count integer default 0,
  created_by uuid references public.nchat_users (id), created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
  unique (workspace_id, slug));
create table public.nchat_threads (
  id uuid primary key default gen_random_uuid(), channel_id uuid not null references public.nchat_channels (id) on delete cascade,
  root_message_id uuid unique, is_locked boolean default false, created_at timestamptz not null default now());
create table public.nchat_messages (
  id uuid primary key default gen_random_uuid(), channel_id uuid not null references public.nchat_channels (id) on delete cascade,
  user_id uuid references public.nchat_users (id) on delete set null, thread_id uuid references public.nchat_threads (id), content text not null,
  type public.message_type default 'text', is_deleted boolean default false, deleted_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
alter table public.nchat_threads add foreign key (root_message_id) references public.nchat_messages (id);
create table public.nchat_channel_members (
  id uuid primary key default gen_random_uuid(), channel_id uuid not null references public.nchat_channels (id) on delete cascade,
  user_id uuid not null references public.nchat_users (id) on delete cascade, role public.member_role default 'member', is_muted boolean not null,
  joined_at timestamptz not null default now(), unique (channel_id, user_id));`

// TestTheWorldFitsTheTablesThereAre: nchat's own ones, empty; once.
func TestTheWorldFitsTheTablesThereAre(t *testing.T) {
	t.Parallel()
	for what, tables := range map[string]string{"ours": "", "nchat's": nchats, "without a picture by default": strings.Replace(nchats, "text not null default 'none.png'", "varchar(9) not null unique", 1)} {
		pool := pgtest.Pool(t, pgtest.Empty(t))
		if _, err := pool.Exec(t.Context(), tables); err != nil {
			t.Fatal(err)
		}
		pgtest.Migrate(t, pool)
		loaded, err := demo.Load(t.Context(), pool)
		if err != nil || !loaded {
			t.Fatalf("%s: %v %v", what, loaded, err)
		}
		var got [4]int
		const q = `select (select count(*) from public.nchat_users), (select count(*) from public.nchat_channels),
			(select count(*) from public.nchat_channel_members), (select count(*) from public.nchat_messages)`
		if err := pool.QueryRow(t.Context(), q).Scan(&got[0], &got[1], &got[2], &got[3]); err != nil || got != [4]int{6, 5, 15, 13} {
			t.Errorf("%s: %v users, channels, members and messages, %v", what, got, err)
		}
		var odd int
		if err := pool.QueryRow(t.Context(), `select count(*) from public.nchat_users where avatar_url = '' or avatar_url <> 'none.png' and $1`, what == "nchat's").Scan(&odd); err != nil || odd != 0 {
			t.Errorf("%s: %d odd pictures, %v", what, odd, err)
		}
		if again, err := demo.Load(t.Context(), pool); again || err != nil {
			t.Errorf("%s: a second time %v, %v", what, again, err)
		}
	}
}
