-- +goose Up
-- What it takes to forget what is left of messages, threads and users that are no more.

-- Since when a message's row is no more; null: gone is younger than this column.
alter table realtime.messages add column gone_at timestamptz;
create index messages_gone_idx on realtime.messages (gone_at) where gone; -- for the sweep

-- Users that were deleted, or given to another tenant.
create table realtime.departed (
  tenant  text not null,
  user_id uuid not null,
  at      timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id)
);

-- Threads that were deleted.
create table realtime.ended_threads (
  thread_id  uuid primary key,
  channel_id uuid not null,
  at         timestamptz not null default clock_timestamp()
);
create index thread_marks_thread_idx on realtime.thread_marks (channel_id, thread_id); -- for the sweep, with the next
drop index realtime.thread_marks_channel_idx;
