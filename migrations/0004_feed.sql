-- +goose Up
-- The log: what happened in which channel, in an order that readers can trust.
--
-- Triggers number each message within its channel and put every change into
-- realtime.inbox, in the writer's own transaction. realtime.sequence() moves
-- committed rows from there into realtime.log and gives them dense positions.
-- A position is visible only after all before it, whatever writers are still
-- at work, so that "pos > cursor" never misses a row.

-- One row a channel: its last number, how many members may read it, and whether
-- it is a direct one. Hot: every message updates it.
create table realtime.channels (
  channel_id uuid primary key,
  tenant     text not null,
  seq        bigint not null default 0,
  members    integer not null default 0,
  direct     boolean not null default false
) with (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 1);

-- One row a message that was ever published. Never deleted with its message:
-- numbers stay dense, and a reader that missed the deletion still learns of it.
create table realtime.messages (
  message_id uuid primary key,
  channel_id uuid not null,
  seq        bigint not null,                  -- what was there before us is numbered downwards from 0
  sender     uuid,
  thread     uuid,
  version    integer not null default 1,       -- rises with each change a reader can see
  edited     integer not null default 1,       -- the version that has brought the present content
  members    integer not null,                 -- who could read the channel when it was numbered, the sender included
  countable  boolean not null,                 -- may be unread: not deleted, of the system or in a thread
  deleted    boolean not null default false,   -- soft
  gone       boolean not null default false,   -- the row itself is no more, or is not published any more
  editor     uuid,                             -- who made the last change, where known
  overruled  boolean not null default false,   -- the last change was not its author's
  mentions   uuid[],
  unique (channel_id, seq)
) with (fillfactor = 90);

-- What a message said before it was changed; for those who edit a version that
-- is not the last one. Kept as long as the log.
create table realtime.message_versions (
  message_id uuid not null,
  version    integer not null,
  content    text,
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

-- kind: created, updated, deleted (a message) · joined, left, member (user_id's
-- membership; member: its rights) · channel (its settings) · opened (it became
-- public or ceased to be) · gone (the channel itself) · mark (user_id has read or received up to seq; ref: realtime.moves).
create table realtime.inbox (
  id         bigint generated always as identity primary key,
  tenant     text not null,
  channel_id uuid not null,
  kind       text not null,
  message_id uuid,
  user_id    uuid,
  seq        bigint not null,
  ref        bigint,
  thread     uuid                              -- of a created message
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 1);

create table realtime.log (
  pos        bigint primary key,
  at         timestamptz not null,
  tenant     text not null,
  channel_id uuid not null,
  kind       text not null,
  message_id uuid,
  user_id    uuid,
  seq        bigint not null,
  ref        bigint,
  thread     uuid
);
create index log_channel_idx on realtime.log (channel_id, pos);
create index log_user_idx on realtime.log (user_id, pos) where kind in ('joined', 'left', 'member', 'mark');
create index log_at_idx on realtime.log using brin (at);

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

-- +goose StatementBegin
-- sequence gives up to most committed changes their positions and answers how
-- many those were; -1: somebody else is at it. stays: the caller looks again
-- within milliseconds, for two seconds from now. Whoever holds the lock is the
-- only one that writes the log, and gives the lock back with its commit.
create function realtime.sequence(most integer, stays boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  h realtime.head;
  last bigint;
  since timestamptz;
  n integer;
begin
  if not pg_try_advisory_xact_lock(7249331607002) then
    return -1;
  end if;
  select * into h from realtime.head;
  if h.at < clock_timestamp() - interval '5 seconds'
     or h.at < clock_timestamp() - interval '1 second' and (select s.last_value from realtime.inbox_id_seq s) > h.asked + 2000 then
    perform realtime.clear_inbox(h);
  end if;
  select l.pos, l.at into last, since from realtime.log l order by l.pos desc limit 1;
  last := greatest(last, h.floor);
  since := greatest(since, clock_timestamp());
  with batch as (
    delete from realtime.inbox where id in (select i.id from realtime.inbox i where i.id > h.clear order by i.id limit most) returning *),
  put as (
    insert into realtime.log (pos, at, tenant, channel_id, kind, message_id, user_id, seq, ref, thread)
    select last + row_number() over (order by b.id), since, b.tenant, b.channel_id, b.kind, b.message_id, b.user_id, b.seq, b.ref, b.thread from batch b
    returning 1)
  select count(*) into n from put;
  if stays and h.hot < clock_timestamp() + interval '1 second' then
    update realtime.head set hot = clock_timestamp() + interval '2 seconds';
  end if;
  return n;
end $$;

-- clear_inbox moves the place from which the inbox is searched. A writer has
-- its transaction id before its first row has an id: it holds the channel. So
-- whoever drew an id up to last has a lower transaction id than this one, which
-- takes its own afterwards. (The xmax of a snapshot would be no such bound:
-- transactions above it may be running.)
create function realtime.clear_inbox(h realtime.head) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  last bigint := (select case when s.is_called then s.last_value else 0 end from realtime.inbox_id_seq s);
  copied boolean := h.xid > pg_snapshot_xmax(pg_current_snapshot()); -- into a cluster that has not got so far
begin
  if h.clear = last or pg_current_xact_id_if_assigned() is not null then
    return;
  end if;
  if not copied and (pg_snapshot_xmin(pg_current_snapshot()) < h.xid
                     or exists (select from realtime.inbox i where i.id > h.clear and i.id <= h.asked)) then
    update realtime.head set at = clock_timestamp();
    return;
  end if;
  update realtime.head
     set clear = case when copied then h.clear else h.asked end,
         asked = last, xid = pg_current_xact_id(), at = clock_timestamp();
end $$;

-- waiting: something committed has no position yet.
create function realtime.waiting() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
  return exists (select from realtime.inbox i where i.id > (select h.clear from realtime.head h));
end $$;

-- last_pos is the last position given.
create function realtime.last_pos() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(h.floor, (select l.pos from realtime.log l order by l.pos desc limit 1)) from realtime.head h
$$;

-- who is behind a change: our own writers say so, Hasura does for its own.
create function realtime.actor() returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('realtime.actor', true), '');
begin
  if said is null then
    said := nullif(current_setting('hasura.user', true), '')::jsonb ->> 'x-hasura-user-id';
  end if;
  return said::uuid;
exception when others then
  return null;
end $$;

-- hold locks a channel's row until the transaction ends, and makes it if need be.
create function realtime.hold(channel uuid) returns realtime.channels
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  c realtime.channels;
begin
  select * into c from realtime.channels x where x.channel_id = channel for no key update;
  if not found then
    insert into realtime.channels (channel_id, tenant, direct)
    select channel, coalesce(max(n.tenant), 'primary'), coalesce(bool_or(n.type = 'direct'), false) from realtime.nchat_channels() n where n.id = channel
    on conflict do nothing;
    select * into c from realtime.channels x where x.channel_id = channel for no key update;
  end if;
  return c;
end $$;

-- ring_inbox wakes the sequencer, unless it looks by itself.
create function realtime.ring_inbox() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('realtime.quiet', true), '') <> 'on'
     and not exists (select from realtime.head h where h.hot > clock_timestamp()) then
    perform realtime.ring('inbox');
  end if;
end $$;

-- post puts a change into the inbox.
create function realtime.post(tenant text, channel uuid, kind text, message uuid, who uuid, seq bigint, ref bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into realtime.inbox (tenant, channel_id, kind, message_id, user_id, seq, ref) values ($1, $2, $3, $4, $5, $6, $7);
  select realtime.ring_inbox();
$$;

-- restint opens or closes members' stints as their rights are now.
create function realtime.restint(channel uuid, who uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  c realtime.channels := realtime.hold(channel);
  more integer;
begin
  with u as (
    select k.id,
           exists (select from realtime.nchat_members() m
                     join realtime.nchat_users() x on x.id = m.user_id and x.tenant = c.tenant
                     join realtime.nchat_channels() n on n.id = m.channel_id
                    where m.channel_id = channel and m.user_id = k.id and m.can_read) as may,
           exists (select from realtime.stints s where s.channel_id = channel and s.user_id = k.id and s.to_seq is null) as had
      from (select distinct unnest(who) as id) k),
  opened as (
    insert into realtime.stints (channel_id, user_id, from_seq) select channel, u.id, c.seq from u where u.may and not u.had returning user_id),
  closed as (
    update realtime.stints s set to_seq = c.seq, ended_at = clock_timestamp()
      from u where u.had and not u.may and s.channel_id = channel and s.user_id = u.id and s.to_seq is null returning s.user_id),
  said as (
    insert into realtime.inbox (tenant, channel_id, kind, user_id, seq)
    select c.tenant, channel, 'joined', o.user_id, c.seq from opened o union all
    select c.tenant, channel, 'left', l.user_id, c.seq from closed l
    returning kind),
  banned as ( -- it never was a member, and may have read a public channel all the same
    insert into realtime.inbox (tenant, channel_id, kind, user_id, seq)
    select c.tenant, channel, 'left', u.id, c.seq from u
     where not u.may and not u.had and exists (select from realtime.nchat_channels() n where n.id = channel and n.type = 'public')
       and exists (select from realtime.nchat_members() m where m.channel_id = channel and m.user_id = u.id))
  select coalesce(sum(case kind when 'joined' then 1 else -1 end), 0) into more from said;
  update realtime.channels x set members = x.members + more where x.channel_id = channel and more <> 0;
  perform realtime.ring_inbox();
end $$;

create function realtime.feed_members() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(k.channel_id, k.users)
     from (select x.channel_id, array_agg(x.user_id) as users from changed x group by x.channel_id order by x.channel_id) k;
  return null;
end $$;

create function realtime.feed_member() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  c realtime.channels;
begin
  if (old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id) then
    perform realtime.restint(old.channel_id, array[old.user_id]);
  end if;
  perform realtime.restint(new.channel_id, array[new.user_id]);
  if (to_jsonb(old) -> 'role', to_jsonb(old) -> 'can_write') is distinct from (to_jsonb(new) -> 'role', to_jsonb(new) -> 'can_write') then
    c := realtime.hold(new.channel_id);
    perform realtime.post(c.tenant, new.channel_id, 'member', null, new.user_id, c.seq, null);
  end if;
  return null;
end $$;

-- A user deleted or restored leaves or joins wherever it is a member.
create function realtime.feed_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(m.channel_id, array[m.user_id])
     from (select x.channel_id, x.user_id from realtime.nchat_members() x where x.user_id = new.id order by x.channel_id) m;
  return null;
end $$;

create function realtime.feed_channel() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  c realtime.channels;
  id uuid;
begin
  if tg_op = 'DELETE' then id := old.id; else id := new.id; end if;
  c := realtime.hold(id);
  if tg_op = 'INSERT' then
    return null;
  end if;
  if tg_op = 'UPDATE' and c.direct <> (new.type::text = 'direct') then
    update realtime.channels x set direct = not x.direct where x.channel_id = id;
  end if;
  perform realtime.post(c.tenant, id, case when tg_op = 'DELETE' then 'gone' when (old.type::text = 'public') <> (new.type::text = 'public') then 'opened' else 'channel' end, null, null, c.seq, null);
  return null;
end $$;

-- number_one gives one message its number: published later than written, moved
-- from another channel, or changed before its turn came to be numbered.
create function realtime.number_one(channel uuid, message uuid, who uuid, in_thread uuid, counts boolean, erased boolean, mentioned uuid[], before boolean)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  c realtime.channels := realtime.hold(channel);
  n bigint;
begin
  if before then
    update realtime.backfill b set low = b.low - 1 where b.channel_id = channel returning b.low + 1 into n;
  end if;
  if n is null then
    update realtime.channels x set seq = x.seq + 1 where x.channel_id = channel returning x.seq into n;
  end if;
  insert into realtime.messages as m (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
  values (message, channel, n, who, in_thread, c.members, counts, erased, mentioned)
  on conflict (message_id) do update
     set channel_id = excluded.channel_id, seq = excluded.seq, sender = excluded.sender, thread = excluded.thread, members = excluded.members,
         countable = excluded.countable, deleted = excluded.deleted, mentions = excluded.mentions, gone = false, version = m.version + 1;
  return n;
end $$;

-- backfill_some numbers up to most messages that were there before us in one
-- channel, newest first, and answers how many; 0: none is left anywhere.
create function realtime.backfill_some(most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  b realtime.backfill;
  n integer;
  seen integer;
begin
  select * into b from realtime.backfill x where not x.done order by x.channel_id limit 1 for update skip locked;
  if not found then
    return 0;
  end if;
  with m as (
    select o.id, o.created_at, o.sender, o.thread, o.countable, o.deleted, o.mentions, o.published
      from realtime.nchat_messages() o
     where o.channel_id = b.channel_id and (o.created_at, o.id) < (b.before_at, b.before_id)
     order by o.created_at desc, o.id desc limit most),
  fresh as (
    select m.*, row_number() over (order by m.created_at desc, m.id desc) as i
      from m where m.published and not exists (select from realtime.messages k where k.message_id = m.id)),
  put as (
    insert into realtime.messages (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
    select f.id, b.channel_id, b.low - f.i + 1, f.sender, f.thread, c.members, f.countable, f.deleted, f.mentions
      from fresh f, realtime.channels c where c.channel_id = b.channel_id
    returning 1)
  select (select count(*) from put), (select count(*) from m),
         coalesce((select m.created_at from m order by m.created_at, m.id limit 1), b.before_at),
         coalesce((select m.id from m order by m.created_at, m.id limit 1), b.before_id)
    into n, seen, b.before_at, b.before_id;
  update realtime.backfill x
     set low = x.low - n, before_at = b.before_at, before_id = b.before_id, done = seen < most
   where x.channel_id = b.channel_id;
  if seen < most then
    perform realtime.adopt_marks(b.channel_id);
  end if;
  return seen + 1;
end $$;

-- join_feed fits the triggers of messages to the columns there are. It runs
-- after every migrate, like join_nchat.
create function realtime.join_feed() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $join$
declare
  msg text := 'public.nchat_messages';
  published text := 'true';
  deleted text := 'false';
  system text := $q$%1$s.type::pg_catalog.text operator(pg_catalog.=) 'system'$q$;
  mentions text := 'null::pg_catalog.uuid[]';
  thread text := 'null::pg_catalog.uuid';
  watched text;
  new_here boolean;
begin
  perform pg_advisory_xact_lock(hashtext('realtime.join_nchat'));
  if realtime.has_column(msg, 'scheduled_at') and realtime.has_column(msg, 'published_at') then
    published := '(%1$s.scheduled_at is null or %1$s.published_at is not null)';
  end if;
  if realtime.has_column(msg, 'is_deleted') then deleted := 'coalesce(%1$s.is_deleted, false)'; end if;
  if realtime.has_column(msg, 'deleted_at') then deleted := deleted || ' or %1$s.deleted_at is not null'; end if;
  if realtime.has_column(msg, 'is_system') then system := system || ' or coalesce(%1$s.is_system, false)'; end if;
  if realtime.has_column(msg, 'mentions') then mentions := '%1$s.mentions'; end if;
  if realtime.has_column(msg, 'thread_id') then thread := '%1$s.thread_id'; end if;
  watched := realtime.there(msg, '{content, type, user_id, channel_id, is_deleted, deleted_at, is_system, scheduled_at, published_at, mentions, thread_id, metadata, parent_message_id}');

  execute format($f$
    create or replace function realtime.nchat_messages()
    returns table (id uuid, channel_id uuid, sender uuid, thread uuid, created_at timestamptz, countable boolean, deleted boolean, mentions uuid[], published boolean)
    language sql stable as %L $f$,
    format('select r.id, r.channel_id, r.user_id, %s, r.created_at, not (%s) and not (%s) and %s is null, %s, %s, %s from public.nchat_messages r',
           format(thread, 'r'), format(deleted, 'r'), format(system, 'r'), format(thread, 'r'), format(deleted, 'r'), format(mentions, 'r'), format(published, 'r')));

  -- The hot path: a handful of single-row statements, and nothing that only
  -- some messages need. A transaction that writes many thousands of messages to
  -- one channel makes as many versions of that channel's row and is slow for it.
  --
  -- It pins no search_path, which would cost a tenth of an insert: whatever it
  -- names, operators too, it names with its schema.
  execute format($f$
    create or replace function realtime.feed_inserted() returns trigger
    language plpgsql security definer as %L $f$, format($body$
declare
  n pg_catalog.int8;
  ten pg_catalog.text;
  readers pg_catalog.int4;
  dm pg_catalog.bool;
begin
  if not (%3$s) then
    if exists (select from realtime.channels x where x.channel_id operator(pg_catalog.=) new.channel_id and x.direct) then
      perform realtime.first_word(new.channel_id, new.user_id, new.id);
    end if;
    return null;
  end if;
  update realtime.channels x set seq = x.seq operator(pg_catalog.+) 1 where x.channel_id operator(pg_catalog.=) new.channel_id
  returning x.seq, x.tenant, x.members, x.direct into n, ten, readers, dm;
  if not found then
    perform realtime.hold(new.channel_id);
    update realtime.channels x set seq = x.seq operator(pg_catalog.+) 1 where x.channel_id operator(pg_catalog.=) new.channel_id
    returning x.seq, x.tenant, x.members, x.direct into n, ten, readers, dm;
  end if;
  insert into realtime.messages (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
  values (new.id, new.channel_id, n, new.user_id, %1$s, readers, not (%4$s) and not (%5$s) and %1$s is null, %4$s, %2$s);
  insert into realtime.inbox (tenant, channel_id, kind, message_id, user_id, seq, thread)
  values (ten, new.channel_id, 'created', new.id, new.user_id, n, %1$s);
  if dm then
    perform realtime.first_word(new.channel_id, new.user_id, new.id);
  end if;
  if coalesce(pg_catalog.current_setting('realtime.quiet', true), '') operator(pg_catalog.<>) 'on'
     and not exists (select from realtime.head h where h.hot operator(pg_catalog.>) pg_catalog.clock_timestamp()) then
    perform realtime.ring('inbox');
  end if;
  return null;
end $body$, format(thread, 'new'), format(mentions, 'new'), format(published, 'new'), format(deleted, 'new'), format(system, 'new')));

  execute format($f$
    create or replace function realtime.feed_updated() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as %L $f$, format($body$
declare
  was boolean := %3$s;
  is_now boolean := %4$s;
  counts boolean := not (%6$s) and not (%7$s) and %1$s is null;
  m realtime.messages;
  actor uuid := realtime.actor();
  ten text;
begin
  select * into m from realtime.messages x where x.message_id = new.id;
  select c.tenant into ten from realtime.channels c where c.channel_id = new.channel_id;
  if not found then ten := (realtime.hold(new.channel_id)).tenant; end if;
  if not is_now then
    if m.message_id is not null and not m.gone then
      update realtime.messages x set gone = true, countable = false, version = x.version + 1 where x.message_id = new.id;
      perform realtime.post(ten, m.channel_id, 'deleted', new.id, m.sender, m.seq, null);
    end if;
    return null;
  end if;
  if m.message_id is null or m.gone then
    m.seq := realtime.number_one(new.channel_id, new.id, new.user_id, %1$s, counts, %6$s, %2$s, was and m.message_id is null);
    perform realtime.post(ten, new.channel_id, case when was and m.message_id is null then 'updated' else 'created' end, new.id, new.user_id, m.seq, null);
    return null;
  end if;
  if m.channel_id <> new.channel_id then
    perform realtime.post(ten, m.channel_id, 'deleted', new.id, m.sender, m.seq, null);
    m.seq := realtime.number_one(new.channel_id, new.id, new.user_id, %1$s, counts, %6$s, %2$s, false);
    perform realtime.post(ten, new.channel_id, 'created', new.id, new.user_id, m.seq, null);
    return null;
  end if;
  if new.content is distinct from old.content then
    insert into realtime.message_versions (message_id, version, content) values (new.id, m.version, old.content) on conflict do nothing;
  end if;
  if (%6$s) and not (%5$s) then
    delete from realtime.message_versions v where v.message_id = new.id;
  end if;
  update realtime.messages x
     set version = x.version + 1, edited = case when new.content is distinct from old.content then x.version + 1 else x.edited end, countable = counts, deleted = %6$s, thread = %1$s, mentions = %2$s, editor = actor,
         overruled = actor is null or actor is distinct from new.user_id, sender = coalesce(new.user_id, x.sender)
   where x.message_id = new.id;
  perform realtime.post(ten, new.channel_id, case when (%6$s) and not (%5$s) then 'deleted' else 'updated' end, new.id, new.user_id, m.seq, null);
  return null;
end $body$, format(thread, 'new'), format(mentions, 'new'), format(published, 'old'), format(published, 'new'),
    format(deleted, 'old'), format(deleted, 'new'), format(system, 'new')));

  create or replace function realtime.feed_deleted() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
  m realtime.messages;
begin
  delete from realtime.message_versions v where v.message_id = old.id;
  update realtime.messages x set gone = true, countable = false, version = x.version + 1 where x.message_id = old.id and not x.gone returning * into m;
  if found and exists (select from public.nchat_channels n where n.id = old.channel_id) then
    perform realtime.post((select c.tenant from realtime.channels c where c.channel_id = m.channel_id), m.channel_id, 'deleted', old.id, m.sender, m.seq, null);
  end if;
  return null;
end $body$;

  new_here := not exists (select from pg_trigger where tgrelid = msg::regclass and tgname = 'realtime_feed_insert');
  -- From here on nobody writes until a first one commits: whatever is there now was there before.
  perform realtime.fit_trigger(msg, 'realtime_feed_insert', 'after insert on %s for each row execute function realtime.feed_inserted()');
  perform realtime.fit_trigger(msg, 'realtime_feed_update', format('after update of %s on %%s for each row when ((%s) is distinct from (%s)) execute function realtime.feed_updated()',
    watched, 'old.' || replace(watched, ', ', ', old.'), 'new.' || replace(watched, ', ', ', new.')));
  perform realtime.fit_trigger(msg, 'realtime_feed_delete', 'after delete on %s for each row execute function realtime.feed_deleted()');
  perform realtime.fit_trigger('public.nchat_channel_members', 'realtime_feed_insert',
    'after insert on %s referencing new table as changed for each statement execute function realtime.feed_members()');
  perform realtime.fit_trigger('public.nchat_channel_members', 'realtime_feed_delete',
    'after delete on %s referencing old table as changed for each statement execute function realtime.feed_members()');
  perform realtime.fit_trigger('public.nchat_channel_members', 'realtime_feed_update',
    'after update of ' || realtime.there('public.nchat_channel_members', '{channel_id, user_id, can_read, can_write, role}') || ' on %s for each row execute function realtime.feed_member()');
  perform realtime.fit_trigger('public.nchat_channels', 'realtime_feed_new', 'after insert or delete on %s for each row execute function realtime.feed_channel()');
  watched := realtime.there('public.nchat_channels', '{name, type, is_archived, is_readonly, archived_at}');
  perform realtime.fit_trigger('public.nchat_channels', 'realtime_feed_update', format('after update of %s on %%s for each row when ((%s) is distinct from (%s)) execute function realtime.feed_channel()',
    watched, 'old.' || replace(watched, ', ', ', old.'), 'new.' || replace(watched, ', ', ', new.')));
  if realtime.has_column('public.nchat_users', 'deleted_at') then
    perform realtime.fit_trigger('public.nchat_users', 'realtime_feed',
      'after update of deleted_at on %s for each row when (old.deleted_at is distinct from new.deleted_at) execute function realtime.feed_user()');
  end if;
  if not new_here then
    return;
  end if;

  insert into realtime.stints (channel_id, user_id, from_seq)
  select m.channel_id, m.user_id, -4611686018427387904
    from realtime.nchat_members() m
    join realtime.nchat_channels() c on c.id = m.channel_id
    join realtime.nchat_users() u on u.id = m.user_id and u.tenant = c.tenant
   where m.can_read
  on conflict do nothing;
  insert into realtime.channels (channel_id, tenant, direct, members)
  select c.id, c.tenant, c.type = 'direct', (select count(*) from realtime.stints s where s.channel_id = c.id and s.to_seq is null) from realtime.nchat_channels() c
  on conflict do nothing;
  insert into realtime.backfill (channel_id)
  select c.id from realtime.nchat_channels() c where exists (select from public.nchat_messages m where m.channel_id = c.id)
  on conflict do nothing;
end $join$;
-- +goose StatementEnd
