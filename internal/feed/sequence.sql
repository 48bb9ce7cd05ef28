-- Messages that all are new, with marks among them, are what a busy app's notes
-- mostly are: they are done with in one statement. Whatever else there is goes
-- through place.
create or replace function realtime.sequence(most integer, stays boolean, waits boolean default false) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  h realtime.head;
  last bigint;
  since timestamptz;
  n integer;
  notes realtime.inbox[];
  words realtime.step[];
  drawn bigint := uuid_hash_extended(gen_random_uuid(), 0);
begin
  if waits then
    perform pg_advisory_xact_lock(7249331607002);
  elsif not pg_try_advisory_xact_lock(7249331607002) then
    return -1;
  end if;
  select * into h from realtime.head;
  if h.at < clock_timestamp() - interval '5 seconds' or h.at > clock_timestamp() + interval '5 seconds' -- the clock was set back
     or h.at < clock_timestamp() - interval '1 second' and (select s.last_value from realtime.inbox_id_seq s) > h.asked + 2000 then
    perform realtime.clear_inbox(h);
  end if;
  if stays and h.hot not between clock_timestamp() + interval '1 second' and clock_timestamp() + interval '3 seconds' then
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
      insert into realtime.log (pos, at, tenant, channel_id, kind, message_id, user_id, seq, ref, thread, mark)
      select p.pos, since, p.tenant, p.channel_id, p.kind, p.message_id, p.user_id, coalesce(p.seq, p.upto), p.ref, p.thread, drawn
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
    insert into realtime.log (pos, at, tenant, channel_id, kind, message_id, user_id, seq, ref, thread, mark)
    select last + s.ordinality, since, s.tenant, s.channel_id, case s.kind when 'removed' then 'deleted' when 'emptied' then 'opened' else s.kind end, s.message_id, s.user_id, s.seq,
           case when s.kind = 'mark' then s.ref when s.kind in ('joined', 'left', 'member') then s.members end, s.thread, drawn
      from unnest(realtime.place(notes)) with ordinality s;
  end if;
  return n;
end $$;

-- pass_over gives the first note of the inbox its place, and takes it out without one
-- where that cannot be for what it holds: which it was, and why. So no note stops the
-- log. Any other error is the database's, and not the note's: it is raised, and nothing is
-- taken out. unnoted() finds what was passed over, as far as it is to be seen in the app's tables.
create or replace function realtime.pass_over(out kind text, out channel uuid, out message uuid, out why text)
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  code text;
  tried bigint;
begin
  perform pg_advisory_xact_lock(7249331607002);
  select i.id into tried from realtime.inbox i where i.id > (select h.clear from realtime.head h) order by i.id limit 1;
  begin
    perform realtime.sequence(1, false, true);
  exception when data_exception or program_limit_exceeded or not_null_violation or internal_error then
    get stacked diagnostics code = returned_sqlstate, why = message_text;
    if code = 'XX000' and why not like 'invalid memory alloc request size%' then
      raise;
    end if;
    why := why || ' (SQLSTATE ' || code || ')';
    -- Lower ids may have been committed since: this is what failed only if it is the first before and after.
    delete from realtime.inbox x
     where x.id = tried and x.id = (select i.id from realtime.inbox i where i.id > (select h.clear from realtime.head h) order by i.id limit 1)
    returning x.kind, x.channel_id, x.message_id into kind, channel, message;
  end;
end $$;

-- clear_inbox moves the place from which the inbox is searched. A writer has
-- its transaction id before its first row has an id: it holds the channel. So
-- whoever drew an id up to last has a lower transaction id than this one, which
-- takes its own afterwards. (The xmax of a snapshot would be no such bound:
-- transactions above it may be running.)
create or replace function realtime.clear_inbox(h realtime.head) returns void
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
create or replace function realtime.waiting() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
  return exists (select from realtime.inbox i where i.id > (select h.clear from realtime.head h));
end $$;

-- last_pos is the last position given.
create or replace function realtime.last_pos() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(h.floor, (select l.pos from realtime.log l order by l.pos desc limit 1)) from realtime.head h
$$;

-- mark_at is the mark of the entry at a position; null: there is none, or it is forgotten.
create or replace function realtime.mark_at(at bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select l.mark from realtime.log l where l.pos = mark_at.at), (select h.mark from realtime.head h where h.floor = mark_at.at))
$$;

-- log_floor: entries up to it have been forgotten.
create or replace function realtime.log_floor() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$ select h.floor from realtime.head h $$;

-- number_late numbers messages that were changed before they had a number: there
-- before us and not come to yet, or written past our triggers. The backfill is
-- at most in the middle of one short transaction; it is waited for.
create or replace function realtime.number_late(notes realtime.inbox[]) returns void
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
create or replace function realtime.move_stints(steps realtime.step[]) returns void
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
create or replace function realtime.first_words(steps realtime.step[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set lock_timeout = '100ms' as $$
begin
  perform realtime.touch(w.user_id)
     from (select s.channel_id, s.user_id, min(s.upto) as first from unnest(steps) s
            where s.kind = 'created' and s.user_id is not null group by s.channel_id, s.user_id) w
     join realtime.channels c on c.channel_id = w.channel_id and c.direct
    where not exists (select from public.nchat_messages m
                        join realtime.messages k on k.message_id = m.id and not k.gone and k.channel_id = w.channel_id and k.seq < w.first
                       where m.channel_id = w.channel_id and m.user_id = w.user_id
                         and {{template "word" "m"}});
exception when lock_not_available or undefined_table or undefined_column then -- somebody is altering the table
  perform realtime.touch(w.user_id)
     from (select distinct s.user_id from unnest(steps) s join realtime.channels c on c.channel_id = s.channel_id and c.direct
            where s.kind = 'created' and s.user_id is not null) w;
end $$;
