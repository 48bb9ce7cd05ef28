-- forgotten are channels that are no more and that the log does not speak of.
create or replace function realtime.forgotten() returns table (channel_id uuid) language sql stable as $$
  select c.channel_id from realtime.channels c
   where c.void > -9223372036854775808
     and not exists (select from public.nchat_channels o where o.id = c.channel_id)
     and not exists (select from realtime.log l where l.channel_id = c.channel_id)
     and not exists (select from realtime.inbox i where i.channel_id = c.channel_id)
$$;

-- sweep_void does a part, of up to most messages, of what emptying channels left to
-- do, and forgets messages, stints and revisions of channels that are no more and
-- that the log does not speak of any more, and at last the channels. It answers how many messages it did;
-- 0 also where somebody else is at the log.
create or replace function realtime.sweep_void(most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  n integer;
  gone integer;
begin
  if not pg_try_advisory_xact_lock(7249331607002) then
    return 0;
  end if;
  update realtime.messages m set gone = true, gone_at = clock_timestamp(), countable = false, deleted = false
   where m.ctid = any (array(
     select x.ctid from realtime.channels c
       join realtime.messages x on x.channel_id = c.channel_id and x.seq <= c.void and not x.gone
      where c.void > c.voided and c.void > -9223372036854775808 limit most));
  get diagnostics n = row_count;
  if n < most then
    update realtime.channels c set voided = c.void where c.void > c.voided and c.void > -9223372036854775808;
  end if;
  with forgotten as materialized (
    select f.channel_id from realtime.forgotten() f),
  messages as (
    delete from realtime.messages m where m.ctid = any (array(
      select x.ctid from forgotten f join realtime.messages x on x.channel_id = f.channel_id limit most)) returning m.message_id),
  revisions as (delete from realtime.revisions r using messages m where r.message_id = m.message_id),
  stints as (delete from realtime.stints s using forgotten f where s.channel_id = f.channel_id and s.to_seq is not null),
  gates as (delete from realtime.gates g using forgotten f where g.channel_id = f.channel_id),
  backfill as (delete from realtime.backfill b using forgotten f where b.channel_id = f.channel_id)
  select count(*) into gone from messages;
  if gone = 0 then -- nothing is left of them, but for what receipts forget
    delete from realtime.channels c where c.ctid = any (array(
      select k.ctid from realtime.forgotten() f join realtime.channels k on k.channel_id = f.channel_id
       where not exists (select from realtime.stints s where s.channel_id = f.channel_id) and not realtime.has_receipts(f.channel_id) limit most));
  end if;
  return greatest(n, gone);
end $$;

-- sweep_gone looks at up to most messages that have been no more for so long, forgets those
-- without a row, with their versions, and answers at how many it looked; 0 also where somebody
-- else is at the log. One that is there and not published, or not any more, goes on with its
-- version when it is: it is looked at again when as much time has passed.
create or replace function realtime.sweep_gone(kept interval, most integer) returns integer
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  n integer;
begin
  if not pg_try_advisory_xact_lock(7249331607002) then
    return 0;
  end if;
  update realtime.messages m set gone_at = clock_timestamp() -- gone before there was gone_at
   where m.ctid = any (array(select x.ctid from realtime.messages x where x.gone and x.gone_at is null limit most));
  with old as materialized (
    select x.message_id, exists (select from public.nchat_messages o where o.id = x.message_id)
                         or exists (select from realtime.inbox i where i.message_id = x.message_id) as there
      from (select y.message_id from realtime.messages y where y.gone and y.gone_at < (select clock_timestamp() - kept) order by y.gone_at limit most) x),
  later as (update realtime.messages m set gone_at = clock_timestamp() from old o where m.message_id = o.message_id and o.there), -- they are looked at again then
  revisions as (delete from realtime.revisions r using old o where r.message_id = o.message_id and not o.there),
  gone as (delete from realtime.messages m using old o where m.message_id = o.message_id and not o.there)
  select count(*) into n from old;
  return n;
end $$;
