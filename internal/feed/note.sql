-- hold keeps everybody else from changing who may read or write in a channel,
-- and from sending there through us, until the transaction ends.
create or replace function realtime.hold(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.gates g where g.channel_id = channel for no key update;
  if not found then
    insert into realtime.gates (channel_id) values (channel) on conflict do nothing;
    perform from realtime.gates g where g.channel_id = channel for no key update;
  end if;
end $$;

-- share keeps rights in a channel as they are until the transaction ends.
create or replace function realtime.share(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.gates g where g.channel_id = channel for share;
  if not found then
    insert into realtime.gates (channel_id) values (channel) on conflict do nothing;
    perform from realtime.gates g where g.channel_id = channel for share;
  end if;
end $$;

-- note puts a change into the inbox; the transaction has its id before the row
-- has one (see clear_inbox).
create or replace function realtime.note(channel uuid, kind text, message uuid default null, who uuid default null, thread uuid default null,
                                         countable boolean default null, deleted boolean default null, mentions uuid[] default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_current_xact_id();
  insert into realtime.inbox (channel_id, kind, message_id, user_id, thread, countable, deleted, mentions)
  values (channel, kind, message, who, thread, countable, deleted, mentions);
  perform realtime.ring_inbox();
end $$;

-- note_marks notes that moves of somebody's marks are to be told, in their order: in
-- threads, and in channels themselves (null). Without a move it is told to nobody
-- but that user.
create or replace function realtime.note_marks(who uuid, channels uuid[], seqs bigint[], moves bigint[], threads uuid[] default null) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_current_xact_id();
  insert into realtime.inbox (channel_id, kind, user_id, seq, ref, thread)
  select m.channel, 'mark', who, m.seq, m.move, m.thread from unnest(channels, seqs, moves, threads) with ordinality m (channel, seq, move, thread, ord) order by m.ord;
  perform realtime.ring_inbox();
end $$;

-- noted: something about a message waits in the inbox.
create or replace function realtime.noted(message uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  return exists (select from realtime.inbox i where i.id > (select h.clear from realtime.head h) and i.message_id = message);
end $$;

-- ring_inbox wakes the sequencer, unless it looks by itself: a time far ahead is one
-- of a clock that was set back since.
create or replace function realtime.ring_inbox() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('realtime.quiet', true), '') <> 'on'
     and not exists (select from realtime.head h where h.hot > clock_timestamp() and h.hot < clock_timestamp() + interval '3 seconds') then
    perform realtime.ring('inbox');
  end if;
end $$;

-- revise counts a change of a message and answers the version before it.
create or replace function realtime.revise(message uuid, rewritten boolean, by_whom uuid, not_its_author boolean) returns integer
language sql set search_path = pg_catalog, pg_temp as $$
  insert into realtime.revisions as r (message_id, version, edited, editor, overruled)
  values (message, 2, case when rewritten then 2 else 1 end, by_whom, not_its_author)
  on conflict (message_id) do update
     set version = r.version + 1, edited = case when rewritten then r.version + 1 else r.edited end, editor = excluded.editor, overruled = excluded.overruled
  returning version - 1
$$;

-- sign_edit keeps with the version that an edit replaced what was asked for.
create or replace function realtime.sign_edit(message uuid, replaced integer, by_whom uuid, made_from integer, sum bytea, how text) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  update realtime.message_versions v set editor = by_whom, base = made_from, digest = sum, resolution = how
   where v.message_id = message and v.version = replaced
$$;
