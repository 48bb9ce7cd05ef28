-- +goose Up
-- Numbers are given where positions are: by the sequencer, after the commit.
-- Triggers only note what happened, one row a change, and nobody who writes a
-- message waits for another who does. So a message costs its writer one row
-- besides itself, and one channel takes as many as many channels do.
--
-- Whoever has the sequencer's lock is the only one that writes realtime.log,
-- stints, and what is in realtime.messages and channels (but for what the
-- backfill numbers), so that it waits for no transaction of the app's. What a
-- change must know at once, a message's version, its writer keeps in
-- realtime.revisions.

-- What waits in the inbox is numbered by the rules it was noted by. Rather than
-- to stand in the app's way, this gives up and is tried again.
set local lock_timeout = '500ms';
select pg_advisory_xact_lock(7249331607002);
lock table public.nchat_messages, public.nchat_channel_members, public.nchat_channels, public.nchat_users in share row exclusive mode;
lock table realtime.inbox in share row exclusive mode;
-- +goose StatementBegin
do $$
begin
  while realtime.sequence(2000, false) > 0 loop
  end loop;
end $$;
-- +goose StatementEnd
drop table realtime.inbox;
drop function realtime.sequence(integer, boolean);
drop function realtime.hold(uuid);
drop function realtime.post(text, uuid, text, uuid, uuid, bigint, bigint);
drop function realtime.number_one(uuid, uuid, uuid, uuid, boolean, boolean, uuid[], boolean);

-- kind: created (a message was published), updated, deleted (softly), removed
-- (it is no more, is not published any more, or moved to another channel) ·
-- joined, left (user_id may read as a member now, or may not; ref 1: nor may it
-- read a public channel), member (its rights) · channel (its settings) · opened
-- (it became public or ceased to be) · gone (the channel itself) · mark
-- (user_id has read or received up to seq; ref: realtime.moves). countable,
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
  mentions   uuid[]
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 1);
update realtime.head set clear = 0, asked = 0, xid = '0', at = '-infinity';

-- A note once it has its place: upto and members are the channel's after it.
create type realtime.step as (
  tenant text, channel_id uuid, kind text, message_id uuid, user_id uuid, seq bigint, ref bigint, thread uuid,
  upto bigint, members integer, countable boolean, deleted boolean, mentions uuid[]);

-- One row a channel, for its lock alone: held by whoever changes who may read
-- or write there, shared by whoever sends through us.
create table realtime.gates (channel_id uuid primary key);
insert into realtime.gates select c.channel_id from realtime.channels c;

-- One row a message that was changed since it was published; without one its
-- version is 1.
create table realtime.revisions (
  message_id uuid primary key,
  version    integer not null,                 -- rises with each change a reader can see
  edited     integer not null,                 -- the version that has brought the present content
  editor     uuid,                             -- who made the last change, where known
  overruled  boolean not null                  -- the last change was not its author's
) with (fillfactor = 90);
insert into realtime.revisions
select m.message_id, m.version, m.edited, m.editor, m.overruled from realtime.messages m where m.version > 1 or m.editor is not null or m.overruled;
drop index realtime.log_at_idx; -- nobody asks by it
alter table realtime.channels add column void bigint not null default -9223372036854775808; -- of numbers up to it nothing is left: the channel itself was gone
alter table realtime.messages drop column version, drop column edited, drop column editor, drop column overruled;

-- +goose StatementBegin
-- hold keeps everybody else from changing who may read or write in a channel,
-- and from sending there through us, until the transaction ends.
create function realtime.hold(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.gates g where g.channel_id = channel for no key update;
  if not found then
    insert into realtime.gates (channel_id) values (channel) on conflict do nothing;
    perform from realtime.gates g where g.channel_id = channel for no key update;
  end if;
end $$;

-- share keeps rights in a channel as they are until the transaction ends.
create function realtime.share(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.gates g where g.channel_id = channel for share;
  if not found then
    insert into realtime.gates (channel_id) values (channel) on conflict do nothing;
    perform from realtime.gates g where g.channel_id = channel for share;
  end if;
end $$;

-- note puts a change into the inbox; the transaction has its id before the row
-- has one (see clear_inbox).
create function realtime.note(channel uuid, kind text, message uuid, who uuid, thread uuid, countable boolean, deleted boolean, mentions uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_current_xact_id();
  insert into realtime.inbox (channel_id, kind, message_id, user_id, thread, countable, deleted, mentions)
  values (channel, kind, message, who, thread, countable, deleted, mentions);
  perform realtime.ring_inbox();
end $$;

-- noted: something about a message waits in the inbox.
create function realtime.noted(message uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  return exists (select from realtime.inbox i where i.id > (select h.clear from realtime.head h) and i.message_id = message);
end $$;

-- revise counts a change of a message and answers the version before it.
create function realtime.revise(message uuid, rewritten boolean, by_whom uuid, not_its_author boolean) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
  insert into realtime.revisions as r (message_id, version, edited, editor, overruled)
  values (message, 2, case when rewritten then 2 else 1 end, by_whom, not_its_author)
  on conflict (message_id) do update
     set version = r.version + 1, edited = case when rewritten then r.version + 1 else r.edited end, editor = excluded.editor, overruled = excluded.overruled
  returning version - 1
$$;

-- sequence takes up to most committed notes out of the inbox, gives them
-- numbers and positions, and answers how many they were; -1: somebody else is
-- at it (waits: it waits for them). stays: the caller looks again within
-- milliseconds, for two seconds from now.
--
-- Notes are taken in the order of their ids. Of two transactions one of which
-- waited for the other, or began after its end, the later has the higher ids:
-- what follows from something comes after it.
--
-- Messages that all are new, with marks among them, are what a busy app's notes
-- mostly are: they are done with in one statement. Whatever else there is goes
-- through place.
create function realtime.sequence(most integer, stays boolean, waits boolean default false) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  h realtime.head;
  last bigint;
  since timestamptz;
  n integer;
  notes realtime.inbox[];
  words realtime.step[];
begin
  if waits then
    perform pg_advisory_xact_lock(7249331607002);
  elsif not pg_try_advisory_xact_lock(7249331607002) then
    return -1;
  end if;
  select * into h from realtime.head;
  if h.at < clock_timestamp() - interval '5 seconds'
     or h.at < clock_timestamp() - interval '1 second' and (select s.last_value from realtime.inbox_id_seq s) > h.asked + 2000 then
    perform realtime.clear_inbox(h);
  end if;
  if stays and h.hot < clock_timestamp() + interval '1 second' then
    update realtime.head set hot = clock_timestamp() + interval '2 seconds';
  end if;
  select l.pos, l.at into last, since from realtime.log l order by l.pos desc limit 1;
  last := greatest(last, h.floor);
  since := greatest(since, clock_timestamp());

  begin
    with batch as (
      delete from realtime.inbox where ctid = any (array(select i.ctid from realtime.inbox i where i.id > h.clear order by i.id limit most)) returning *),
    placed as materialized (
      select b.*, last + row_number() over (order by b.id) as pos, c.tenant, c.direct, c.members,
             c.seq + count(*) filter (where b.kind = 'created') over (partition by b.channel_id order by b.id) as upto,
             c.tenant is null or b.kind not in ('created', 'mark') as other
        from batch b
        left join lateral (select x.tenant, x.direct, x.seq, x.members from realtime.channels x where x.channel_id = b.channel_id offset 0) c on true),
    whole as materialized (select count(*) as n, coalesce(bool_or(p.other), false) as mixed from placed p),
    messages as (
      insert into realtime.messages (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
      select p.message_id, p.channel_id, p.upto, p.user_id, p.thread, p.members, p.countable, p.deleted, p.mentions
        from placed p where p.kind = 'created' and not (select w.mixed from whole w)),
    channels as (
      update realtime.channels c set seq = k.upto
        from (select p.channel_id, max(p.upto) as upto from placed p where not (select w.mixed from whole w) group by p.channel_id) k
       where c.channel_id = k.channel_id and c.seq <> k.upto),
    log as (
      insert into realtime.log (pos, at, tenant, channel_id, kind, message_id, user_id, seq, ref, thread)
      select p.pos, since, p.tenant, p.channel_id, p.kind, p.message_id, p.user_id, coalesce(p.seq, p.upto), p.ref, p.thread
        from placed p where not (select w.mixed from whole w))
    select w.n, (select array_agg(b order by b.id) from batch b where w.mixed),
           (select array_agg((p.tenant, p.channel_id, p.kind, p.message_id, p.user_id, p.upto, p.ref, p.thread, p.upto, p.members,
                              p.countable, p.deleted, p.mentions)::realtime.step) from placed p where p.direct and p.kind = 'created' and not w.mixed)
      into n, notes, words from whole w;
  exception when unique_violation then -- a message is not new
    with batch as (
      delete from realtime.inbox where ctid = any (array(select i.ctid from realtime.inbox i where i.id > h.clear order by i.id limit most)) returning *)
    select count(*), array_agg(b order by b.id) into n, notes from batch b;
    words := null;
  end;
  if words is not null then
    perform realtime.first_words(words);
  end if;
  if notes is not null then
    insert into realtime.log (pos, at, tenant, channel_id, kind, message_id, user_id, seq, ref, thread)
    select last + s.ordinality, since, s.tenant, s.channel_id, case s.kind when 'removed' then 'deleted' else s.kind end, s.message_id, s.user_id, s.seq,
           case s.kind when 'mark' then s.ref end, case s.kind when 'created' then s.thread end
      from unnest(realtime.place(notes)) with ordinality s;
  end if;
  return n;
end $$;

-- place gives numbers to notes of all kinds, in their order, and does with
-- stints and messages what they say. What changes nothing is left out.
create function realtime.place(notes realtime.inbox[]) returns realtime.step[]
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  steps realtime.step[];
  ends boolean := exists (select from unnest(notes) u where u.kind = 'gone');
begin
  if exists (select from unnest(notes) u where not exists (select from realtime.channels c where c.channel_id = u.channel_id)) then
    insert into realtime.channels (channel_id, tenant, direct)
    select k.channel_id, coalesce(n.tenant, 'primary'), coalesce(n.type = 'direct', false)
      from (select distinct u.channel_id from unnest(notes) u) k
      left join realtime.nchat_channels() n on n.id = k.channel_id
     where not exists (select from realtime.channels c where c.channel_id = k.channel_id);
  end if;
  update realtime.channels c set direct = k.direct
    from (select distinct on (u.channel_id) u.channel_id, u.countable as direct from unnest(notes) u
           where u.kind in ('channel', 'opened') order by u.channel_id, u.id desc) k
   where c.channel_id = k.channel_id and c.direct <> k.direct;
  perform realtime.number_late(notes);

  with known as ( -- senders, turn, places: whose it was, when it came or went and to where, by the notes before; member: a stint is open
    select u.*, m.seq as had, m.sender,
           array_agg(u.user_id) filter (where u.message_id is not null and u.user_id is not null)
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as senders,
           max(case u.kind when 'created' then 2 * u.id + 1 when 'removed' then 2 * u.id end)
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as turn,
           array_agg(u.channel_id) filter (where u.kind = 'created')
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as places,
           m.channel_id as place, coalesce(not m.gone and m.seq > m.void, false) as was_alive,
           coalesce(lag(u.kind = 'joined') over (partition by u.channel_id, u.user_id, u.kind in ('joined', 'left') order by u.id), s.open, false) as member
      from unnest(notes) u
      left join lateral (select x.channel_id, x.seq, x.sender, x.gone, c.void
                           from realtime.messages x join realtime.channels c on c.channel_id = x.channel_id where x.message_id = u.message_id offset 0) m on true
      left join lateral (select true as open from realtime.stints x
                          where u.kind in ('joined', 'left') and x.channel_id = u.channel_id and x.user_id = u.user_id and x.to_seq is null offset 0) s on true),
  judged as ( -- alive: the message is in the log and was not taken out of it
    select k.*, coalesce(k.turn % 2 = 1, k.was_alive)
                and not (ends and exists (select from unnest(notes) g
                                           where g.kind = 'gone' and g.channel_id = coalesce(k.places[cardinality(k.places)], k.place)
                                             and g.id > coalesce(k.turn / 2, 0) and g.id < k.id)) as alive
      from known k),
  news as (
    select k.*, c.tenant,
           c.seq + count(*) filter (where k.kind = 'created') over of_channel as upto,
           (c.members + coalesce(sum(case when k.kind = 'joined' then 1 when k.kind = 'left' and k.member then -1 end) over of_channel, 0))::integer as members
      from judged k
     cross join lateral (select x.tenant, x.seq, x.members from realtime.channels x where x.channel_id = k.channel_id offset 0) c
     where case k.kind when 'created' then not k.alive when 'updated' then k.alive when 'deleted' then k.alive when 'removed' then k.alive
                       when 'joined' then not k.member when 'left' then k.member or k.ref = 1 else true end
    window of_channel as (partition by k.channel_id order by k.id)),
  placed as (
    select w.*, case when w.kind = 'mark' then w.seq
                     when w.kind in ('updated', 'deleted', 'removed')
                     then coalesce(max(w.upto) filter (where w.kind = 'created') over (partition by w.message_id, w.channel_id order by w.id), w.had, w.upto)
                     else w.upto end as number
      from news w)
  select coalesce(array_agg((p.tenant, p.channel_id, p.kind, p.message_id, coalesce(p.user_id, p.senders[cardinality(p.senders)], p.sender), p.number, p.ref, p.thread,
                             p.upto, p.members, p.countable, p.deleted, p.mentions)::realtime.step order by p.id), '{}')
    into steps from placed p;

  perform realtime.first_words(steps);
  perform realtime.move_stints(steps);
  insert into realtime.messages as m (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
  select distinct on (s.message_id) s.message_id, s.channel_id, s.seq, s.user_id, s.thread, s.members, s.countable, s.deleted, s.mentions
    from unnest(steps) with ordinality s where s.kind = 'created' order by s.message_id, s.ordinality desc
  on conflict (message_id) do update -- it was taken back, or was elsewhere
     set channel_id = excluded.channel_id, seq = excluded.seq, sender = excluded.sender, thread = excluded.thread, members = excluded.members,
         countable = excluded.countable, deleted = excluded.deleted, mentions = excluded.mentions, gone = false;
  update realtime.channels c set seq = s.upto, members = s.members
    from (select distinct on (x.channel_id) x.channel_id, x.upto, x.members
            from unnest(steps) with ordinality x order by x.channel_id, x.ordinality desc) s
   where c.channel_id = s.channel_id and (c.seq, c.members) is distinct from (s.upto, s.members);
  update realtime.channels c set void = s.upto
    from (select x.channel_id, max(x.upto) as upto from unnest(steps) x where x.kind = 'gone' group by x.channel_id) s
   where c.channel_id = s.channel_id;
  update realtime.messages m
     set countable = s.countable and s.kind <> 'removed', deleted = s.deleted and s.kind <> 'removed', gone = s.kind = 'removed',
         sender = s.user_id, thread = case when s.kind = 'removed' then m.thread else s.thread end,
         mentions = case when s.kind = 'removed' then m.mentions else s.mentions end
    from (select distinct on (x.message_id) x.* from unnest(steps) with ordinality x
           where x.kind in ('created', 'updated', 'deleted', 'removed') order by x.message_id, x.ordinality desc) s
   where s.kind <> 'created' and m.message_id = s.message_id;
  return steps;
end $$;

-- number_late numbers messages that were changed before they had a number: there
-- before us and not come to yet, or written past our triggers. The backfill is
-- at most in the middle of one short transaction; it is waited for.
create function realtime.number_late(notes realtime.inbox[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  r record;
  n bigint;
begin
  for r in select * from (
             select distinct on (u.message_id) u.* from unnest(notes) u
              where u.kind in ('created', 'updated', 'deleted', 'removed') order by u.message_id, u.id) x
            where x.kind <> 'created' and not exists (select from realtime.messages m where m.message_id = x.message_id) loop
    perform from realtime.backfill b where b.channel_id = r.channel_id and not b.done for update;
    continue when r.kind = 'removed' or exists (select from realtime.messages m where m.message_id = r.message_id);
    update realtime.backfill b set low = b.low - 1 where b.channel_id = r.channel_id and not b.done returning b.low + 1 into n;
    if not found then
      update realtime.channels c set seq = c.seq + 1 where c.channel_id = r.channel_id returning c.seq into n;
    end if;
    insert into realtime.messages (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
    select r.message_id, r.channel_id, n, r.user_id, r.thread, c.members, r.countable, r.deleted, r.mentions
      from realtime.channels c where c.channel_id = r.channel_id;
  end loop;
end $$;

-- move_stints opens and closes stints where somebody joined or left. Of one
-- member's steps every other one is a joining.
create function realtime.move_stints(steps realtime.step[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
begin
  update realtime.stints s set to_seq = x.seq, ended_at = clock_timestamp()
    from (select distinct on (y.channel_id, y.user_id) y.* from unnest(steps) with ordinality y
           where y.kind in ('joined', 'left') order by y.channel_id, y.user_id, y.ordinality) x
   where x.kind = 'left' and s.channel_id = x.channel_id and s.user_id = x.user_id and s.to_seq is null;
  insert into realtime.stints (channel_id, user_id, from_seq, to_seq, ended_at)
  select x.channel_id, x.user_id, x.seq, x.until, case when x.until is not null then clock_timestamp() end
    from (select y.*, lead(y.seq) over (partition by y.channel_id, y.user_id order by y.ordinality) as until
            from unnest(steps) with ordinality y where y.kind in ('joined', 'left')) x
   where x.kind = 'joined'
   order by x.ordinality;
end $$;

-- first_words: the first that somebody writes in a direct channel makes its
-- other member a contact of theirs. To touch too often costs a read, too seldom
-- a leak: only a message that follows another, which had its number before
-- these and counts, changes nothing for sure.
create function realtime.first_words(steps realtime.step[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set lock_timeout = '100ms' as $$
begin
  perform realtime.touch(w.user_id)
     from (select s.channel_id, s.user_id, min(s.upto) as first from unnest(steps) s
            where s.kind = 'created' and s.user_id is not null group by s.channel_id, s.user_id) w
     join realtime.channels c on c.channel_id = w.channel_id and c.direct
    where not exists (select from public.nchat_messages m
                        join realtime.messages k on k.message_id = m.id and not k.gone and k.channel_id = w.channel_id and k.seq < w.first
                       where m.channel_id = w.channel_id and m.user_id = w.user_id
                         and m.type::text <> 'system' and coalesce(to_jsonb(m) ->> 'is_system', 'false') <> 'true');
exception when lock_not_available or undefined_table or undefined_column then -- somebody is altering the table
  perform realtime.touch(w.user_id)
     from (select distinct s.user_id from unnest(steps) s join realtime.channels c on c.channel_id = s.channel_id and c.direct
            where s.kind = 'created' and s.user_id is not null) w;
end $$;

-- restint notes of members of a channel whether they may read it now.
create or replace function realtime.restint(channel uuid, who uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.hold(channel);
  insert into realtime.inbox (channel_id, kind, user_id, ref)
  select channel, case when u.may then 'joined' else 'left' end, u.id, case when u.banned then 1 end
    from (select k.id,
                 exists (select from realtime.nchat_members() m
                           join realtime.nchat_channels() n on n.id = m.channel_id
                           join realtime.nchat_users() x on x.id = m.user_id and x.tenant = n.tenant
                          where m.channel_id = channel and m.user_id = k.id and m.can_read) as may,
                 -- it may never have been a member, and have read a public channel all the same
                 exists (select from realtime.nchat_members() m join realtime.nchat_channels() n on n.id = m.channel_id
                          where m.channel_id = channel and m.user_id = k.id and n.type = 'public') as banned
            from (select distinct unnest(who) as id) k) u;
  perform realtime.ring_inbox();
end $$;

create or replace function realtime.feed_member() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id) then
    perform realtime.restint(old.channel_id, array[old.user_id]);
  end if;
  perform realtime.restint(new.channel_id, array[new.user_id]);
  if (to_jsonb(old) -> 'role', to_jsonb(old) -> 'can_write') is distinct from (to_jsonb(new) -> 'role', to_jsonb(new) -> 'can_write') then
    perform realtime.note(new.channel_id, 'member', null, new.user_id, null, null, null, null);
  end if;
  return null;
end $$;

create or replace function realtime.feed_channel() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  id uuid;
begin
  if tg_op = 'INSERT' then
    insert into realtime.channels (channel_id, tenant, direct)
    select n.id, n.tenant, n.type = 'direct' from realtime.nchat_channels() n where n.id = new.id
    on conflict do nothing;
    if not found then -- there was one of this id before
      perform realtime.note(new.id, 'channel', null, null, null, new.type::text = 'direct', null, null);
    end if;
    return null;
  end if;
  if tg_op = 'DELETE' then id := old.id; else id := new.id; end if;
  perform realtime.hold(id);
  perform realtime.note(id, case when tg_op = 'DELETE' then 'gone' when (old.type::text = 'public') <> (new.type::text = 'public') then 'opened' else 'channel' end,
                        null, null, null, tg_op <> 'DELETE' and new.type::text = 'direct', null, null);
  return null;
end $$;

-- backfill_some numbers up to most messages that were there before us in one
-- channel, newest first, and answers how many; 0: none is left anywhere; -1: others are at what is left. What
-- waits in the inbox is not from before us. It waits for nobody for long: the
-- sequencer may be waiting for it.
create or replace function realtime.backfill_some(most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
  b realtime.backfill;
  n integer;
  seen integer;
begin
  select * into b from realtime.backfill x where not x.done order by x.channel_id limit 1 for update skip locked;
  if not found then
    return case when exists (select from realtime.backfill x where not x.done) then -1 else 0 end;
  end if;
  with m as (
    select o.id, o.created_at, o.sender, o.thread, o.countable, o.deleted, o.mentions, o.published
      from realtime.nchat_messages() o
     where o.channel_id = b.channel_id and (o.created_at, o.id) < (b.before_at, b.before_id)
     order by o.created_at desc, o.id desc limit most),
  fresh as (
    select m.*, row_number() over (order by m.created_at desc, m.id desc) as i
      from m where m.published and not exists (select from realtime.messages k where k.message_id = m.id)
               and m.id not in (select i.message_id from realtime.inbox i where i.id > (select h.clear from realtime.head h) and i.kind = 'created')),
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
-- acknowledge moves a user's marks up to messages, each channel's once, and
-- answers how many of the channels it may do so in. A mark that is further
-- already stays. The caller has checked nothing: rights are read here, after
-- the mark is locked.
create or replace function realtime.acknowledge(ten text, who uuid, in_channels uuid[], in_messages uuid[], reading boolean,
                                     public_read boolean, public_delivered boolean, is_held boolean,
                                     shown uuid[], hidden uuid[], unreturned uuid[], legacy boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k record;
  st realtime.stints;
  m realtime.marks;
  r bigint;
  d bigint;
  s bigint;
  move bigint;
  n integer := 0;
  instant timestamptz := clock_timestamp();
begin
  for k in select x.channel_id, max(x.seq) as seq
             from unnest(in_channels, in_messages) a (channel, message)
             join realtime.messages x on x.message_id = a.message and x.channel_id = a.channel and not x.gone
            group by x.channel_id order by x.channel_id loop
    select t.* into st from realtime.stints t
      join realtime.nchat_channels() c on c.id = t.channel_id and c.tenant = ten
      join realtime.nchat_users() u on u.id = t.user_id and u.tenant = ten
      join realtime.nchat_members() o on o.channel_id = t.channel_id and o.user_id = who and o.can_read -- a stint ends a little after the right
     where t.channel_id = k.channel_id and t.user_id = who and t.to_seq is null;
    continue when not found;
    if k.seq <= st.from_seq and not exists (
         select from realtime.nchat_channels() c where c.id = k.channel_id and c.type = 'public'
         union all
         select from realtime.stints t where t.channel_id = k.channel_id and t.user_id = who and t.from_seq < k.seq and k.seq <= t.to_seq) then
      continue;
    end if;
    insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq) values (k.channel_id, who, st.from_seq, st.from_seq) on conflict do nothing;
    select x.* into m from realtime.marks x where x.user_id = who and x.channel_id = k.channel_id for update;
    continue when not exists (select from realtime.nchat_members() o where o.channel_id = k.channel_id and o.user_id = who and o.can_read); -- it may have waited
    n := n + 1;
    r := greatest(m.read_seq, st.from_seq);
    d := greatest(m.delivered_seq, st.from_seq);
    s := case when reading then greatest(r, k.seq) else r end;
    continue when s = r and (reading or k.seq <= d);
    instant := greatest(clock_timestamp(), m.read_at, m.delivered_at);
    insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public, shown_to, hidden_from, read_hidden_from, held)
    values (k.channel_id, who, case when reading then r else d end, k.seq, reading, case when k.seq > d then d end, instant,
            reading and public_read, public_delivered, shown, hidden, case when reading then unreturned else '{}' end, is_held)
    returning id into move;
    update realtime.marks x
       set read_seq = s, read_at = case when reading then instant else x.read_at end,
           delivered_seq = greatest(d, k.seq), delivered_at = case when k.seq > d then instant else x.delivered_at end
     where x.user_id = who and x.channel_id = k.channel_id;
    insert into realtime.inbox (channel_id, kind, user_id, seq, ref) values (k.channel_id, 'mark', who, k.seq, move);
    if legacy and reading then
      perform realtime.legacy_read(k.channel_id, who);
    end if;
  end loop;
  perform realtime.ring('inbox');
  return n;
end $$;

-- send_message writes a message once for each key, in one round trip. outcome:
-- sent, duplicate, conflict or denied.
create or replace function realtime.send_message(ten text, who uuid, key text, sum bytea, channel uuid, thread uuid, parent uuid,
                                      said text, kind text, meta jsonb, named uuid[], out outcome text, out message uuid)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k realtime.client_keys;
begin
  perform set_config('realtime.quiet', 'on', true), set_config('realtime.actor', who::text, true);
  insert into realtime.client_keys (tenant, user_id, client_message_id, digest) values (ten, who, key, sum) on conflict do nothing;
  if not found then -- it waited for whoever was faster
    select * into k from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    message := k.message_id;
    outcome := case when k.digest <> sum then 'conflict' when realtime.may_read(ten, who, channel) then 'duplicate' else 'denied' end;
    return;
  end if;
  if realtime.write_role(ten, who, channel, thread) is not null then -- nobody else waits for a channel, or can tell by it that somebody is at it
    perform realtime.share(channel); -- whoever is removed from now on is removed after this message
  end if;
  if realtime.write_role(ten, who, channel, thread) is null or parent is not null and not exists (
       select from realtime.nchat_messages() p where p.id = parent and p.channel_id = channel and p.published and not p.deleted) then
    delete from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    outcome := 'denied';
    return;
  end if;
  message := realtime.insert_message(ten, channel, who, thread, parent, said, kind, meta, named);
  update realtime.client_keys x set message_id = message where x.tenant = ten and x.user_id = who and x.client_message_id = key;
  outcome := 'sent';
end $$;

-- reconcile_message notes what was written past our triggers (a restore, a
-- replication, triggers disabled): a message that has no number, or that is
-- gone and was never said to be. Answers whether something was missing.
create or replace function realtime.reconcile_message(message uuid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  o record;
begin
  perform realtime.hold(x.channel_id) -- one event after the other
     from (select n.channel_id from realtime.nchat_messages() n where n.id = message
           union select m.channel_id from realtime.messages m where m.message_id = message order by 1) x;
  -- In one snapshot, in which a change is either noted or in the log.
  select n.id, n.channel_id, n.sender, n.thread, n.countable, n.deleted, n.mentions, coalesce(n.published, false) as published,
         m.channel_id as known_in, m.gone, (m.countable, m.deleted) is distinct from (n.countable, n.deleted) as differs, realtime.noted(message) as noted
    into o
    from (select 1) one
    left join realtime.nchat_messages() n on n.id = message
    left join realtime.messages m on m.message_id = message;
  if o.noted then
    return false;
  end if;
  if o.id is null then
    if o.known_in is null or o.gone or not exists (select from public.nchat_channels c where c.id = o.known_in) then
      return false;
    end if;
    perform realtime.revise(message, false, null, true);
    perform realtime.note(o.known_in, 'removed', message, null, null, null, null, null);
    return true;
  end if;
  if not o.published then
    return false;
  end if;
  if o.gone then
    perform realtime.note(o.channel_id, 'created', o.id, o.sender, o.thread, o.countable, o.deleted, o.mentions);
    return true;
  end if;
  if o.known_in is null then
    if exists (select from realtime.backfill b where b.channel_id = o.channel_id and not b.done) then
      return false; -- its turn comes
    end if;
    -- With it what else is missing there, in the order it was written: whichever event comes first. The
    -- rest comes with the events of the rest.
    perform realtime.note(x.channel_id, 'created', x.id, x.sender, x.thread, x.countable, x.deleted, x.mentions)
       from (select y.* from realtime.nchat_messages() y
              where y.channel_id = o.channel_id and y.published and not exists (select from realtime.messages k where k.message_id = y.id)
                and y.id not in (select i.message_id from realtime.inbox i where i.id > (select h.clear from realtime.head h) and i.kind = 'created')
              order by y.created_at, y.id limit 500) x;
    return true;
  end if;
  if o.differs then
    perform realtime.revise(message, false, null, true);
    perform realtime.note(o.channel_id, case when o.deleted then 'deleted' else 'updated' end, o.id, o.sender, o.thread, o.countable, o.deleted, o.mentions);
    return true;
  end if;
  return false;
end $$;

-- join_feed fits the triggers of messages to the columns there are. It runs
-- after every migrate, like join_nchat.
create or replace function realtime.join_feed() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $join$
declare
  msg text := 'public.nchat_messages';
  published text := 'true';
  deleted text := 'false';
  system text := $q$coalesce(%1$s.type::pg_catalog.text operator(pg_catalog.=) 'system', false)$q$;
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

  -- The hot path: one row, and nothing that only some messages need. It pins no
  -- search_path, which would cost a tenth of an insert: whatever it names,
  -- operators too, it names with its schema.
  execute format($f$
    create or replace function realtime.feed_inserted() returns trigger
    language plpgsql security definer as %L $f$, format($body$
begin
  if not (%3$s) then
    if exists (select from public.nchat_channels c where c.id operator(pg_catalog.=) new.channel_id and c.type::pg_catalog.text operator(pg_catalog.=) 'direct') then
      perform realtime.first_word(new.channel_id, new.user_id, new.id);
    end if;
    return null;
  end if;
  insert into realtime.inbox (channel_id, kind, message_id, user_id, thread, countable, deleted, mentions)
  values (new.channel_id, 'created', new.id, new.user_id, %1$s, not (%4$s) and not (%5$s) and %1$s is null, %4$s, %2$s);
  if coalesce(pg_catalog.current_setting('realtime.quiet', true), '') operator(pg_catalog.<>) 'on' then
    if not exists (select from realtime.head h where h.hot operator(pg_catalog.>) pg_catalog.clock_timestamp()) then
      perform realtime.ring('inbox');
    end if;
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
  actor uuid := realtime.actor();
  rewritten boolean := new.content is distinct from old.content;
  had integer;
begin
  if not was then
    if is_now then
      if exists (select from realtime.revisions r where r.message_id = new.id) then -- it was published before
        perform realtime.revise(new.id, true, actor, actor is null or actor is distinct from new.user_id);
      end if;
      perform realtime.note(new.channel_id, 'created', new.id, new.user_id, %1$s, counts, %6$s, %2$s);
    end if;
    return null;
  end if;
  had := realtime.revise(new.id, rewritten and is_now, actor, actor is null or actor is distinct from new.user_id);
  if not is_now or new.channel_id <> old.channel_id then
    perform realtime.note(old.channel_id, 'removed', new.id, old.user_id, null, null, null, null);
    if is_now then
      perform realtime.note(new.channel_id, 'created', new.id, new.user_id, %1$s, counts, %6$s, %2$s);
    end if;
    return null;
  end if;
  if (%6$s) and not (%5$s) then
    delete from realtime.message_versions v where v.message_id = new.id;
  elsif rewritten then
    insert into realtime.message_versions (message_id, version, content) values (new.id, had, old.content) on conflict do nothing;
  end if;
  perform realtime.note(new.channel_id, case when (%6$s) and not (%5$s) then 'deleted' else 'updated' end, new.id, new.user_id, %1$s, counts, %6$s, %2$s);
  return null;
end $body$, format(thread, 'new'), format(mentions, 'new'), format(published, 'old'), format(published, 'new'),
    format(deleted, 'old'), format(deleted, 'new'), format(system, 'new')));

  execute format($f$
    create or replace function realtime.feed_deleted() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as %L $f$, format($body$
begin
  delete from realtime.message_versions v where v.message_id = old.id;
  if not exists (select from public.nchat_channels n where n.id = old.channel_id) then -- is said to be gone, and all with it
    delete from realtime.revisions r where r.message_id = old.id;
  elsif %1$s then
    perform realtime.revise(old.id, false, null, true);
    perform realtime.note(old.channel_id, 'removed', old.id, old.user_id, null, null, null, null);
  end if;
  return null;
end $body$, format(published, 'old')));

  new_here := not exists (select from pg_trigger where tgrelid = msg::regclass and tgname = '!realtime_feed_insert');
  -- From here on nobody writes until a first one commits: whatever is there now was there before.
  -- Triggers fire by their names: these before an app's own, whose changes of the same row are then heard of after.
  perform realtime.fit_trigger(msg, '!realtime_feed_insert', 'after insert on %s for each row execute function realtime.feed_inserted()');
  perform realtime.fit_trigger(msg, '!realtime_feed_update', format('after update of %s on %%s for each row when ((%s) is distinct from (%s)) execute function realtime.feed_updated()',
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

-- Whose triggers are there already must not run the old ones once more.
do $$
begin
  if exists (select from pg_trigger t where t.tgname = 'realtime_feed_insert' and t.tgrelid = 'public.nchat_messages'::regclass) then
    alter trigger realtime_feed_insert on public.nchat_messages rename to "!realtime_feed_insert";
    alter trigger realtime_feed_update on public.nchat_messages rename to "!realtime_feed_update";
    perform realtime.join_feed();
  end if;
end $$;
-- +goose StatementEnd
