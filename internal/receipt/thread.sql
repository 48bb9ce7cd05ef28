-- thread_mark is how far a user has read in a thread; without a mark of ours as far
-- as nchat's own column says; null: nowhere yet.
create or replace function realtime.thread_mark(who uuid, channel uuid, thread uuid) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select m.read_seq from realtime.thread_marks m where m.user_id = who and m.thread_id = thread and m.channel_id = channel),
                  (select k.seq from realtime.nchat_thread_members() f
                     join realtime.messages k on k.message_id = f.last_read_message_id and k.channel_id = channel
                    where f.thread_id = thread and f.user_id = who))
$$;

-- thread_seen is up to where nothing in a thread is unread; null: nowhere yet.
create or replace function realtime.thread_seen(who uuid, channel uuid, thread uuid) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(realtime.thread_mark(who, channel, thread),
                  (select m.seen_seq from realtime.thread_marks m where m.user_id = who and m.thread_id = thread and m.channel_id = channel))
$$;

-- hold_thread_mark is a user's mark in a thread, made where there is none, and its
-- user's until the transaction ends.
create or replace function realtime.hold_thread_mark(who uuid, channel uuid, thread uuid, began bigint) returns realtime.thread_marks
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  m realtime.thread_marks;
begin
  insert into realtime.thread_marks as x (thread_id, user_id, channel_id, read_seq)
  values (thread, who, channel, coalesce(realtime.thread_mark(who, channel, thread), began))
  on conflict (user_id, thread_id) do update -- it is another channel's now
     set channel_id = excluded.channel_id, read_seq = excluded.read_seq, read_at = null, reached_seq = null, seen_seq = null where x.channel_id <> excluded.channel_id;
  select x.* into m from realtime.thread_marks x where x.user_id = who and x.thread_id = thread for update;
  return m;
end $$;

-- move_thread_mark is move_mark in a thread. It says nothing of what was received.
create or replace function realtime.move_thread_mark(ten text, who uuid, channel uuid, thread uuid, up_to bigint, public_read boolean, is_held boolean,
                                     shown uuid[], hidden uuid[], unreturned uuid[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  m realtime.thread_marks := realtime.hold_thread_mark(who, channel, thread, coalesce(realtime.may_mark(ten, who, channel, up_to), 0));
  began bigint := realtime.may_mark(ten, who, channel, up_to); -- it may have waited
  r bigint := greatest(m.read_seq, began);
  top bigint := greatest(m.reached_seq, r);
  move bigint;
  tells boolean := public_read and up_to > top;
  instant timestamptz := greatest(clock_timestamp(), m.read_at);
begin
  if began is null then
    return false;
  end if;
  if up_to <= r then
    return true;
  end if;
  if tells then
    shown := realtime.of_channel(channel, shown);
    tells := cardinality(shown) is distinct from 0;
  end if;
  if tells then
    insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, at, read_public, delivered_public,
                                shown_to, hidden_from, read_hidden_from, thread, held)
    values (channel, who, top, up_to, true, instant, true, false, shown, realtime.hidden_there(channel, hidden, top, up_to), unreturned, thread, is_held)
    returning id into move;
  end if;
  if is_held or not coalesce(tells, false) then
    instant := greatest(date_trunc('minute', instant), m.read_at);
  end if;
  update realtime.thread_marks x set read_seq = up_to, read_at = instant, reached_seq = case when top > up_to then top end
   where x.user_id = who and x.thread_id = thread;
  perform realtime.note_marks(who, array[channel], array[up_to], array[move], array[thread]);
  return true;
end $$;

-- mark_unread takes a user's mark back to before a message: the thread's where it is
-- in one, else the channel's. Who was told that it was read has been told. outcome as
-- of acknowledge.
create or replace function realtime.mark_unread(ten text, who uuid, message uuid, out outcome text, out channel uuid, out thread uuid)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k realtime.messages;
  began bigint;
begin
  select x.* into k from realtime.messages x where x.message_id = message;
  began := realtime.may_mark(ten, who, k.channel_id, k.seq);
  if began is null then
    outcome := case when k.message_id is null and exists (
        select from realtime.nchat_messages() o join realtime.stints s on s.channel_id = o.channel_id and s.user_id = who and s.to_seq is null
         where o.id = message and o.published) then 'unnumbered' else 'denied' end;
    return;
  end if;
  outcome := 'moved';
  channel := k.channel_id;
  thread := k.thread;
  if thread is null then
    update realtime.marks x set read_seq = k.seq - 1, reached_seq = greatest(x.reached_seq, x.read_seq)
     where x.user_id = who and x.channel_id = k.channel_id and x.read_seq >= k.seq;
  else
    perform realtime.hold_thread_mark(who, channel, thread, began);
    update realtime.thread_marks x
       set read_seq = least(x.read_seq, k.seq - 1), reached_seq = greatest(x.reached_seq, x.read_seq), seen_seq = least(x.seen_seq, k.seq - 1)
     where x.user_id = who and x.thread_id = k.thread and greatest(x.read_seq, x.seen_seq) >= k.seq;
  end if;
  if found then
    perform realtime.note_marks(who, array[channel], array[k.seq - 1], array[null::bigint], array[thread]);
  end if;
end $$;

-- thread_states is how far a user is in threads of channels it is a member of.
create or replace function realtime.thread_states(ten text, who uuid, threads uuid[])
returns table (thread_id uuid, channel_id uuid, last_read uuid, read_at timestamptz, n bigint, mentioned bigint, followed boolean)
language sql stable as $$
  select t.id, t.channel_id, case when m.read_at is not null then r.message_id end, m.read_at, u.n, u.mentioned,
         exists (select from realtime.nchat_thread_members() f where f.thread_id = t.id and f.user_id = who and f.followed)
    from unnest(threads) a (id)
    join realtime.nchat_threads() t on t.id = a.id
    join realtime.stints s on s.channel_id = t.channel_id and s.user_id = who and s.to_seq is null
    join realtime.channels c on c.channel_id = t.channel_id
   cross join lateral (select from realtime.readable(ten, who) x where x.channel_id = t.channel_id and x.member offset 0) k
    left join realtime.thread_marks m on m.user_id = who and m.thread_id = t.id and m.channel_id = t.channel_id
    left join lateral (select x.message_id from realtime.messages x
                        where x.thread = t.id and x.channel_id = t.channel_id and x.seq <= m.read_seq and x.seq > c.void and not x.gone order by x.seq desc limit 1) r on true
   cross join lateral (select greatest(coalesce(m.read_seq, realtime.thread_mark(who, t.channel_id, t.id)), m.seen_seq, s.from_seq, c.void) as seq offset 0) mark
   cross join lateral (
     select count(*) as n, count(*) filter (where who = any (x.mentions)) as mentioned from realtime.messages x
      where x.thread = t.id and x.channel_id = t.channel_id and x.seq > mark.seq and x.countable and x.sender is distinct from who) u
$$;

-- followed_threads are those that a user follows in channels it is a member of.
create or replace function realtime.followed_threads(ten text, who uuid) returns table (thread_id uuid, channel_id uuid, notify text) language sql stable as $$
  select t.id, t.channel_id, r.notify
    from realtime.nchat_thread_members() f
    join realtime.nchat_threads() t on t.id = f.thread_id
    join realtime.readers() r on r.tenant = ten and r.user_id = who and r.channel_id = t.channel_id
   where f.user_id = who and f.followed
$$;

-- unread_threads is how many of those have something unread, but for muted channels.
create or replace function realtime.unread_threads(ten text, who uuid) returns bigint language sql stable as $$
  select count(*)
    from realtime.followed_threads(ten, who) t
    join realtime.stints s on s.channel_id = t.channel_id and s.user_id = who and s.to_seq is null
    join realtime.channels c on c.channel_id = t.channel_id
   where t.notify <> 'none'
     and exists (select from realtime.messages x
                  where x.thread = t.thread_id and x.channel_id = t.channel_id and x.countable and x.sender is distinct from who
                    and x.seq > greatest(realtime.thread_seen(who, t.channel_id, t.thread_id), s.from_seq, c.void))
$$;

-- follow has a user follow a thread or not; false: there is none in a channel it is a
-- member of. What was written before somebody follows is not unread by that. path is its
-- caller's: the app's triggers find their tables by it, and what runs so names everything with
-- its schema.
create or replace function realtime.follow(ten text, who uuid, thread uuid, follows boolean, path text default current_setting('search_path')) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  channel uuid;
  began bigint;
begin
  select t.channel_id, s.from_seq into channel, began
    from realtime.nchat_threads() t
    join realtime.stints s on s.channel_id = t.channel_id and s.user_id = who and s.to_seq is null
    join realtime.readable(ten, who) r on r.channel_id = t.channel_id and r.member
   where t.id = follow.thread;
  if channel is null then
    return false;
  end if;
  {{- $there := and (has "nchat_threads" "channel_id") (has "nchat_thread_members" "thread_id") (has "nchat_thread_members" "user_id")}}
  {{- $flag := writable "nchat_thread_members" "is_subscribed"}}
  {{- if not $there}}
  return false;
  {{- else}}
  if follows and realtime.thread_seen(who, channel, thread) is null then
    perform realtime.hold_thread_mark(who, channel, thread, began);
    update realtime.thread_marks x set seen_seq = (select c.seq from realtime.channels c where c.channel_id = channel)
     where x.user_id = who and x.thread_id = follow.thread;
  end if;
  perform set_config('search_path', path, true);
  if not follows then
    {{if $flag}}update public.nchat_thread_members m set is_subscribed = false
     where m.thread_id operator(pg_catalog.=) thread and m.user_id operator(pg_catalog.=) who and m.is_subscribed is not false
    {{- else}}delete from public.nchat_thread_members m where m.thread_id operator(pg_catalog.=) thread and m.user_id operator(pg_catalog.=) who{{end}};
  else
    insert into public.nchat_thread_members as m ({{list "thread_id" "user_id" (writables "nchat_thread_members" "is_subscribed" "source_account_id")}})
    values ({{list "thread" "who" (and $flag "true") (and (writable "nchat_thread_members" "source_account_id") "ten")}})
    on conflict (thread_id, user_id) do {{if $flag}}update set is_subscribed = true where m.is_subscribed is false{{else}}nothing{{end}};
  end if;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  return true;
  {{- end}}
end $$;

-- followed_changed tells a user's devices that it follows a thread now, or does not.
create or replace function realtime.followed_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  k record;
begin
  if tg_op = 'DELETE' then k := old; else k := new; end if;
  perform realtime.note_marks(k.user_id, array[t.channel_id], array[null::bigint], array[null::bigint], array[t.id])
     from realtime.nchat_threads() t where t.id = k.thread_id and exists (select from public.nchat_channels c where c.id = t.channel_id);
  return null;
end $$;

{{if and (has "nchat_threads" "id") (has "nchat_threads" "channel_id") (has "nchat_thread_members" "thread_id") (has "nchat_thread_members" "user_id") -}}
create trigger realtime_followed_truncate before truncate on public.nchat_thread_members
  for each statement execute function realtime.threads_truncated();
create trigger realtime_followed after insert or delete on public.nchat_thread_members
  for each row execute function realtime.followed_changed();
{{if has "nchat_thread_members" "is_subscribed" -}}
create trigger realtime_followed_update after update on public.nchat_thread_members
  for each row when (old.is_subscribed is distinct from new.is_subscribed) execute function realtime.followed_changed();
{{end}}
{{end}}
-- thread_ended tells whoever followed a thread that it is no more, with what was unread
-- there, before a foreign key takes that along; and notes it.
create or replace function realtime.thread_ended() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.nchat_channels c where c.id = old.channel_id) then
    return null;
  end if;
  insert into realtime.ended_threads as e (thread_id, channel_id) values (old.id, old.channel_id)
  on conflict (thread_id) do update set channel_id = excluded.channel_id, at = excluded.at;
  perform realtime.note_marks(f.user_id, array[old.channel_id], array[null::bigint], array[null::bigint], array[old.id])
     from realtime.nchat_thread_members() f where f.thread_id = old.id and f.followed;
  return null;
end $$;

-- threads_truncated does that before all threads go, or all that follow some: each user
-- is told once.
create or replace function realtime.threads_truncated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_table_name = 'nchat_threads' then
    insert into realtime.ended_threads as e (thread_id, channel_id) select t.id, t.channel_id from realtime.nchat_threads() t
    on conflict (thread_id) do update set channel_id = excluded.channel_id, at = excluded.at;
  end if;
  perform realtime.note_marks(x.user_id, array[x.channel_id], array[null::bigint], array[null::bigint], array[x.id])
     from (select distinct on (f.user_id) f.user_id, t.channel_id, t.id
             from realtime.nchat_thread_members() f join realtime.nchat_threads() t on t.id = f.thread_id where f.followed) x;
  return null;
end $$;

{{if and (has "nchat_threads" "id") (has "nchat_threads" "channel_id") -}}
create trigger realtime_followed_truncate before truncate on public.nchat_threads
  for each statement execute function realtime.threads_truncated();
create trigger "!realtime_followed" after delete on public.nchat_threads
  for each row execute function realtime.thread_ended();
{{end}}
