-- +goose Up
-- Delivered and read marks: how far each member is in each channel, in the
-- channel's own numbers. A mark moves forward; each move is one row, however
-- many messages it passes, and what a sender learns follows from the moves. Its
-- user alone can take a reading mark back: reached is where it was then, and up to
-- there no move is made again.
create table realtime.marks (
  channel_id    uuid not null,
  user_id       uuid not null,
  read_seq      bigint not null,
  read_at       timestamptz,
  reached_seq   bigint,                         -- null: read_seq
  delivered_seq bigint not null,
  delivered_at  timestamptz,
  -- How far everybody may know it to be read: what nchat's own columns are told. null: nobody was told.
  told_seq      bigint,
  told_at       timestamptz,
  primary key (user_id, channel_id),
  check (delivered_seq >= read_seq)
) with (fillfactor = 70);

create index marks_channel_idx on realtime.marks (channel_id); -- for the sweep

-- How far somebody has read in a thread, in its channel's numbers. Without a row:
-- as far as nchat's own column says.
create table realtime.thread_marks (
  thread_id   uuid not null,
  user_id     uuid not null,
  channel_id  uuid not null,
  read_seq    bigint not null,
  read_at     timestamptz,
  reached_seq bigint,
  seen_seq    bigint,                           -- up to it nothing is unread, though it may not be read: there before it was followed
  primary key (user_id, thread_id)
) with (fillfactor = 70);

create index thread_marks_channel_idx on realtime.thread_marks (channel_id); -- for the sweep

-- Read moves cover from_seq < seq <= to_seq; delivered_from < seq <= to_seq was
-- delivered with it (null: had been before). Who may learn of it is decided
-- when it is made, and stays so: a receipt once shown is never taken back, and
-- none made in private is shown later. What nobody may ever learn of is not here.
-- A move within a thread reads that thread's messages alone; one of the channel reads
-- all but those in threads. Moves past their time are folded: one stands for those
-- that followed each other.
create table realtime.moves (
  id               bigint generated always as identity primary key,
  channel_id       uuid not null,
  user_id          uuid not null,
  from_seq         bigint not null,
  to_seq           bigint not null,
  read             boolean not null,
  delivered_from   bigint,
  at               timestamptz not null,
  read_public      boolean not null,
  delivered_public boolean not null,
  shown_to         uuid[],                      -- null: everybody who may see it at all
  hidden_from      uuid[] not null default '{}',
  read_hidden_from uuid[] not null default '{}', -- besides: the reading only, from those who share none themselves
  thread           uuid,
  held             boolean not null default false, -- made while invisible: shown, and stamped, when that ends
  folded           boolean not null default false,
  -- How long it is, by powers of four: whichever moves pass a message are found among
  -- those of a length by where they end.
  span             smallint not null generated always as
                   (width_bucket(to_seq - from_seq, '{4,16,64,256,1024,4096,16384,65536,262144,1048576}'::bigint[])) stored
);
create index moves_passing_idx on realtime.moves (channel_id, (coalesce(thread, channel_id)), span, to_seq);
create index moves_fresh_idx on realtime.moves (at) where not folded and not held; -- with the next: for the sweep
create index moves_folded_idx on realtime.moves (channel_id, user_id) where folded;
create index moves_held_idx on realtime.moves (user_id) where held;

-- Channels whose members' old columns may be behind (due), and up to which
-- position the log has been looked through for them.
create table realtime.legacy (
  channel_id uuid primary key,
  due        boolean not null default true,
  at         timestamptz not null default '-infinity' -- of the last count
);
create index legacy_due_idx on realtime.legacy (at) where due;
create table realtime.legacy_head (
  only_row boolean primary key default true check (only_row),
  pos      bigint not null default 0,
  mark     bigint                               -- of the entry there
);
insert into realtime.legacy_head default values;

-- What nchat_channel_members cannot say of what a member wants to hear: until
-- when a channel is muted, and the level where it has no column for it.
create table realtime.notifications (
  user_id     uuid not null,
  channel_id  uuid not null,
  level       text check (level in ('all', 'mentions', 'none')),
  muted_until timestamptz check (muted_until < '10000-01-01'),
  primary key (user_id, channel_id)
);
create index notifications_muted_idx on realtime.notifications (muted_until) where muted_until is not null;
