-- adopt takes over what is there when the triggers first come: members, and
-- channels whose messages are to be numbered. Nobody writes from its lock on
-- until all commits: what it finds was there before, and what comes is noted.
create or replace function realtime.adopt() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from pg_trigger where tgrelid = 'public.nchat_messages'::regclass and tgname = '!realtime_feed_insert') then
    return;
  end if;
  lock table public.nchat_messages, public.nchat_channel_members, public.nchat_channels, public.nchat_users in share row exclusive mode;
  insert into realtime.stints (channel_id, user_id, from_seq)
  select r.channel_id, r.user_id, -4611686018427387904 from realtime.readers() r
  on conflict do nothing;
  insert into realtime.channels (channel_id, tenant, direct, members)
  select c.id, c.tenant, c.type = 'direct', (select count(*) from realtime.stints s where s.channel_id = c.id and s.to_seq is null) from realtime.nchat_channels() c
  on conflict do nothing;
  insert into realtime.backfill (channel_id)
  select c.id from realtime.nchat_channels() c where exists (select from public.nchat_messages m where m.channel_id = c.id)
  on conflict do nothing;
end $$;

select realtime.adopt();

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

-- numbered: what was in a channel before us has its numbers.
create or replace function realtime.numbered(channel uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select not exists (select from realtime.backfill b where b.channel_id = channel and not b.done)
$$;
