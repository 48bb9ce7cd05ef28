-- touch says that who may see a user may have changed.
create or replace function realtime.touch(who uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if who is not null then
    insert into realtime.audience (user_id) values (who);
    perform realtime.ring('audience/' || who);
  end if;
end $$;

create or replace function realtime.contact_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' then perform realtime.touch(old.user_id); end if;
  if tg_op <> 'DELETE' then perform realtime.touch(new.user_id); end if;
  return null;
end $$;

-- A block changes who sees the blocker, and who may write in the direct
-- conversations of the two.
create or replace function realtime.block_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  b record;
begin
  for b in select * from (values (1, old.blocker_id, old.blocked_user_id), (2, new.blocker_id, new.blocked_user_id)) v (which, blocker, blocked)
            where which = 1 and tg_op <> 'INSERT' or which = 2 and tg_op <> 'DELETE' loop
    perform realtime.touch(b.blocker);
    perform realtime.ring('members/' || c.id)
       from public.nchat_channel_members mine
       join public.nchat_channel_members other on other.channel_id = mine.channel_id and other.user_id = b.blocked
       join public.nchat_channels c on c.id = mine.channel_id and c.type::text = 'direct'
      where mine.user_id = b.blocker;
  end loop;
  return null;
end $$;

create or replace function realtime.user_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' then perform realtime.touch(old.id); end if;
  if tg_op <> 'DELETE' then perform realtime.touch(new.id); end if;
  return null;
end $$;

-- touch_few touches all members of a channel, where there are not many.
create or replace function realtime.touch_few(channel uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  few uuid[] := array(select m.user_id from public.nchat_channel_members m where m.channel_id = channel limit 5);
begin
  if cardinality(few) < 5 then
    perform realtime.touch(u.id) from unnest(few) u (id);
  end if;
end $$;

-- A direct channel makes contacts of two; any channel makes a list of members.
-- Where many are members nobody was a contact before nor is after.
create or replace function realtime.member_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
  direct boolean;
begin
  if tg_op = 'DELETE' then r := old; else r := new; end if;
  select c.type::text = 'direct' into direct from public.nchat_channels c where c.id = r.channel_id;
  if coalesce(direct, tg_op = 'DELETE') then
    perform realtime.touch_few(r.channel_id);
    perform realtime.touch(r.user_id);
  end if;
  perform realtime.ring('members/' || r.channel_id);
  if tg_op = 'UPDATE' and (old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id) then
    perform realtime.touch(old.user_id);
    if old.channel_id <> new.channel_id then
      if exists (select from public.nchat_channels c where c.id = old.channel_id and c.type::text = 'direct') then
        perform realtime.touch_few(old.channel_id);
      end if;
      perform realtime.ring('members/' || old.channel_id);
    end if;
  end if;
  return null;
end $$;

-- Of many that one statement adds, each sees the others: those who were two before it,
-- and contacts, are more than a few when the first of them is looked at.
create or replace function realtime.members_added() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.touch(m.user_id)
     from (select a.channel_id, count(*) as n from added a join public.nchat_channels c on c.id = a.channel_id
            where c.type::text = 'direct' group by 1) d
    cross join lateral (
      select x.user_id, count(*) over () as before
        from (select o.user_id from public.nchat_channel_members o where o.channel_id = d.channel_id limit d.n + 5) x
       where not exists (select from added a where a.channel_id = d.channel_id and a.user_id = x.user_id)) m
   where d.n > 1 and m.before < 5;
  return null;
end $$;

create or replace function realtime.channel_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if 'direct' in (old.type::text, new.type::text) and old.type <> new.type then
    if new.type::text = 'direct' then
      insert into realtime.directs (channel_id) values (new.id);
    end if;
    perform realtime.touch(m.user_id) from public.nchat_channel_members m where m.channel_id = new.id;
  end if;
  perform realtime.ring('members/' || new.id);
  return null;
end $$;

-- The first that somebody writes in a direct channel makes its other member a
-- contact of theirs. To touch too often costs a read, too seldom a leak: only a
-- message written after one that was committed before, and that counts, changes
-- nothing for sure.
create or replace function realtime.first_word(channel uuid, who uuid, message uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  since timestamptz := realtime.direct_since(channel);
begin
  if since is null and not exists (select from public.nchat_messages m where m.id = message and m.xmin = pg_current_xact_id()::xid) then
    return; -- not between two: once it is, that touches both
  end if;
  if not exists (select from public.nchat_messages m
                  where m.channel_id = channel and m.user_id = who and m.id <> message and m.created_at >= since
                    and {{template "word" "m"}}
                    and m.xmin <> pg_current_xact_id()::xid) then
    perform realtime.touch(who);
  end if;
end $$;

-- A message that is no more, or another's now, may have been the one that made a contact.
create or replace function realtime.message_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' then
    if old.channel_id <> new.channel_id then perform realtime.touch(old.user_id); end if;
    if exists (select from public.nchat_channels c where c.id = new.channel_id and c.type::text = 'direct') then
      perform realtime.touch(new.user_id);
      if old.user_id is distinct from new.user_id then perform realtime.touch(old.user_id); end if;
    end if;
  elsif exists (select from public.nchat_channels c where c.id = old.channel_id and c.type::text = 'direct') then
    perform realtime.touch(old.user_id);
  end if;
  return null;
end $$;

create trigger realtime_presence after insert or update or delete on public.nchat_contacts
  for each row execute function realtime.contact_changed();
create trigger realtime_presence after insert or update or delete on public.nchat_blocked_users
  for each row execute function realtime.block_changed();
create trigger realtime_presence after insert or delete on public.nchat_channel_members
  for each row execute function realtime.member_changed();
create trigger realtime_presence_added after insert on public.nchat_channel_members
  referencing new table as added for each statement execute function realtime.members_added();
create trigger realtime_presence after delete on public.nchat_messages
  for each row execute function realtime.message_changed();
create trigger realtime_presence after insert or delete on public.nchat_users
  for each row execute function realtime.user_changed();

-- By what a row was and is, and not by what a statement names: an app's own trigger
-- may have changed the row before it was written.
{{$watched := cols "nchat_channel_members" "channel_id" "user_id" "can_read" "can_write" "role" "created_at" -}}
create trigger realtime_presence_update after update on public.nchat_channel_members
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.member_changed();
{{$watched = cols "nchat_channels" "type" "source_account_id" "is_archived" "archived_at" "is_readonly" -}}
create trigger realtime_presence_update after update on public.nchat_channels
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.channel_changed();
{{$watched = cols "nchat_messages" "type" "user_id" "channel_id" "is_system" "created_at" -}}
create trigger realtime_presence_update after update on public.nchat_messages
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.message_changed();
{{$watched = cols "nchat_users" "id" "deleted_at" "status" "source_account_id" -}}
create trigger realtime_presence_update after update on public.nchat_users
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.user_changed();

-- TRUNCATE takes relations of anybody.
create or replace function realtime.relations_truncated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.touch(p.user_id) from realtime.presence p;
  return null;
end $$;

create trigger realtime_presence_truncate after truncate on public.nchat_contacts
  for each statement execute function realtime.relations_truncated();
create trigger realtime_presence_truncate after truncate on public.nchat_blocked_users
  for each statement execute function realtime.relations_truncated();
create trigger realtime_presence_truncate after truncate on public.nchat_channel_members
  for each statement execute function realtime.relations_truncated();
create trigger realtime_presence_truncate after truncate on public.nchat_messages
  for each statement execute function realtime.relations_truncated();
