-- fold_moves folds up to most moves past their time into those that stand for what
-- came before, and answers how many they were. Counts stay as they are: moves become
-- one where they follow each other, what was read in each thread and in none and what
-- was only received apart,
-- and may be known to the same. When it was is then known to the month, and after a
-- year as a year ago: of moves that become one the last one's time stays. Moves the log
-- still speaks of are let alone.
create or replace function realtime.fold_moves(kept interval, most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  before timestamptz := least(clock_timestamp() - kept, (select l.at from realtime.log l order by l.pos limit 1) - interval '1 hour');
  n integer;
begin
  with picked as materialized (
    select v.ctid as row, v.channel_id, v.user_id, coalesce(v.thread, v.channel_id) as within from realtime.moves v where not v.folded and not v.held and v.at < before order by v.at limit most),
  fresh as (
    delete from realtime.moves v where v.ctid = any (array(select p.row from picked p)) and not v.folded and not v.held returning v.*),
  had as ( -- of the same threads: in none something is received
    delete from realtime.moves v where v.ctid = any (array(
      select x.row from (select distinct p.channel_id, p.user_id, p.within from picked p) p
       cross join lateral (select o.ctid as row from realtime.moves o
                            where o.folded and o.channel_id = p.channel_id and o.user_id = p.user_id and coalesce(o.thread, o.channel_id) = p.within offset 0) x))
       and v.folded returning v.*),
  old as (select * from fresh union all select * from had),
  parts as materialized (
    select o.channel_id, o.user_id, o.thread, true as read, o.from_seq, o.to_seq, o.at, o.shown_to, o.hidden_from, o.read_hidden_from
      from old o where o.read and o.read_public
    union all
    select o.channel_id, o.user_id, null, false, o.delivered_from, o.to_seq, o.at, o.shown_to, o.hidden_from, '{}'
      from old o where o.delivered_public and o.delivered_from is not null),
  alike as (
    select p.channel_id, p.user_id, p.thread, p.read, p.from_seq, p.to_seq, p.at,
           case when cardinality(p.shown_to) > 1 then realtime.sorted(p.shown_to) else p.shown_to end as shown_to,
           case when cardinality(p.hidden_from) > 1 then realtime.sorted(p.hidden_from) else p.hidden_from end as hidden_from,
           case when w.senders is null then p.read_hidden_from
                else realtime.hidden_anyway(p.channel_id, p.from_seq, p.to_seq, p.read_hidden_from, w.senders) end as read_hidden_from
      from parts p
      left join (select x.channel_id, x.user_id, array_agg(distinct h.id order by h.id) as senders
                   from parts x cross join unnest(x.read_hidden_from) h (id) group by x.channel_id, x.user_id) w
        on w.channel_id = p.channel_id and w.user_id = p.user_id and p.read),
  begun as (
    select a.*, coalesce(lag(a.to_seq) over run = a.from_seq
                         and (lag(a.shown_to) over run, lag(a.hidden_from) over run, lag(a.read_hidden_from) over run)
                             is not distinct from (a.shown_to, a.hidden_from, a.read_hidden_from)
                         and (date_trunc('month', lag(a.at) over run) = date_trunc('month', a.at)
                              or greatest(lag(a.at) over run, a.at) < clock_timestamp() - interval '1 year'), false) as follows
      from alike a window run as (partition by a.channel_id, a.user_id, a.thread, a.read order by a.to_seq, a.from_seq)),
  runs as (
    select b.*, count(*) filter (where not b.follows) over (partition by b.channel_id, b.user_id, b.thread, b.read order by b.to_seq, b.from_seq) as run from begun b),
  folded as (
    insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public,
                                shown_to, hidden_from, read_hidden_from, thread, folded)
    select r.channel_id, r.user_id, min(r.from_seq), max(r.to_seq), r.read, case when not r.read then min(r.from_seq) end, max(r.at), r.read, not r.read,
           r.shown_to, r.hidden_from, r.read_hidden_from, r.thread, true
      from runs r group by r.channel_id, r.user_id, r.thread, r.read, r.run, r.shown_to, r.hidden_from, r.read_hidden_from)
  select count(*) into n from fresh;
  return n;
end $$;

-- sorted is an array in order.
create or replace function realtime.sorted(list uuid[]) returns uuid[] language sql immutable as
  'select array(select distinct x from unnest(list) x order by x)';

-- hidden_anyway is from whom what was read may be said to be hidden, without hiding
-- more: those it is hidden from, and of senders those who have no message there. A long
-- stretch is not searched for that.
create or replace function realtime.hidden_anyway(channel uuid, above bigint, upto bigint, hidden uuid[], senders uuid[]) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
  return array(
    select s.id from unnest(senders) s (id)
     where s.id = any (hidden)
        or upto - above <= 20000
           and not exists (select from realtime.messages m where m.channel_id = channel and m.seq > above and m.seq <= upto and m.sender = s.id)
     order by s.id);
end $$;

-- forget_receipts forgets up to most moves and marks of channels that the log does
-- not know any more, and answers how many they were.
create or replace function realtime.forget_receipts(most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  n integer;
  marks integer;
  thread_marks integer;
begin
  delete from realtime.moves v where v.ctid = any (array(
    select o.ctid from realtime.forgotten() f join realtime.moves o on o.channel_id = f.channel_id limit most));
  get diagnostics n = row_count;
  delete from realtime.marks m where m.ctid = any (array(
    select o.ctid from realtime.forgotten() f join realtime.marks o on o.channel_id = f.channel_id limit most));
  get diagnostics marks = row_count;
  delete from realtime.thread_marks m where m.ctid = any (array(
    select o.ctid from realtime.forgotten() f join realtime.thread_marks o on o.channel_id = f.channel_id limit most));
  get diagnostics thread_marks = row_count;
  delete from realtime.legacy l using realtime.forgotten() f where l.channel_id = f.channel_id;
  return greatest(n, marks, thread_marks);
end $$;

-- has_receipts: something of a channel's receipts is left.
create or replace function realtime.has_receipts(channel uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from realtime.marks m where m.channel_id = channel) or exists (select from realtime.moves v where v.channel_id = channel)
      or exists (select from realtime.thread_marks m where m.channel_id = channel) or exists (select from realtime.legacy l where l.channel_id = channel);
end $$;

-- has_marks: something of what a user has read or muted is left.
create or replace function realtime.has_marks(who uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from realtime.marks m where m.user_id = who) or exists (select from realtime.thread_marks m where m.user_id = who)
      or exists (select from realtime.notifications n where n.user_id = who);
end $$;

-- find_ended notes threads that went before there was thread_ended, or past it; not those
-- that have messages still.
create or replace function realtime.find_ended() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
{{- if and (has "nchat_threads" "id") (has "nchat_threads" "channel_id")}}
  insert into realtime.ended_threads (thread_id, channel_id)
  select distinct on (m.thread_id) m.thread_id, m.channel_id from realtime.thread_marks m
   where not exists (select from realtime.nchat_threads() t where t.id = m.thread_id)
     and not exists (select from realtime.messages x where x.thread = m.thread_id and x.channel_id = m.channel_id and not x.gone)
  on conflict do nothing;
{{- end}}
end $$;

select realtime.find_ended();
