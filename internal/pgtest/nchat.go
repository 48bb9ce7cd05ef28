package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Nchat returns a pool on a database of nchat's own, with our migrations applied beside its
// tables: constraints, row level security, and triggers that name tables without their schema.
func Nchat(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Pool(t, NchatURL(t))
}

// NchatURL is the URL of such a database.
func NchatURL(t testing.TB) string {
	t.Helper()
	return clone(t, nchats)
}

// NchatTables are nchat's own tables before they had tenants, as far as they matter to us. Its
// counters begin as null, which stays null when it is counted on from.
const NchatTables = `
create type user_status as enum ('active', 'inactive', 'suspended', 'deleted');
create type presence_status as enum ('online', 'away', 'dnd', 'offline', 'invisible');
create type channel_type as enum ('public', 'private', 'direct', 'group', 'announcement');
create type message_type as enum ('text', 'system', 'bot', 'file', 'voice', 'video', 'embed');
create type member_role as enum ('owner', 'admin', 'moderator', 'member', 'guest');

create table nchat_users (id uuid primary key default gen_random_uuid(), email varchar(255) not null, username varchar(50), display_name varchar(100) not null,
  avatar_url text, status user_status not null default 'active', email_verified boolean not null, metadata jsonb, last_seen_at timestamptz, deleted_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create unique index on nchat_users (email);
create unique index on nchat_users (username);

create table nchat_channels (id uuid primary key default gen_random_uuid(), workspace_id uuid, name varchar(100) not null, slug varchar(100) not null,
  type channel_type not null default 'public', is_archived boolean default false, is_readonly boolean default false,
  member_count integer, message_count integer, last_message_id uuid, last_message_at timestamptz, created_by uuid references nchat_users on delete set null,
  archived_at timestamptz, created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create unique index on nchat_channels (workspace_id, slug);

create table nchat_messages (id uuid primary key default gen_random_uuid(), channel_id uuid not null references nchat_channels on delete cascade,
  user_id uuid references nchat_users on delete set null, thread_id uuid, parent_message_id uuid references nchat_messages on delete set null,
  content text, content_html text, content_plain text, type message_type not null default 'text', metadata jsonb default '{}', mentions uuid[],
  is_edited boolean default false, is_deleted boolean default false, is_system boolean default false, reply_count integer,
  scheduled_at timestamptz, published_at timestamptz, edited_at timestamptz, deleted_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table nchat_threads (id uuid primary key default gen_random_uuid(), channel_id uuid not null references nchat_channels on delete cascade,
  root_message_id uuid not null unique references nchat_messages on delete cascade, message_count integer, participant_count integer,
  is_locked boolean default false, is_archived boolean default false, last_message_at timestamptz,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
alter table nchat_messages add foreign key (thread_id) references nchat_threads on delete set null;

create table nchat_channel_members (id uuid primary key default gen_random_uuid(), channel_id uuid not null references nchat_channels on delete cascade,
  user_id uuid not null references nchat_users on delete cascade, role member_role default 'member', can_read boolean, can_write boolean,
  is_muted boolean default false, muted_until timestamptz, notification_level varchar(20) default 'all',
  last_read_message_id uuid references nchat_messages on delete set null, last_read_at timestamptz, unread_count integer default 0, mention_count integer default 0,
  joined_at timestamptz not null default now(), created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create unique index on nchat_channel_members (channel_id, user_id);
create table nchat_thread_members (id uuid primary key default gen_random_uuid(), thread_id uuid not null references nchat_threads on delete cascade,
  user_id uuid not null references nchat_users on delete cascade, last_read_message_id uuid references nchat_messages on delete set null,
  last_read_at timestamptz, unread_count integer default 0, is_subscribed boolean default true,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create unique index on nchat_thread_members (thread_id, user_id);
create table nchat_presence (id uuid primary key default gen_random_uuid(), user_id uuid not null unique references nchat_users on delete cascade,
  status presence_status not null default 'offline', custom_message varchar(255), last_heartbeat_at timestamptz not null default now(),
  current_channel_id uuid references nchat_channels on delete set null, device_info jsonb, is_mobile boolean default false,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table nchat_blocked_users (id uuid primary key default gen_random_uuid(), blocker_id uuid not null references nchat_users on delete cascade,
  blocked_user_id uuid not null references nchat_users on delete cascade, created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create unique index on nchat_blocked_users (blocker_id, blocked_user_id);

create function set_updated_at() returns trigger language plpgsql as $$ begin new.updated_at = now(); return new; end $$;
create function count_members() returns trigger language plpgsql as $$ begin
  if tg_op = 'INSERT' then update nchat_channels set member_count = member_count + 1 where id = new.channel_id;
  else update nchat_channels set member_count = member_count - 1 where id = old.channel_id; end if;
  return null; end $$;
create trigger count_members after insert or delete on nchat_channel_members for each row execute function count_members();
create function count_messages() returns trigger language plpgsql as $$
declare m nchat_messages; step integer := 1; begin
  if tg_op = 'INSERT' then m := new; else m := old; step := -1; end if;
  update nchat_channels set message_count = message_count + step, last_message_at = greatest(last_message_at, m.created_at) where id = m.channel_id;
  update nchat_threads set message_count = message_count + step, last_message_at = greatest(last_message_at, m.created_at) where id = m.thread_id;
  return null; end $$;
create trigger count_messages after insert or delete on nchat_messages for each row execute function count_messages();
do $$ declare t text; begin
  for t in select tablename from pg_tables where schemaname = 'public' and tablename like 'nchat%' loop
    execute format('create trigger set_updated_at before update on %I for each row execute function set_updated_at()', t);
    execute format('alter table %I enable row level security', t);
  end loop; end $$;
`

// NchatTenants is what a later migration of nchat's adds to them.
const NchatTenants = `
do $$ declare t text; begin
  for t in select tablename from pg_tables where schemaname = 'public' and tablename like 'nchat%' loop
    execute format('alter table %I add column source_account_id text not null default ''primary''', t);
  end loop; end $$;
`
