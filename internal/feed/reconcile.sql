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
         m.channel_id as known_in, m.gone, (m.countable, m.deleted) is distinct from (n.countable, n.deleted) as differs, realtime.noted(message) as noted,
         m.channel_id = n.channel_id as stayed, coalesce(m.seq <= c.void, false) as void
    into o
    from (select 1) one
    left join realtime.nchat_messages() n on n.id = message
    left join realtime.messages m on m.message_id = message
    left join realtime.channels c on c.channel_id = m.channel_id;
  if o.noted or o.void and o.stayed then -- void: it was another tenant's, and is nobody's to read here
    return false;
  end if;
  if o.id is null then
    if o.known_in is null or o.gone or not exists (select from public.nchat_channels c where c.id = o.known_in) then
      return false;
    end if;
    perform realtime.revise(message, false, null, true);
    perform realtime.note(o.known_in, 'removed', message);
    return true;
  end if;
  if not o.gone and not o.void and not (o.published and o.stayed) then
    perform realtime.revise(message, false, null, true);
    perform realtime.note(o.known_in, 'removed', message);
  end if;
  if not o.published then
    return o.known_in is not null and not o.gone;
  end if;
  if o.gone or not o.stayed then
    perform realtime.note(o.channel_id, 'created', o.id, o.sender, o.thread, o.countable, o.deleted, o.mentions);
    return true;
  end if;
  if o.known_in is null then
    if not realtime.numbered(o.channel_id) then
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

-- reconcile_user opens and closes stints wherever a user is or was a member.
create or replace function realtime.reconcile_user(who uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(k.channel_id, array[who])
     from (select m.channel_id from realtime.nchat_members() m where m.user_id = who
           union select s.channel_id from realtime.stints s where s.user_id = who and s.to_seq is null order by 1) k;
end $$;

-- recheck looks once more at whose rights were changed in a way that may not have seen,
-- or not been seen by, what was under way at the same time, once all of that is over;
-- one after the other, each in a transaction of its own. false: nobody's turn has come.
create or replace function realtime.recheck() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  r realtime.rechecks;
begin
  update realtime.rechecks c set settled = pg_current_xact_id() where c.settled is null;
  delete from realtime.rechecks c
   where c.id = (select o.id from realtime.rechecks o
                  where o.settled < pg_snapshot_xmin(pg_current_snapshot())
                     or o.settled > pg_snapshot_xmax(pg_current_snapshot()) and o.settled is distinct from pg_current_xact_id_if_assigned() -- of another cluster
                  order by o.id limit 1 for update skip locked)
  returning * into r;
  if not found then
    return false;
  end if;
  if r.channel_id is null then
    perform realtime.reconcile_user(u.id) from unnest(r.users) u (id);
  elsif exists (select from public.nchat_channels c where c.id = r.channel_id) then
    perform realtime.restint(r.channel_id, r.users);
  end if;
  return true;
end $$;

-- reconcile_member notes of one member of a channel whether it may read it now.
create or replace function realtime.reconcile_member(channel uuid, who uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from public.nchat_channels c where c.id = channel) then
    perform realtime.restint(channel, array[who]);
  end if;
end $$;

-- unnoted is what was written past our triggers (session_replication_role, a
-- restored dump, triggers disabled): lacking, a message that has no number; changed,
-- one that is deleted, in a channel or published, and the log says otherwise; left,
-- one that is no more and was never said to be; member, somebody whose right to
-- read a channel is another than the log knows. It looks at everything there is.
create or replace function realtime.unnoted() returns table (what text, channel_id uuid, id uuid) language sql stable as $$
  select case when k.message_id is null then 'lacking' else 'changed' end, n.channel_id, n.id
    from realtime.nchat_messages() n
    left join realtime.messages k on k.message_id = n.id
    left join realtime.channels c on c.channel_id = k.channel_id
   where case when k.message_id is null then n.published and not exists (select from realtime.backfill b where b.channel_id = n.channel_id and not b.done)
              when k.channel_id = n.channel_id then k.seq > c.void and (n.published = k.gone or not k.gone and (n.countable, n.deleted) is distinct from (k.countable, k.deleted))
              else n.published or not k.gone and k.seq > c.void end
     and not exists (select from realtime.inbox i where i.message_id = n.id)
  union all
  select 'left', k.channel_id, k.message_id
    from realtime.messages k
    join realtime.channels c on c.channel_id = k.channel_id and k.seq > c.void
   where not k.gone and exists (select from public.nchat_channels o where o.id = k.channel_id)
     and not exists (select from public.nchat_messages n where n.id = k.message_id)
     and not exists (select from realtime.inbox i where i.message_id = k.message_id)
  union all
  select 'member', coalesce(r.channel_id, s.channel_id), coalesce(r.user_id, s.user_id)
    from realtime.readers() r
    full join (select * from realtime.stints x where x.to_seq is null) s on s.channel_id = r.channel_id and s.user_id = r.user_id
   where (r.user_id is null) <> (s.user_id is null)
     and not exists (select from realtime.inbox i where i.channel_id = coalesce(r.channel_id, s.channel_id) and i.user_id = coalesce(r.user_id, s.user_id))
$$;

-- reconcile notes up to most of what is unnoted, and answers how much that was:
-- to be called until that is 0.
create or replace function realtime.reconcile(most integer default 10000) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  u record;
  n integer := 0;
begin
  for u in select x.* from realtime.unnoted() x left join public.nchat_messages o on o.id = x.id order by o.created_at, x.channel_id, x.id limit most loop
    n := n + 1;
    if u.what = 'member' then
      perform realtime.restint(u.channel_id, array[u.id]);
    else
      perform realtime.reconcile_message(u.id);
    end if;
  end loop;
  return n;
end $$;
