-- +goose Up
-- Presence: who is connected, what they chose to show, and who may be told.
-- Everything of ours lives in the schema realtime; nobody but the server's own
-- role has a right on it. Migrations hold tables only: functions and triggers
-- stand beside the package whose rules they keep (internal/*/*.sql).
create schema if not exists realtime;
revoke all on schema realtime from public;

-- Which functions were ever installed here, by the sum of their sources; fitted
-- is the sum of what they became for the columns found. The last is in force.
create table realtime.code (
  source       text primary key,
  fitted       text not null,
  installed_at timestamptz not null default clock_timestamp()
);

-- One row a running server. The lease is the only statement of its being
-- alive; (id, epoch) fences what it writes: whoever finds the lease run out
-- deletes the row, and with it every session that node ever asserted.
create table realtime.nodes (
  id          uuid primary key,
  epoch       bigint generated always as identity,
  lease_until timestamptz not null,
  started_at  timestamptz not null default clock_timestamp(),
  unique (id, epoch)
);

-- One row, emptied with every other unlogged table when Postgres recovers from
-- a crash: a changed id tells each node to assert its sessions again.
create unlogged table realtime.boot (
  only_row boolean primary key default true check (only_row),
  id       uuid not null default gen_random_uuid(),
  since    timestamptz not null default clock_timestamp()
);

-- One row a socket, or a client that only sends HTTP heartbeats (node_id null).
-- Unlogged: a session is worth as much as the socket behind it, and the node
-- that holds the socket can say so again.
create unlogged table realtime.sessions (
  id               uuid primary key,
  tenant           text not null,
  user_id          uuid not null,
  node_id          uuid,
  node_epoch       bigint,
  counts           boolean not null default true,   -- false: must not make its user appear online
  device_id        text,
  device           text not null default 'unknown' check (device in ('web', 'ios', 'android', 'desktop', 'unknown')),
  name             text,
  token_id         text,
  connected_at     timestamptz not null,
  last_active_at   timestamptz not null,
  idle             boolean not null default false,
  looking_until    timestamptz,                     -- somebody looks at the device until then; a socket's node ends 'infinity'
  parked_at        timestamptz,                     -- set offline by hand: counts again with activity after it
  ended_at         timestamptz,                     -- the socket closed: counts until the grace has passed
  latency_ms       integer,
  -- HTTP-only sessions have no node to run their timers; the sweep does.
  idle_at          timestamptz,
  lapses_at        timestamptz,
  -- What another node asks of the one that holds the socket. Activity (touched:
  -- it was told elsewhere) and parking only ever move forward, whoever writes them.
  touched          boolean not null default false,
  signed_out       boolean not null default false,
  token_expires_at timestamptz,                     -- with the next two: the token it runs on from now
  token_next       text,
  token_issued_at  timestamptz,
  check ((node_id is null) = (node_epoch is null)),
  check ((node_id is null) = (lapses_at is not null)),
  foreign key (node_id, node_epoch) references realtime.nodes (id, epoch) on delete cascade
);
create index sessions_user_idx on realtime.sessions (user_id, tenant);
create index sessions_node_idx on realtime.sessions (node_id, node_epoch);
create index sessions_http_idx on realtime.sessions (lapses_at) where node_id is null;

-- One row a user who ever connected or chose something.
create table realtime.presence (
  tenant            text not null,
  user_id           uuid not null,
  active            boolean not null default false, -- has sessions that count; survives a crash that empties them
  active_http       boolean not null default false, -- one of them is HTTP-only
  manual_status     text check (manual_status in ('away', 'busy')),
  manual_until      timestamptz,
  custom_text       text check (char_length(custom_text) <= 255),
  custom_emoji      text check (char_length(custom_emoji) <= 64),
  custom_expires_at timestamptz,
  last_seen_at      timestamptz,                    -- as others may see it: does not move while invisible
  -- What others go on seeing while the user is invisible: the moment it began.
  hidden_since      timestamptz,
  frozen_status     text check (frozen_status in ('online', 'away', 'busy', 'offline')),
  frozen_text       text,
  frozen_emoji      text,
  frozen_expires_at timestamptz,
  updated_at        timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id)
) with (fillfactor = 80);
create index presence_active_idx on realtime.presence (tenant, user_id) where active;

create table realtime.presence_settings (
  tenant                  text not null,
  user_id                 uuid not null,
  visibility              text not null default 'everyone' check (visibility in ('everyone', 'contacts', 'nobody')),
  show_online_status      boolean not null default true,
  show_last_seen          boolean not null default true,
  allow_read_receipts     boolean not null default true,
  allow_delivery_receipts boolean not null default true,
  invisible_mode          boolean not null default false,
  broadcast_typing        boolean not null default true,
  typing_visibility       text not null default 'everyone' check (typing_visibility in ('everyone', 'contacts', 'nobody')),
  -- Since when the owner has shared what reciprocity asks of a viewer; null: always.
  status_shared_since     timestamptz,
  last_seen_shared_since  timestamptz,
  receipts_shared_since   timestamptz,
  typing_shared_since     timestamptz,              -- what was typed before is nobody's to see
  created_at              timestamptz not null default clock_timestamp(),
  updated_at              timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id)
);

-- One row once nchat's old switches have been taken over as settings.
create table realtime.switches (
  only_row boolean primary key default true check (only_row),
  taken_at timestamptz not null default clock_timestamp()
);

-- Grows by a row whenever who-may-see-a-user may have changed (contacts,
-- blocks, direct channels). Only ever inserted into by triggers, so that two
-- transactions of the app can never block or deadlock each other on it. A
-- reader compares (count, max id, sum of ids): it differs whenever a relation read before
-- may be out of date. The sweep prunes it.
create table realtime.audience (
  id      bigint generated always as identity primary key,
  user_id uuid not null,
  at      timestamptz not null default clock_timestamp()
);
create index audience_user_idx on realtime.audience (user_id, id);
create index audience_at_idx on realtime.audience (at);

-- Whose turn it is to forget what is past its time, and how the last turn went.
create table realtime.sweeps (
  only_row boolean primary key default true check (only_row),
  holder   uuid not null,
  until    timestamptz not null,
  ended_at timestamptz,
  forgot   bigint,
  took     interval,
  failed   text
) with (fillfactor = 50);

-- How long the longest-lived token lives that any node has seen; a revocation is
-- kept for as long. One that does not say when it began or ends lives for ever.
create table realtime.token_life (
  only_row boolean primary key default true check (only_row),
  longest  interval not null default '0',
  endless  boolean not null default false
);
insert into realtime.token_life default values;

-- When channels that had been of another kind became direct ones; no row: always
-- was. Only inserted into by triggers, as the table above.
create table realtime.directs (
  id         bigint generated always as identity primary key,
  channel_id uuid not null,
  since      timestamptz not null default clock_timestamp()
);
create index directs_channel_idx on realtime.directs (channel_id, since);

-- What everybody may see: each user as one of the same tenant does who is no contact
-- and shares nothing; kept only where something is told by it. version rises with
-- each change, over all, and becomes visible in its order.
create table realtime.public_presence (
  tenant            text not null,
  user_id           uuid not null,
  status            text not null,
  custom_text       text,
  custom_emoji      text,
  custom_expires_at timestamptz,
  last_seen_at      timestamptz,
  version           bigint not null,
  primary key (tenant, user_id)
) with (fillfactor = 80);
create unique index public_presence_version_idx on realtime.public_presence (version);

-- Which node keeps it, until when; the last version given, and up to which one
-- nchat's own tables have been told.
create table realtime.showing (
  only_row boolean primary key default true check (only_row),
  node     uuid,
  until    timestamptz not null default '-infinity',
  version  bigint not null default 0,
  legacy   bigint not null default 0
) with (fillfactor = 40);
insert into realtime.showing default values;

-- For Hasura to track: nobody of whom there is nothing to see, and nobody at all
-- where no node has kept it for a minute. Whom its owner blocked is left to the
-- permission that goes with it (hasura/).
create view realtime.visible_presence as
  select s.tenant, s.user_id, s.status, x.custom_text, x.custom_emoji, s.last_seen_at
    from realtime.public_presence s
   cross join lateral (select case when line.there then s.custom_text end as custom_text, case when line.there then s.custom_emoji end as custom_emoji
                         from (select s.custom_expires_at is null or s.custom_expires_at > clock_timestamp() as there) line) x
   where exists (select from realtime.showing h where h.until > clock_timestamp() - interval '1 minute')
     and (s.status <> 'offline' or s.last_seen_at is not null or x.custom_text is not null or x.custom_emoji is not null);

-- Tokens that are refused although their signature holds.
create table realtime.revoked_users (
  tenant     text not null,
  user_id    uuid not null,
  not_before timestamptz not null,
  primary key (tenant, user_id)
);
create table realtime.revoked_tokens (
  tenant     text not null,
  user_id    uuid not null,
  token_id   text not null,
  revoked_at timestamptz not null default clock_timestamp(),
  primary key (tenant, token_id)
);
-- Users who were suspended or deleted, while tokens from before may still hold.
create table realtime.barred_users (
  tenant  text not null,
  user_id uuid not null,
  at      timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id)
);
