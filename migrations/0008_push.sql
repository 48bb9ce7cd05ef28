-- +goose Up
-- Messages for users who are not connected, on their way to the push webhook.
-- pos: the last entry of the log that was looked at; no row: never was.
create table realtime.push_state (
  only_row boolean primary key default true check (only_row),
  pos      bigint not null
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
