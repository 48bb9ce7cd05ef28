-- place gives numbers to notes of all kinds, in their order, and does with
-- stints and messages what they say. What changes nothing is left out.
create or replace function realtime.place(notes realtime.inbox[]) returns realtime.step[]
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  steps realtime.step[];
  ends boolean := exists (select from unnest(notes) u where u.kind in ('gone', 'emptied'));
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
    select u.*, m.seq as had, m.sender, m.thread as had_thread,
           array_agg(u.thread) filter (where u.kind in ('created', 'updated', 'deleted'))
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as threads,
           array_agg(u.user_id) filter (where u.message_id is not null and u.user_id is not null)
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as senders,
           max(case u.kind when 'created' then 2 * u.id + 1 when 'removed' then 2 * u.id end)
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as turn,
           array_agg(u.new_tenant) filter (where u.new_tenant is not null) over (partition by u.channel_id order by u.id) as tenants,
           array_agg(u.channel_id) filter (where u.kind = 'created')
             over (partition by u.message_id order by u.id rows between unbounded preceding and 1 preceding) as places,
           m.channel_id as place, coalesce(not m.gone and m.seq > m.void, false) as was_alive,
           coalesce(lag(u.kind = 'joined') over (partition by u.channel_id, u.user_id, u.kind in ('joined', 'left') order by u.id), s.open, false) as member
      from unnest(notes) u
      left join lateral (select x.channel_id, x.seq, x.sender, x.thread, x.gone, c.void
                           from realtime.messages x join realtime.channels c on c.channel_id = x.channel_id where x.message_id = u.message_id offset 0) m on true
      left join lateral (select true as open from realtime.stints x
                          where u.kind in ('joined', 'left') and x.channel_id = u.channel_id and x.user_id = u.user_id and x.to_seq is null offset 0) s on true),
  judged as ( -- alive: the message is in the log and was not taken out of it
    select k.*, coalesce(k.turn % 2 = 1, k.was_alive)
                and not (ends and exists (select from unnest(notes) g
                                           where g.kind in ('gone', 'emptied') and g.channel_id = coalesce(k.places[cardinality(k.places)], k.place)
                                             and g.id > coalesce(k.turn / 2, 0) and g.id < k.id)) as alive
      from known k),
  news as (
    select k.*, coalesce(k.tenants[cardinality(k.tenants)], c.tenant) as whose,
           c.seq + count(*) filter (where k.kind = 'created') over of_channel as upto,
           (c.members + coalesce(sum(case when k.kind = 'joined' then 1 when k.kind = 'left' and k.member then -1 end) over of_channel, 0))::integer as members
      from judged k
     cross join lateral (select x.tenant, x.seq, x.members from realtime.channels x where x.channel_id = k.channel_id offset 0) c
     where case k.kind when 'created' then not k.alive when 'updated' then k.alive when 'deleted' then k.alive when 'removed' then k.alive
                       when 'joined' then not k.member when 'left' then k.member or k.ref = 1 else true end
    window of_channel as (partition by k.channel_id order by k.id)),
  placed as ( -- was_thread, was_sender: before it
    select w.*, case when cardinality(w.threads) > 0 then w.threads[cardinality(w.threads)] else w.had_thread end as was_thread,
                coalesce(w.senders[cardinality(w.senders)], w.sender) as was_sender,
                case when w.kind = 'mark' then coalesce(w.seq, w.upto)
                     when w.kind in ('updated', 'deleted', 'removed')
                     then coalesce(max(w.upto) filter (where w.kind = 'created') over (partition by w.message_id, w.channel_id order by w.id), w.had, w.upto)
                     else w.upto end as number
      from news w)
  -- What left a thread, or is another's now, is first an entry of where and whose it was: by
  -- that those are told who have it to read no more.
  select coalesce(array_agg((p.whose, p.channel_id, p.kind, p.message_id, case when e.before then p.was_sender else coalesce(p.user_id, p.was_sender) end, p.number, p.ref,
                             case when e.before or p.kind = 'removed' then p.was_thread else p.thread end,
                             p.upto, p.members, p.countable, p.deleted, p.mentions)::realtime.step order by p.id, e.before desc), '{}')
    into steps
    from placed p
    join (values (true), (false)) e (before)
      on not e.before or p.kind in ('updated', 'deleted') and (p.was_thread <> coalesce(p.thread, p.channel_id) or p.was_sender <> p.user_id);

  perform realtime.first_words(steps);
  perform realtime.move_stints(steps);
  perform realtime.take_steps(steps);
  return steps;
end $$;

-- take_steps writes down of messages and channels what steps made of them.
create or replace function realtime.take_steps(steps realtime.step[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
begin
  insert into realtime.messages as m (message_id, channel_id, seq, sender, thread, members, countable, deleted, mentions)
  select distinct on (s.message_id) s.message_id, s.channel_id, s.seq, s.user_id, s.thread, s.members, s.countable, s.deleted, s.mentions
    from unnest(steps) with ordinality s where s.kind = 'created' order by s.message_id, s.ordinality desc
  on conflict (message_id) do update -- it was taken back, or was elsewhere
     set channel_id = excluded.channel_id, seq = excluded.seq, sender = excluded.sender, thread = excluded.thread, members = excluded.members,
         countable = excluded.countable, deleted = excluded.deleted, mentions = excluded.mentions, gone = false, gone_at = null;
  update realtime.channels c set seq = s.upto, members = s.members, tenant = s.tenant
    from (select distinct on (x.channel_id) x.channel_id, x.upto, x.members, x.tenant
            from unnest(steps) with ordinality x order by x.channel_id, x.ordinality desc) s
   where c.channel_id = s.channel_id and (c.seq, c.members, c.tenant) is distinct from (s.upto, s.members, s.tenant);
  update realtime.channels c set void = s.upto
    from (select x.channel_id, max(x.upto) as upto from unnest(steps) x where x.kind in ('gone', 'emptied') group by x.channel_id) s
   where c.channel_id = s.channel_id;
  update realtime.messages m set gone = true, gone_at = clock_timestamp(), countable = false, deleted = false -- the newest at once, the rest by the sweep
   where m.message_id in (select y.message_id from unnest(steps) x
                           cross join lateral (select z.message_id from realtime.messages z where z.channel_id = x.channel_id and z.seq <= x.upto and not z.gone
                                                order by z.seq desc limit 1000) y
                           where x.kind = 'emptied');
  update realtime.messages m
     set countable = s.countable and s.kind <> 'removed', deleted = s.deleted and s.kind <> 'removed', gone = s.kind = 'removed',
         gone_at = case when s.kind = 'removed' then clock_timestamp() end,
         sender = s.user_id, thread = s.thread, -- of what is removed as it was before, which these steps may have changed
         mentions = case when s.kind = 'removed' then m.mentions else s.mentions end
    from (select distinct on (x.message_id) x.* from unnest(steps) with ordinality x
           where x.kind in ('created', 'updated', 'deleted', 'removed') order by x.message_id, x.ordinality desc) s
   where s.kind <> 'created' and m.message_id = s.message_id;
end $$;
