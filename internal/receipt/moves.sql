-- of_channel are those of a list who can read a channel as its members or could once;
-- null: of everybody, everybody.
create or replace function realtime.of_channel(channel uuid, list uuid[]) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
begin
  return case when list is not null then
    array(select u.id from unnest(list) u (id) where exists (select from realtime.stints s where s.user_id = u.id and s.channel_id = channel)) end;
end $$;

-- hidden_there are those of a list from whom what passed a channel's messages has to
-- be hidden: who is or was a member there, or wrote one of them without ever having
-- been. A long stretch is not searched for these, and all stay. The others are told
-- apart from nobody by a user who is not (see told_to_all).
create or replace function realtime.hidden_there(channel uuid, list uuid[], above bigint, upto bigint) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  there uuid[] := realtime.of_channel(channel, list);
  senders uuid[];
begin
  if list is null or cardinality(there) = cardinality(list) or upto - above > 1000 then
    return coalesce(list, '{}');
  end if;
  senders := array(select distinct m.sender from realtime.messages m where m.channel_id = channel and m.seq > above and m.seq <= upto);
  return array(select u.id from unnest(list) u (id) where u.id = any (there) or u.id = any (senders)) || '00000000-0000-0000-0000-000000000000'::uuid;
end $$;

-- move_mark moves one mark, if it is not as far; false: the right to has ended
-- while it waited for the mark, and nothing is changed. What others may learn of it
-- is a move, with those of its user's lists alone who are of the channel; what nobody
-- may ever learn of is none, and the mark says the minute only, as it does of what is held. What was read before, and marked unread since,
-- is told to its reader alone.
create or replace function realtime.move_mark(ten text, who uuid, channel uuid, up_to bigint, reading boolean,
                                     public_read boolean, public_delivered boolean, is_held boolean,
                                     shown uuid[], hidden uuid[], unreturned uuid[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  fresh boolean;
  began bigint;
  m realtime.marks;
  r bigint;
  d bigint;
  top bigint;
  move bigint;
  instant timestamptz;
  told boolean;
  tells_read boolean := reading and public_read;
  tells_delivered boolean := public_delivered;
begin
  insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq)
  values (channel, who, -9223372036854775808, -9223372036854775808) on conflict do nothing;
  fresh := found;
  select x.* into m from realtime.marks x where x.user_id = who and x.channel_id = channel for update;
  began := realtime.may_mark(ten, who, channel, up_to); -- it may have waited
  r := greatest(m.read_seq, began);
  d := greatest(m.delivered_seq, began);
  if began is null or up_to <= (case when reading then r else d end) then
    if fresh then
      delete from realtime.marks x where x.user_id = who and x.channel_id = channel;
    end if;
    return began is not null;
  end if;
  top := greatest(m.reached_seq, r);
  instant := greatest(clock_timestamp(), m.read_at, m.delivered_at);
  tells_read := tells_read and up_to > top;
  tells_delivered := tells_delivered and up_to > d;
  if tells_read or tells_delivered then
    shown := realtime.of_channel(channel, shown);
    tells_read := tells_read and cardinality(shown) is distinct from 0;
    tells_delivered := tells_delivered and cardinality(shown) is distinct from 0;
  end if;
  if tells_read or tells_delivered then
    insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public,
                                shown_to, hidden_from, read_hidden_from, held)
    values (channel, who, case when tells_read then top else d end, up_to, tells_read, case when tells_delivered then d end, instant,
            tells_read, tells_delivered, shown, realtime.hidden_there(channel, hidden, least(top, d), up_to), case when tells_read then unreturned else '{}' end, is_held)
    returning id, realtime.told_to_all(moves) into move, told;
  end if;
  if is_held or not (case when reading then tells_read else tells_delivered end) then
    instant := greatest(date_trunc('minute', instant), m.read_at, m.delivered_at);
  end if;
  update realtime.marks x
     set read_seq = case when reading then up_to else r end, read_at = case when reading then instant else x.read_at end,
         reached_seq = case when top > (case when reading then up_to else r end) then top end,
         delivered_seq = greatest(d, up_to), delivered_at = case when up_to > d then instant else x.delivered_at end,
         told_seq = case when told then up_to else x.told_seq end, told_at = case when told then instant else x.told_at end
   where x.user_id = who and x.channel_id = channel;
  perform realtime.note_marks(who, array[channel], array[up_to], array[move]);
  return true;
end $$;

-- release shows what a user did in hiding, as done now, to whom it allowed that
-- then and (read_too to hidden) allows it still. What nobody may learn of is forgotten.
create or replace function realtime.release(who uuid, read_too boolean, delivered_too boolean, shown uuid[], hidden uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  channels uuid[];
  seqs bigint[];
  moves bigint[];
  threads uuid[];
begin
  with was as materialized (
    select v.id, v.read_public and read_too as reads, v.delivered_public and delivered_too and v.delivered_from is not null as delivers,
           case when v.shown_to is null then realtime.of_channel(v.channel_id, shown) when shown is null then v.shown_to
                else array(select unnest(v.shown_to) intersect select unnest(shown)) end as to_whom
      from realtime.moves v where v.user_id = who and v.held),
  gone as (
    delete from realtime.moves v using was w
     where v.id = w.id and (not (w.reads or w.delivers) or cardinality(w.to_whom) = 0)),
  told as (
    update realtime.moves v
       set held = false, at = clock_timestamp(), read = w.reads, read_public = w.reads, delivered_public = w.delivers,
           from_seq = case when w.reads then v.from_seq else v.delivered_from end, delivered_from = case when w.delivers then v.delivered_from end,
           shown_to = w.to_whom,
           hidden_from = realtime.sorted(v.hidden_from || realtime.hidden_there(v.channel_id, hidden, least(v.from_seq, v.delivered_from), v.to_seq))
      from was w
     where v.id = w.id and (w.reads or w.delivers) and cardinality(w.to_whom) is distinct from 0
    returning v.id, v.channel_id, v.to_seq, v.thread, v.at, v.thread is null and realtime.told_to_all(v) as to_all),
  marked as (
    update realtime.marks m set told_seq = greatest(m.told_seq, t.seq), told_at = greatest(m.told_at, t.at)
      from (select x.channel_id, max(x.to_seq) as seq, max(x.at) as at from told x where x.to_all group by x.channel_id) t
     where m.user_id = who and m.channel_id = t.channel_id)
  select array_agg(t.channel_id order by t.id), array_agg(t.to_seq order by t.id), array_agg(t.id order by t.id), array_agg(t.thread order by t.id)
    into channels, seqs, moves, threads from told t;
  if moves is not null then
    perform realtime.note_marks(who, channels, seqs, moves, threads);
  end if;
end $$;

-- shown: somebody may learn of a move at all. Whom its maker allowed that is
-- kept with it.
create or replace function realtime.shown(v realtime.moves, who uuid) returns boolean language sql immutable as
  'select v.user_id <> who and not v.held and (v.shown_to is null or who = any (v.shown_to)) and not who = any (v.hidden_from)';

-- reading_shown: somebody to whom a move is shown may learn by it what was read;
-- else only what was delivered, if that is public.
create or replace function realtime.reading_shown(v realtime.moves, who uuid) returns boolean language sql immutable as
  'select v.read and v.read_public and not who = any (v.read_hidden_from)';

-- told_to_all: everybody may learn of a move what was read, whoever they are and now.
create or replace function realtime.told_to_all(v realtime.moves) returns boolean language sql immutable as
  'select v.read and v.read_public and not v.held and v.shown_to is null and v.hidden_from = ''{}'' and v.read_hidden_from = ''{}''';

-- passing are the moves that passed any of some messages and that somebody may
-- learn of, each once for each part: at is the place, within its part, of the newest
-- message it passed. The messages of a part are one thread's, or of a channel and in
-- no thread: what is read is read there, and what is received in the channel. It reads
-- about as much as there is to find, however many moves there were before and after: a
-- move longer than four messages and up to sixteen that passed one ends within the next
-- sixteen. What is held it does not pass by, by shown and the index: how long it takes
-- would tell of it.
create or replace function realtime.passing(who uuid, shares boolean, channels uuid[], threads uuid[], parts integer[], seqs bigint[])
returns table (part integer, place integer, channel uuid, user_id uuid, read_from bigint, delivered_from bigint, to_seq bigint, at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query
  select k.part, k.place, k.channel, x.user_id, x.read_from, x.delivered_from, x.to_seq, x.at
    from (select u.part, u.channel, u.thread, u.seq, lead(u.seq) over (partition by u.part order by u.seq) as next,
                 (row_number() over (partition by u.part order by u.seq))::integer as place
            from unnest(channels, threads, parts, seqs) u (channel, thread, part, seq)) k
   cross join generate_series(0, 10) s (span)
   cross join lateral (values (k.channel, k.thread is null), (k.thread, true)) w (within, reads)
   cross join lateral (
     select v.user_id, case when w.reads and shares and realtime.reading_shown(v, who) then v.from_seq end as read_from,
            case when v.delivered_public then v.delivered_from end as delivered_from, v.to_seq, v.at
       from realtime.moves v
      where v.channel_id = k.channel and coalesce(v.thread, v.channel_id) = w.within and v.span = s.span and v.to_seq >= k.seq
        and v.to_seq < least(k.next, case when s.span < 10 then k.seq + (4::bigint << (2 * s.span)) else 9223372036854775807 end)
        and v.from_seq < k.seq and realtime.shown(v, who) offset 0) x
   where x.read_from is not null or x.delivered_from is not null;
end $$;
