-- +goose Up
-- Which message a client's own key led to: the same key from the same user
-- answers the same message for at least 30 days.
create table realtime.client_keys (
  tenant            text not null,
  user_id           uuid not null,
  client_message_id text not null check (char_length(client_message_id) between 1 and 128),
  digest            bytea not null,
  message_id        uuid,
  at                timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id, client_message_id)
);
create index client_keys_message_idx on realtime.client_keys (message_id);
create index client_keys_at_idx on realtime.client_keys using brin (at);

-- Hasura's event triggers deliver at least once and in no order. What they tell
-- is in the log already, put there by our own triggers in the writer's
-- transaction; an event makes sure of it, from the rows as they are now, so
-- that its order and its repetitions change nothing.
create table realtime.hasura_events (
  id text primary key,
  at timestamptz not null default clock_timestamp()
);
create index hasura_events_at_idx on realtime.hasura_events (at);

-- Push: what of messages is on its way to the app's webhook.
-- pos: the last entry of the log that was looked at; no row: never was.
create table realtime.push_state (
  only_row boolean primary key default true check (only_row),
  pos      bigint not null,
  mark     bigint not null                      -- of that entry
);

-- One row a call to be made: to tell users of a message, or to withdraw what
-- they were told of a channel.
create table realtime.push_jobs (
  id         uuid primary key default gen_random_uuid(),
  kind       text not null check (kind in ('message', 'withdraw')),
  tenant     text not null,
  channel_id uuid not null,
  message_id uuid not null,
  seq        bigint not null,
  users      uuid[] not null,
  second     boolean not null default false,    -- who looked at a device has been asked about before
  attempts   integer not null default 0,
  next_at    timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp()
);
create index push_jobs_next_idx on realtime.push_jobs (next_at);
create index push_jobs_created_idx on realtime.push_jobs (created_at);
create index push_jobs_message_idx on realtime.push_jobs (message_id);

-- The last message a user was told of in a channel, until it is withdrawn.
create table realtime.push_told (
  user_id    uuid not null,
  channel_id uuid not null,
  tenant     text not null,
  message_id uuid not null,
  seq        bigint not null,
  job        uuid not null,
  at         timestamptz not null default clock_timestamp(),
  primary key (user_id, channel_id)
) with (fillfactor = 80);
create index push_told_message_idx on realtime.push_told (message_id);
create index push_told_channel_idx on realtime.push_told (channel_id);
create index push_told_at_idx on realtime.push_told using brin (at);

-- Who is not to be disturbed until then: one row a user and channel, with the
-- first message since; the newest is told.
create table realtime.push_held (
  user_id    uuid not null,
  channel_id uuid not null,
  tenant     text not null,
  seq        bigint not null,
  until      timestamptz not null,
  primary key (user_id, channel_id)
);
create index push_held_until_idx on realtime.push_held (until);

-- Channels whose members looked at a device when something was written since
-- seq: they are asked about once more.
create table realtime.push_again (
  channel_id uuid primary key,
  tenant     text not null,
  seq        bigint not null,
  at         timestamptz not null
);

-- When a user is not to be disturbed, in minutes of its own day; it may go past midnight.
create table realtime.quiet_hours (
  tenant      text not null,
  user_id     uuid not null,
  from_minute integer not null check (from_minute between 0 and 1439),
  to_minute   integer not null check (to_minute between 0 and 1439 and to_minute <> from_minute),
  zone        text not null check (char_length(zone) between 1 and 64),
  primary key (tenant, user_id)
);

-- Up to which version of realtime.public_presence the presence webhook has been told. Until
-- next_at somebody is at it, or it is put off.
create table realtime.announced (
  only_row boolean primary key default true check (only_row),
  version  bigint not null default 0,
  attempts integer not null default 0,
  next_at  timestamptz not null default '-infinity'
) with (fillfactor = 40);
insert into realtime.announced default values;
