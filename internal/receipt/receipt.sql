-- adopt_marks takes over how far members of a channel had read before us.
create or replace function realtime.adopt_marks(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
{{- if and (has "nchat_channel_members" "last_read_message_id") (has "nchat_channel_members" "last_read_at")}}
  insert into realtime.marks (channel_id, user_id, read_seq, read_at, delivered_seq, delivered_at)
  select m.channel_id, m.user_id, s.seq, m.last_read_at, s.seq, m.last_read_at
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
  may record;
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
    select t.* into st from realtime.stints t -- which ends a little after the right
     where t.channel_id = k.channel_id and t.user_id = who and t.to_seq is null;
    continue when not found;
    select * into may from realtime.readable(ten, who) x where x.channel_id = k.channel_id and x.member;
    continue when not found;
    if k.seq <= st.from_seq and not may.public and not exists (
         select from realtime.stints t where t.channel_id = k.channel_id and t.user_id = who and t.from_seq < k.seq and k.seq <= t.to_seq) then
      continue;
    end if;
    insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq) values (k.channel_id, who, st.from_seq, st.from_seq) on conflict do nothing;
    select x.* into m from realtime.marks x where x.user_id = who and x.channel_id = k.channel_id for update;
    continue when not exists (select from realtime.readable(ten, who) x where x.channel_id = k.channel_id and x.member); -- it may have waited
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
    perform realtime.note_marks(who, array[k.channel_id], array[k.seq], array[move]);
    if legacy and reading then
      perform realtime.legacy_read(k.channel_id, who);
    end if;
  end loop;
  perform realtime.ring('inbox');
  return n;
end $$;

-- shown: somebody may learn of a move at all. Whom its maker allowed that is
-- kept with it.
create or replace function realtime.shown(v realtime.moves, who uuid) returns boolean language sql immutable as
  'select v.user_id <> who and not v.held and (v.shown_to is null or who = any (v.shown_to)) and not who = any (v.hidden_from)';

-- reading_shown: somebody to whom a move is shown may learn by it what was read;
-- else only what was delivered, if that is public.
create or replace function realtime.reading_shown(v realtime.moves, who uuid) returns boolean language sql immutable as
  'select v.read and v.read_public and not who = any (v.read_hidden_from)';

-- unread counts members' countable messages past their marks, and those of them
-- that mention them; nobody's own messages are unread. Of one member, or (who
-- null) of all there are: that in one pass over the messages any of them has not
-- read, so that it costs the messages and the members, not one times the other.
create or replace function realtime.unread(channel uuid, who uuid default null) returns table (user_id uuid, n bigint, mentioned bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if who is not null then
    return query
    select who, count(x.seq), count(x.seq) filter (where who = any (x.mentions))
      from realtime.stints s
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
      left join realtime.messages x on x.channel_id = s.channel_id and x.seq > greatest(m.read_seq, s.from_seq)
                                   and x.countable and x.sender is distinct from who
     where s.channel_id = channel and s.user_id = who and s.to_seq is null
    having count(*) > 0;
    return;
  end if;
  return query
  with k as materialized (
    select s.user_id, greatest(m.read_seq, s.from_seq) as mark
      from realtime.stints s
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
     where s.channel_id = channel and s.to_seq is null),
  x as materialized (
    select y.seq, y.sender, y.mentions from realtime.messages y
     where y.channel_id = channel and y.countable and y.seq > (select min(k.mark) from k)),
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
