-- adopt_marks takes over how far members of a channel had read before us.
create or replace function realtime.adopt_marks(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
{{- if and (has "nchat_channel_members" "last_read_message_id") (has "nchat_channel_members" "last_read_at")}}
  insert into realtime.marks (channel_id, user_id, read_seq, read_at, delivered_seq, delivered_at, told_seq, told_at)
  select m.channel_id, m.user_id, s.seq, least(m.last_read_at, clock_timestamp()), s.seq, least(m.last_read_at, clock_timestamp()), s.seq, least(m.last_read_at, clock_timestamp())
    from public.nchat_channel_members m
   cross join lateral (
     select coalesce((select k.seq from realtime.messages k where k.message_id = m.last_read_message_id and k.channel_id = m.channel_id),
                     (select k.seq from public.nchat_messages o join realtime.messages k on k.message_id = o.id
                       where o.channel_id = m.channel_id and o.created_at <= m.last_read_at and k.channel_id = m.channel_id
                       order by o.created_at desc, o.id desc limit 1)) as seq) s
   where m.channel_id = channel and s.seq is not null
  on conflict do nothing;
{{- end}}
end $$;

-- may_mark is where a member's stint in a channel began, if it may move its marks
-- there up to message number seq; else null. A stint ends a little after the right.
create or replace function realtime.may_mark(ten text, who uuid, channel uuid, seq bigint) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select t.from_seq
      from realtime.stints t
      join realtime.readable(ten, who) r on r.channel_id = t.channel_id and r.member
     where t.channel_id = channel and t.user_id = who and t.to_seq is null
       and (seq > t.from_seq or r.public
            or exists (select from realtime.stints o where o.channel_id = channel and o.user_id = who and o.from_seq < seq and seq <= o.to_seq)));
end $$;

-- acknowledge moves a user's marks up to messages, each channel's and each thread's
-- once; a mark that is further already stays. A message in a thread is read there
-- and not in the channel, and received in the channel. Answered is what became of
-- each: moved, or denied where it is no message of its channel, or of the thread
-- named, or none that the user may mark, or unnumbered where a member only waits for
-- messages from before us to be numbered. A message that is no more has its place
-- still. The caller has checked nothing. Who may learn of it (public_read to
-- unreturned) is presence's, and decided by as_of: where that is another by now, for
-- the caller may have waited for a change of settings, nothing is moved and all is
-- answered as changed.
create or replace function realtime.acknowledge(ten text, who uuid, in_channels uuid[], in_threads uuid[], in_messages uuid[], reading boolean,
                                     public_read boolean, public_delivered boolean,
                                     shown uuid[], hidden uuid[], unreturned uuid[], as_of text) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  outcomes text[];
  k record;
  is_held boolean;
  is_moved boolean;
begin
  select array_agg(case when m.message_id is not null and (a.thread is null or a.thread = m.thread)
                             and realtime.may_mark(ten, who, m.channel_id, m.seq) is not null then 'moved'
                        when m.message_id is null and s.user_id is not null then 'unnumbered' else 'denied' end order by a.n)
    into outcomes
    from unnest(in_channels, in_threads, in_messages) with ordinality a (channel, thread, message, n)
    left join realtime.messages m on m.message_id = a.message and m.channel_id = a.channel
    left join realtime.nchat_messages() o on o.id = a.message and o.channel_id = a.channel and o.published
    left join realtime.stints s on s.channel_id = o.channel_id and s.user_id = who and s.to_seq is null;
  if not 'moved' = any (outcomes) then
    return outcomes;
  end if;
  is_held := realtime.hold_invisible(ten, who);
  if as_of is distinct from realtime.audience_version(ten, who) then
    return array_fill('changed'::text, array[cardinality(outcomes)]);
  end if;
  for k in select m.channel_id, case when reading then m.thread end as thread, max(m.seq) as seq, array_agg(a.n) as places
             from unnest(in_messages, outcomes) with ordinality a (message, outcome, n) join realtime.messages m on m.message_id = a.message
            where a.outcome = 'moved' group by 1, 2 order by 1, 2 loop
    if k.thread is null then
      is_moved := realtime.move_mark(ten, who, k.channel_id, k.seq, reading, public_read, public_delivered, is_held, shown, hidden, unreturned);
    else
      is_moved := realtime.move_thread_mark(ten, who, k.channel_id, k.thread, k.seq, public_read, is_held, shown, hidden, unreturned);
    end if;
    if not is_moved then
      select array_agg(case when a.n = any (k.places) then 'denied' else a.outcome end order by a.n) into outcomes
        from unnest(outcomes) with ordinality a (outcome, n);
    end if;
  end loop;
  return outcomes;
end $$;

-- unread counts members' countable messages past their marks, and those of them
-- that mention them; nobody's own messages are unread. Of one member, or (who
-- null) of all there are: that in one pass over the messages any of them has not
-- read, so that it costs the messages and the members, not one times the other.
-- told: past what everybody may know to be read, instead.
create or replace function realtime.unread(channel uuid, who uuid default null, told boolean default false) returns table (user_id uuid, n bigint, mentioned bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if who is not null then
    return query
    select who, count(x.seq), count(x.seq) filter (where who = any (x.mentions))
      from realtime.stints s
      join realtime.channels c on c.channel_id = s.channel_id
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
      left join realtime.messages x on x.channel_id = s.channel_id and x.seq > greatest(case when told then m.told_seq else m.read_seq end, s.from_seq, c.void)
                                   and x.countable and x.thread is null and x.sender is distinct from who
     where s.channel_id = channel and s.user_id = who and s.to_seq is null
    having count(*) > 0;
    return;
  end if;
  return query
  with k as materialized (
    select s.user_id, greatest(case when told then m.told_seq else m.read_seq end, s.from_seq, c.void) as mark
      from realtime.stints s
      join realtime.channels c on c.channel_id = s.channel_id
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
     where s.channel_id = channel and s.to_seq is null),
  x as materialized (
    select y.seq, y.sender, y.mentions from realtime.messages y
     where y.channel_id = channel and y.countable and y.thread is null and y.seq > (select min(k.mark) from k)),
  past as (select coalesce(array_agg(x.seq order by x.seq), '{}') as seqs from x),
  own as (select k.user_id, count(*) as n from x join k on k.user_id = x.sender and x.seq > k.mark group by k.user_id),
  named as (
    select k.user_id, count(*) as n
      from x cross join lateral (select distinct unnest(x.mentions) as user_id) w
      join k on k.user_id = w.user_id and x.seq > k.mark and k.user_id is distinct from x.sender
     group by k.user_id)
  select k.user_id, cardinality(p.seqs) - width_bucket(k.mark, p.seqs) - coalesce(o.n, 0), coalesce(c.n, 0)
    from k cross join past p left join own o on o.user_id = k.user_id left join named c on c.user_id = k.user_id;
end $$;
