-- +goose Up
-- nchat's own tables, for a database that does not have them: the same names,
-- types and defaults as nchat's. Where they exist, nothing here touches them.

-- The types of those that are to be made. An app may have one of its own by such a
-- name, with other labels or of another kind: ours is then called nchat_….
-- +goose StatementBegin
do $$
declare
  t record;
  called text;
begin
  for t in
    select * from (values
      ('nchat_users', 'user_status', array['active', 'inactive', 'suspended', 'deleted']),
      ('nchat_channels', 'channel_type', array['public', 'private', 'direct', 'group', 'announcement']),
      ('nchat_messages', 'message_type', array['text', 'system', 'bot', 'file', 'voice', 'video', 'embed']),
      ('nchat_channel_members', 'member_role', array['owner', 'admin', 'moderator', 'member', 'guest'])) v (tbl, typ, labels)
     where to_regclass('public.' || v.tbl) is null
  loop
    called := t.typ;
    if to_regtype('public.' || called) is not null and exists (
         select unnest(t.labels) except select e.enumlabel::text from pg_enum e where e.enumtypid = to_regtype('public.' || called)) then
      called := 'nchat_' || called;
    end if;
    if to_regtype('public.' || called) is null then
      execute format('create type public.%I as enum (%s)', called,
                     (select string_agg(quote_literal(l), ', ' order by n) from unnest(t.labels) with ordinality x (l, n)));
    end if;
    perform set_config('nchat_types.' || t.tbl, format('public.%I', called), true);
  end loop;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
  if to_regclass('public.nchat_users') is null then
    execute format($table$
    create table public.nchat_users (
      id uuid primary key default gen_random_uuid(),
      source_account_id text not null default 'primary',
      email varchar(255) unique not null,
      display_name varchar(100) not null,
      username varchar(50) unique,
      avatar_url text,
      status %s default 'active',
      email_verified boolean not null default false,
      metadata jsonb default '{}',
      last_seen_at timestamptz,
      deleted_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    )$table$, current_setting('nchat_types.nchat_users'));
  end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
  if to_regclass('public.nchat_channels') is null then
    execute format($table$
    create table public.nchat_channels (
      id uuid primary key default gen_random_uuid(),
      source_account_id text not null default 'primary',
      workspace_id uuid,
      name varchar(100) not null,
      slug varchar(100) not null,
      type %s not null default 'public',
      is_archived boolean default false,
      is_readonly boolean default false,
      member_count integer default 0,
      message_count integer default 0,
      last_message_at timestamptz,
      last_message_id uuid,
      created_by uuid references public.nchat_users (id) on delete set null,
      archived_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      unique (workspace_id, slug)
    )$table$, current_setting('nchat_types.nchat_channels'));
  end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
  if to_regclass('public.nchat_channel_members') is null then
    execute format($table$
    create table public.nchat_channel_members (
      id uuid primary key default gen_random_uuid(),
      source_account_id text not null default 'primary',
      channel_id uuid not null references public.nchat_channels (id) on delete cascade,
      user_id uuid not null references public.nchat_users (id) on delete cascade,
      role %s default 'member',
      can_read boolean,
      can_write boolean,
      is_muted boolean default false,
      notification_level varchar(20) default 'all',
      last_read_message_id uuid,
      last_read_at timestamptz,
      unread_count integer default 0,
      mention_count integer default 0,
      joined_at timestamptz not null default now(),
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      unique (channel_id, user_id)
    )$table$, current_setting('nchat_types.nchat_channel_members'));
    create index nchat_channel_members_user_idx on public.nchat_channel_members (user_id);
  end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
  if to_regclass('public.nchat_messages') is null then
    execute format($table$
    create table public.nchat_messages (
      id uuid primary key default gen_random_uuid(),
      source_account_id text not null default 'primary',
      channel_id uuid not null references public.nchat_channels (id) on delete cascade,
      user_id uuid references public.nchat_users (id) on delete set null,
      thread_id uuid,
      parent_message_id uuid,
      content text,
      content_html text,
      content_plain text,
      type %s default 'text',
      metadata jsonb default '{}',
      mentions uuid[],
      is_edited boolean default false,
      is_deleted boolean default false,
      is_system boolean default false,
      reply_count integer default 0,
      scheduled_at timestamptz,
      published_at timestamptz,
      edited_at timestamptz,
      deleted_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    )$table$, current_setting('nchat_types.nchat_messages'));
    create index nchat_messages_channel_idx on public.nchat_messages (channel_id, created_at);
    create index nchat_messages_author_idx on public.nchat_messages (channel_id, user_id, created_at);
  end if;
end $$;
-- +goose StatementEnd

create table if not exists public.nchat_threads (
  id uuid primary key default gen_random_uuid(),
  source_account_id text not null default 'primary',
  channel_id uuid not null references public.nchat_channels (id) on delete cascade,
  root_message_id uuid unique,
  message_count integer default 0,
  participant_count integer default 0,
  is_locked boolean default false,
  is_archived boolean default false,
  last_message_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.nchat_thread_members (
  id uuid primary key default gen_random_uuid(),
  source_account_id text not null default 'primary',
  thread_id uuid not null references public.nchat_threads (id) on delete cascade,
  user_id uuid not null references public.nchat_users (id) on delete cascade,
  last_read_message_id uuid,
  last_read_at timestamptz,
  unread_count integer default 0,
  is_subscribed boolean default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (thread_id, user_id)
);

create table if not exists public.nchat_contacts (
  id uuid primary key default gen_random_uuid(),
  source_account_id text not null default 'primary',
  user_id uuid not null references public.nchat_users (id) on delete cascade,
  contact_user_id uuid not null references public.nchat_users (id) on delete cascade,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (user_id, contact_user_id)
);

create table if not exists public.nchat_blocked_users (
  id uuid primary key default gen_random_uuid(),
  source_account_id text not null default 'primary',
  blocker_id uuid not null references public.nchat_users (id) on delete cascade,
  blocked_user_id uuid not null references public.nchat_users (id) on delete cascade,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (blocker_id, blocked_user_id)
);
