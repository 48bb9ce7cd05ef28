-- +goose Up
-- Hasura's event triggers deliver at least once and in no order. What they tell
-- is in the log already, put there by our own triggers in the writer's
-- transaction; an event makes sure of it, from the rows as they are now, so
-- that its order and its repetitions change nothing.
create table realtime.hasura_events (
  id text primary key,
  at timestamptz not null default clock_timestamp()
);
create index hasura_events_at_idx on realtime.hasura_events (at);

-- +goose StatementBegin
-- reconcile_message puts into the log what was written past our triggers (a
-- restore, a replication, triggers disabled): a message that has no number, or
-- that is gone and was never said to be. Answers whether something was missing.
create function realtime.reconcile_message(message uuid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  o record;
  m realtime.messages;
  n bigint;
  ten text;
begin
  select * into o from realtime.nchat_messages() x where x.id = message;
  if o.id is null then
    update realtime.messages x set gone = true, countable = false, version = x.version + 1
     where x.message_id = message and not x.gone returning * into m;
    if not found or not exists (select from public.nchat_channels c where c.id = m.channel_id) then
      return false;
    end if;
    select c.tenant into ten from realtime.channels c where c.channel_id = m.channel_id;
    perform realtime.post(ten, m.channel_id, 'deleted', message, m.sender, m.seq, null);
    return true;
  end if;
  ten := (realtime.hold(o.channel_id)).tenant; -- and nobody numbers it meanwhile
  select * into m from realtime.messages x where x.message_id = message;
  if o.published and m.gone then
    n := realtime.number_one(o.channel_id, o.id, o.sender, o.thread, o.countable, o.deleted, o.mentions, false);
    perform realtime.post(ten, o.channel_id, 'created', message, o.sender, n, null);
    return true;
  end if;
  if o.published and m.message_id is null then
    if exists (select from realtime.backfill b where b.channel_id = o.channel_id and not b.done) then
      return false; -- its turn comes
    end if;
    -- With it what else is missing there, in the order it was written: whichever event comes first. The
    -- rest comes with the events of the rest.
    for o in select x.* from realtime.nchat_messages() x
              where x.channel_id = o.channel_id and x.published and not exists (select from realtime.messages k where k.message_id = x.id)
              order by x.created_at, x.id limit 500 loop
      n := realtime.number_one(o.channel_id, o.id, o.sender, o.thread, o.countable, o.deleted, o.mentions, false);
      perform realtime.post(ten, o.channel_id, 'created', o.id, o.sender, n, null);
    end loop;
    return true;
  end if;
  if o.published and (m.countable, m.deleted) is distinct from (o.countable, o.deleted) then
    update realtime.messages x set countable = o.countable, deleted = o.deleted, mentions = o.mentions, version = x.version + 1 where x.message_id = message;
    perform realtime.post(ten, o.channel_id, case when o.deleted then 'deleted' else 'updated' end, message, o.sender, m.seq, null);
    return true;
  end if;
  return false;
end $$;

-- reconcile_user opens and closes stints wherever a user is or was a member.
create function realtime.reconcile_user(who uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(k.channel_id, array[who])
     from (select m.channel_id from realtime.nchat_members() m where m.user_id = who
           union select s.channel_id from realtime.stints s where s.user_id = who and s.to_seq is null order by 1) k;
end $$;
-- +goose StatementEnd
