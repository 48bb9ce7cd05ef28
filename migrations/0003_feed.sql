-- +goose Up
-- The log: what happened in which channel, in an order that readers can trust.
--
-- Triggers note every change in realtime.inbox, one row each, in the writer's
-- own transaction. realtime.sequence() takes committed notes from there, gives
-- messages their numbers within their channel and moves all into realtime.log
-- with dense positions. A position is visible only after all before it, whatever
-- writers are still at work, so that "pos > cursor" never misses a row.
--
-- Whoever has the sequencer's lock is the only one that writes realtime.log,
-- stints, and what is in realtime.messages and channels (but for what the
-- backfill numbers), so that it waits for no transaction of the app's. What a
-- change must know at once, a message's version, its writer keeps in
-- realtime.revisions.

-- One row a channel: its last number, how many members may read it, and whether
-- it is a direct one. Hot: every batch of messages updates it.
create table realtime.channels (
  channel_id uuid primary key,
  tenant     text not null,
  seq        bigint not null default 0,
  members    integer not null default 0,
  direct     boolean not null default false,
  void       bigint not null default -9223372036854775808, -- of numbers up to it nothing is left: the channel was gone, emptied or another tenant's
  voided     bigint not null default -9223372036854775808  -- and up to it their rows say so
) with (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 1);

create index channels_void_idx on realtime.channels (channel_id) where void > -9223372036854775808; -- for the sweep

-- One row a channel, for its lock alone: held by whoever changes who may read
-- or write there, shared by whoever sends through us.
create table realtime.gates (channel_id uuid primary key);

-- One row a message that was ever published. Never deleted with its message:
-- numbers stay dense, and a reader that missed the deletion still learns of it.
create table realtime.messages (
  message_id uuid primary key,
  channel_id uuid not null,
  seq        bigint not null,                  -- what was there before us is numbered downwards from 0
  sender     uuid,
  thread     uuid,
  members    integer not null,                 -- who could read the channel when it was numbered, the sender included
  countable  boolean not null,                 -- may be unread: not deleted or of the system
  deleted    boolean not null default false,   -- soft
  gone       boolean not null default false,   -- the row itself is no more, or is not published any more
  mentions   uuid[],
  unique (channel_id, seq)
) with (fillfactor = 90);
create index messages_thread_idx on realtime.messages (thread, channel_id, seq) where thread is not null;

-- One row a message that was changed since it was published; without one its
-- version is 1.
create table realtime.revisions (
  message_id uuid primary key,
  version    integer not null,                 -- rises with each change a reader can see
  edited     integer not null,                 -- the version that has brought the present content
  editor     uuid,                             -- who made the last change, where known
  overruled  boolean not null                  -- the last change was not its author's
) with (fillfactor = 90);

-- What a message said before it was changed; for those who edit a version that
-- is not the last one. Kept as long as the log. editor and what follows are of
-- the edit that replaced it, if that came through us: so it is known again.
create table realtime.message_versions (
  message_id uuid not null,
  version    integer not null,
  content    text,
  editor     uuid,
  base       integer,                          -- the version it was made from
  digest     bytea,                            -- SHA-256 of what was asked for
  resolution text,                             -- null: there was no conflict
  at         timestamptz not null default clock_timestamp(),
  primary key (message_id, version)
);
create index message_versions_at_idx on realtime.message_versions using brin (at);

-- From when until when a user could read a channel as a member, in the
-- channel's own numbers: those with from_seq < seq <= to_seq (null: still).
create table realtime.stints (
  id         bigint generated always as identity primary key,
  channel_id uuid not null,
  user_id    uuid not null,
  from_seq   bigint not null,
  to_seq     bigint,
  began_at   timestamptz not null default clock_timestamp(),
  ended_at   timestamptz
);
create unique index stints_open_idx on realtime.stints (channel_id, user_id) where to_seq is null;
create index stints_user_idx on realtime.stints (user_id, channel_id);
create index stints_empty_idx on realtime.stints (ended_at) where from_seq = to_seq; -- for the sweep

-- kind: created (a message was published), updated, deleted (softly), removed
-- (it is no more, is not published any more, or moved to another channel) ·
-- joined, left (user_id may read as a member now, or may not; ref 1: nor may it
-- read a public channel), member (its rights) · channel (its settings) · opened
-- (it became public or ceased to be) · emptied (all its messages are no more at
-- once; readers are told that it is opened) · gone (the channel itself) · mark
-- (user_id has read or received up to seq, in a thread where there is one; ref:
-- realtime.moves; null: its own devices alone are told) · notify (user_id has
-- chosen what it wants to hear of the channel). countable,
-- deleted and mentions are the message's after the change; of a channel
-- countable is whether it is a direct one now.
create table realtime.inbox (
  id         bigint generated always as identity primary key,
  channel_id uuid not null,
  kind       text not null,
  message_id uuid,
  user_id    uuid,
  seq        bigint,
  ref        bigint,
  thread     uuid,
  countable  boolean,
  deleted    boolean,
  mentions   uuid[],
  new_tenant text                              -- a channel's from here on; null: as before
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 1);

-- A note once it has its place: upto and members are the channel's after it.
create type realtime.step as (
  tenant text, channel_id uuid, kind text, message_id uuid, user_id uuid, seq bigint, ref bigint, thread uuid,
  upto bigint, members integer, countable boolean, deleted boolean, mentions uuid[]);

create table realtime.log (
  pos        bigint primary key,
  at         timestamptz not null,
  tenant     text not null,
  channel_id uuid not null,
  kind       text not null,
  message_id uuid,
  user_id    uuid,
  seq        bigint not null,
  ref        bigint,                           -- of joined, left and member: how many members there are after it
  thread     uuid,
  -- Drawn for each batch. A database set back gives the same positions again, to other
  -- entries: whoever stands at one knows by its mark whether it still is the same.
  mark       bigint not null
);
create index log_channel_idx on realtime.log (channel_id, pos);
create index log_user_idx on realtime.log (user_id, pos) where kind in ('joined', 'left', 'member');

-- Positions up to floor have been deleted. The last one given is read off the
-- log itself: a row updated with every batch would fill up with its own dead
-- versions while a backup or any other long transaction runs.
--
-- So would the inbox, and every look at it walk past its dead rows: it is
-- searched above clear only. Whoever could still bring a row with an id up to
-- asked has a transaction id below xid; once all of those have ended and the
-- rows are gone, clear moves up to asked.
--
-- Until hot the sequencer looks by itself, every few milliseconds: under load a
-- notification from each writer would cost more than all the rest, for Postgres
-- lets transactions that notify commit one after another only.
create table realtime.head (
  only_row boolean primary key default true check (only_row),
  floor    bigint not null default 0,
  mark     bigint not null default uuid_hash_extended(gen_random_uuid(), 0), -- of the entry at floor
  clear    bigint not null default 0,
  asked    bigint not null default 0,
  xid      xid8 not null default '0',
  at       timestamptz not null default '-infinity',  -- of the last look at the four above
  hot      timestamptz not null default '-infinity'
) with (fillfactor = 40);
insert into realtime.head default values;

-- What cursors are sealed with, and whose they are: a database made from a
-- dump keeps both, and is told apart by what Postgres says of itself.
create table realtime.feed (
  only_row   boolean primary key default true check (only_row),
  generation uuid not null default gen_random_uuid(),
  secret     bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);
insert into realtime.feed default values;

-- One row a channel whose messages were there before us: numbered newest
-- first, in batches, while everybody goes on writing.
create table realtime.backfill (
  channel_id uuid primary key,
  low        bigint not null default 0,        -- the next number is low
  before_at  timestamptz not null default 'infinity',
  before_id  uuid not null default 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  done       boolean not null default false
);
create index backfill_open_idx on realtime.backfill (channel_id) where not done;
