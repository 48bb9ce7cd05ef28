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

-- Messages for users who are not connected, on their way to the push webhook.
-- pos: the last entry of the log that was looked at; no row: never was.
create table realtime.push_state (
  only_row boolean primary key default true check (only_row),
  pos      bigint not null,
  mark     bigint not null                      -- of that entry
);

create table realtime.push_jobs (
  id         uuid primary key default gen_random_uuid(),
  tenant     text not null,
  message_id uuid not null,
  users      uuid[] not null,
  attempts   integer not null default 0,
  next_at    timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp()
);
create index push_jobs_next_idx on realtime.push_jobs (next_at);

-- Up to which version of realtime.public_presence the presence webhook has been told. Until
-- next_at somebody is at it, or it is put off.
create table realtime.announced (
  only_row boolean primary key default true check (only_row),
  version  bigint not null default 0,
  attempts integer not null default 0,
  next_at  timestamptz not null default '-infinity'
) with (fillfactor = 40);
insert into realtime.announced default values;
