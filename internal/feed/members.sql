-- restint notes of members of a channel whether they may read it now.
create or replace function realtime.restint(channel uuid, who uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as $$
begin
  perform realtime.hold(channel);
  insert into realtime.inbox (channel_id, kind, user_id, ref)
  select channel, case when u.may then 'joined' else 'left' end, u.id, case when u.banned then 1 end
    from (select k.id,
                 exists (select from realtime.readers() r where r.channel_id = channel and r.user_id = k.id) as may,
                 -- it may never have been a member, and have read a public channel all the same
                 exists (select from realtime.nchat_members() m join realtime.nchat_channels() n on n.id = m.channel_id
                          where m.channel_id = channel and m.user_id = k.id and n.type = 'public') as banned
            from (select distinct unnest(who) as id) k) u;
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    insert into realtime.rechecks (channel_id, users) values (channel, who);
  end if;
  perform realtime.ring_inbox();
end $$;

create or replace function realtime.feed_members() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(k.channel_id, k.users)
     from (select x.channel_id, array_agg(x.user_id) as users from changed x group by x.channel_id order by x.channel_id) k;
  return null;
end $$;

create or replace function realtime.feed_member() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id) then
    perform realtime.restint(old.channel_id, array[old.user_id]);
  end if;
  perform realtime.restint(new.channel_id, array[new.user_id]);
  {{- $rights := cols "nchat_channel_members" "role" "can_write"}}
  {{- if $rights}}
  if ({{of "old" $rights}}) is distinct from ({{of "new" $rights}}) then
    perform realtime.note(new.channel_id, 'member', who => new.user_id);
  end if;
  {{- end}}
  return null;
end $$;

-- A user suspended, deleted, restored or another tenant's now leaves or joins wherever it is a member.
create or replace function realtime.feed_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.restint(m.channel_id, array[m.user_id])
     from (select x.channel_id, x.user_id from realtime.nchat_members() x where x.user_id = new.id order by x.channel_id) m;
  insert into realtime.rechecks (users) values (array[new.id]);
  return null;
end $$;

-- A block closes the direct channels of the two, or a lifted one opens them: both
-- are told to look at them again. Not whose they are: they may be moving.
create or replace function realtime.feed_block() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.note(k.id, 'channel', countable => true)
     from (select distinct c.id
             from (values (old.blocker_id, old.blocked_user_id), (new.blocker_id, new.blocked_user_id)) b (one, other)
             join realtime.nchat_members() x on x.user_id = b.one
             join realtime.nchat_members() y on y.channel_id = x.channel_id and y.user_id = b.other
             join realtime.nchat_channels() c on c.id = x.channel_id and c.type = 'direct'
            order by c.id) k;
  return null;
end $$;

-- note_channel notes what a channel is now, and whose.
create or replace function realtime.note_channel(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_current_xact_id();
  insert into realtime.inbox (channel_id, kind, countable, new_tenant)
  select n.id, 'channel', n.type = 'direct', n.tenant from realtime.nchat_channels() n where n.id = channel;
  perform realtime.ring_inbox();
end $$;

-- retenant notes that a channel is another tenant's now. Nothing crosses: whoever
-- may not read it any more leaves within the former tenant, what was written there
-- is nobody's to read here, and the new one's members join after it.
create or replace function realtime.retenant(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  now_reading uuid[] := array(select r.user_id from realtime.readers() r where r.channel_id = channel);
begin
  perform realtime.restint(channel, array(
    select s.user_id from realtime.stints s where s.channel_id = channel and s.to_seq is null and s.user_id <> all (now_reading)
    union select m.user_id from realtime.nchat_members() m where m.channel_id = channel and m.user_id <> all (now_reading)));
  perform realtime.note(channel, 'emptied');
  perform realtime.note_channel(channel);
  perform realtime.restint(channel, now_reading);
end $$;

create or replace function realtime.feed_channel() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  id uuid;
  gone boolean := tg_op = 'DELETE' or tg_op = 'UPDATE' and old.id <> new.id;
begin
  if new.id is distinct from old.id and tg_op <> 'DELETE' then
    insert into realtime.channels (channel_id, tenant, direct)
    select n.id, n.tenant, n.type = 'direct' from realtime.nchat_channels() n where n.id = new.id
    on conflict do nothing;
    if not found then -- there was one of this id before, maybe another tenant's
      perform realtime.note_channel(new.id);
    end if;
  end if;
  if tg_op = 'INSERT' then
    return null;
  end if;
  if gone then id := old.id; else id := new.id; end if;
  perform realtime.hold(id);
  {{- if has "nchat_channels" "source_account_id"}}
  if not gone and old.source_account_id is distinct from new.source_account_id then
    perform realtime.retenant(id);
    return null;
  end if;
  {{- end}}
  perform realtime.note(id, case when gone then 'gone' when (old.type::text = 'public') <> (new.type::text = 'public') then 'opened' else 'channel' end,
                        countable => not gone and new.type::text = 'direct');
  return null;
end $$;

create trigger realtime_feed_insert after insert on public.nchat_channel_members referencing new table as changed
  for each statement execute function realtime.feed_members();
create trigger realtime_feed_delete after delete on public.nchat_channel_members referencing old table as changed
  for each statement execute function realtime.feed_members();
{{$watched := cols "nchat_channel_members" "channel_id" "user_id" "can_read" "can_write" "role" -}}
create trigger realtime_feed_update after update on public.nchat_channel_members
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.feed_member();
create trigger realtime_feed_new after insert or delete on public.nchat_channels
  for each row execute function realtime.feed_channel();
{{$watched = cols "nchat_channels" "id" "name" "type" "is_archived" "is_readonly" "archived_at" "source_account_id" -}}
create trigger realtime_feed_update after update on public.nchat_channels
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.feed_channel();
create trigger realtime_feed after insert or update or delete on public.nchat_blocked_users
  for each row execute function realtime.feed_block();
{{$watched = cols "nchat_users" "deleted_at" "status" "source_account_id" -}}
{{if $watched -}}
create trigger realtime_feed after update on public.nchat_users
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.feed_user();
{{end}}
