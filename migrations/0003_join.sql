-- +goose Up
-- How we read nchat's tables. An install may lack a column or a table, or gain
-- one later, so join_nchat() writes the readers and triggers to fit what is
-- there; it runs after every migrate and may run at any time. The readers are
-- string-bodied SQL functions and not views: Postgres inlines them all the
-- same, and they never stand in the way of an ALTER TABLE of nchat's.

-- +goose StatementBegin
create function realtime.has_column(tbl text, col text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from pg_attribute
                  where attrelid = to_regclass(tbl) and attname = col and attnum > 0 and not attisdropped)
$$;

-- there are those of some columns that a table has, in that order; null: none.
create function realtime.there(tbl text, cols text[]) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select string_agg(k.col, ', ' order by k.i) from unnest(cols) with ordinality k (col, i) where realtime.has_column(tbl, k.col)
$$;

-- fit_trigger makes a trigger as it is to be now: an install may have gained a
-- column since. What it was made from is its comment.
create function realtime.fit_trigger(tbl text, name text, def text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  was text;
begin
  select coalesce(obj_description(t.oid, 'pg_trigger'), '') into was from pg_trigger t where t.tgrelid = tbl::regclass and t.tgname = name;
  if was = def then
    return;
  elsif found then
    execute format('drop trigger %I on %s', name, tbl);
  end if;
  execute format('create trigger %I %s', name, format(def, tbl));
  execute format('comment on trigger %I on %s is %L', name, tbl, def);
end $$;

-- touch says that who may see a user may have changed.
create function realtime.touch(who uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if who is not null then
    insert into realtime.audience (user_id) values (who);
    perform realtime.ring('audience/' || who);
  end if;
end $$;

create function realtime.contact_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' then perform realtime.touch(old.user_id); end if;
  if tg_op <> 'DELETE' then perform realtime.touch(new.user_id); end if;
  return null;
end $$;

-- A block changes who sees the blocker, and who may write in the direct
-- conversations of the two.
create function realtime.block_changed() returns trigger
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

create function realtime.user_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' then perform realtime.touch(old.id); end if;
  if tg_op <> 'DELETE' then perform realtime.touch(new.id); end if;
  return null;
end $$;

-- A direct channel makes contacts; any channel makes a list of members.
create function realtime.member_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
  direct boolean;
begin
  if tg_op = 'DELETE' then r := old; else r := new; end if;
  select c.type::text = 'direct' into direct from public.nchat_channels c where c.id = r.channel_id;
  if coalesce(direct, tg_op = 'DELETE') then
    perform realtime.touch(m.user_id) from public.nchat_channel_members m where m.channel_id = r.channel_id;
    perform realtime.touch(r.user_id);
  end if;
  perform realtime.ring('members/' || r.channel_id);
  if tg_op = 'UPDATE' and old.channel_id <> new.channel_id then
    perform realtime.touch(old.user_id);
    perform realtime.ring('members/' || old.channel_id);
  end if;
  return null;
end $$;

create function realtime.channel_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if 'direct' in (old.type::text, new.type::text) and old.type <> new.type then
    perform realtime.touch(m.user_id) from public.nchat_channel_members m where m.channel_id = new.id;
  end if;
  perform realtime.ring('members/' || new.id);
  return null;
end $$;

-- The first that somebody writes in a direct channel makes its other member a
-- contact of theirs. To touch too often costs a read, too seldom a leak: only a
-- message written after one that was committed before, and that counts, changes
-- nothing for sure.
create function realtime.first_word(channel uuid, who uuid, message uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.nchat_messages m
                  where m.channel_id = channel and m.user_id = who and m.id <> message
                    and m.type::text <> 'system' and coalesce(to_jsonb(m) ->> 'is_system', 'false') <> 'true'
                    and m.xmin <> pg_current_xact_id()::xid) then
    perform realtime.touch(who);
  end if;
end $$;

-- A message that is no more, or another's now, may have been the one that made a contact.
create function realtime.message_changed() returns trigger
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

create function realtime.join_nchat() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $join$
declare
  tenant text;
  t record;
begin
  perform pg_advisory_xact_lock(hashtext('realtime.join_nchat'));

  tenant := case when realtime.has_column('public.nchat_users', 'source_account_id') then 'source_account_id::text' else $q$'primary'$q$ end;
  execute format($f$
    create or replace function realtime.nchat_users()
    returns table (id uuid, tenant text, display_name text, avatar_url text) language sql stable as
    'select id, %s, display_name::text, %s from public.nchat_users %s' $f$,
    replace(tenant, '''', ''''''),
    case when realtime.has_column('public.nchat_users', 'avatar_url') then 'avatar_url::text' else 'null::text' end,
    case when realtime.has_column('public.nchat_users', 'deleted_at') then 'where deleted_at is null' else '' end);

  tenant := case when realtime.has_column('public.nchat_channels', 'source_account_id') then 'source_account_id::text' else $q$'primary'$q$ end;
  execute format($f$
    create or replace function realtime.nchat_channels()
    returns table (id uuid, tenant text, type text, name text, archived boolean, readonly boolean) language sql stable as
    'select id, %s, type::text, name::text, %s, %s from public.nchat_channels' $f$, replace(tenant, '''', ''''''),
    case when realtime.has_column('public.nchat_channels', 'is_archived') then 'coalesce(is_archived, false)' else 'false' end
      || case when realtime.has_column('public.nchat_channels', 'archived_at') then ' or archived_at is not null' else '' end,
    case when realtime.has_column('public.nchat_channels', 'is_readonly') then 'coalesce(is_readonly, false)' else 'false' end);

  execute format($f$
    create or replace function realtime.nchat_members()
    returns table (channel_id uuid, user_id uuid, can_read boolean, can_write boolean, role text, notify text) language sql stable as
    'select channel_id, user_id, %s, %s, %s, %s from public.nchat_channel_members' $f$,
    case when realtime.has_column('public.nchat_channel_members', 'can_read') then 'coalesce(can_read, true)' else 'true' end,
    case when realtime.has_column('public.nchat_channel_members', 'can_write') then 'coalesce(can_write, true)' else 'true' end,
    case when realtime.has_column('public.nchat_channel_members', 'role') then 'coalesce(role::text, ''''member'''')' else '''''member''''' end,
    -- all, mentions or none
    'case when ' || case when realtime.has_column('public.nchat_channel_members', 'is_muted') then 'is_muted' else 'false' end || ' then ''''none'''' else '
      || case when realtime.has_column('public.nchat_channel_members', 'notification_level') then 'coalesce(notification_level::text, ''''all'''')' else '''''all''''' end || ' end');

  -- Whoever wrote in a direct channel has its other member as a contact.
  execute format($f$
    create or replace function realtime.nchat_dm_contacts()
    returns table (user_id uuid, contact_user_id uuid) language sql stable as
    'select mine.user_id, other.user_id
       from public.nchat_channels c
       join public.nchat_channel_members mine on mine.channel_id = c.id
       join public.nchat_channel_members other on other.channel_id = c.id and other.user_id <> mine.user_id
      where c.type::text = ''direct''
        and exists (select from public.nchat_messages m
                     where m.channel_id = c.id and m.user_id = mine.user_id and m.type::text <> ''system'' %s)' $f$,
    case when realtime.has_column('public.nchat_messages', 'is_system') then 'and m.is_system is not true' else '' end);

  create or replace function realtime.nchat_contacts()
  returns table (user_id uuid, contact_user_id uuid) language sql stable as
  'select user_id, contact_user_id from public.nchat_contacts';

  create or replace function realtime.nchat_blocks()
  returns table (blocker_id uuid, blocked_user_id uuid) language sql stable as
  'select blocker_id, blocked_user_id from public.nchat_blocked_users';

  if realtime.has_column('public.nchat_user_settings', 'user_id') then
    execute format($f$
      create or replace function realtime.nchat_switches()
      returns table (user_id uuid, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean) language sql stable as
      'select user_id, %s, %s, %s from public.nchat_user_settings' $f$,
      case when realtime.has_column('public.nchat_user_settings', 'show_online_status') then 'show_online_status' else 'null::boolean' end,
      case when realtime.has_column('public.nchat_user_settings', 'show_typing_indicator') then 'show_typing_indicator' else 'null::boolean' end,
      case when realtime.has_column('public.nchat_user_settings', 'read_receipts') then 'read_receipts' else 'null::boolean' end);
  else
    create or replace function realtime.nchat_switches()
    returns table (user_id uuid, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean) language sql stable as
    'select null::uuid, null::boolean, null::boolean, null::boolean where false';
  end if;

  -- Writers of the two lists that are ours to write, tenant included where there is one.
  execute format($f$
    create or replace function realtime.add_contact(tenant text, owner uuid, other uuid) returns void language sql volatile as
    'insert into public.nchat_contacts (user_id, contact_user_id %s) select owner, other %s
      where owner <> other and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_contact.tenant) = 2
     on conflict do nothing' $f$,
    case when realtime.has_column('public.nchat_contacts', 'source_account_id') then ', source_account_id' else '' end,
    case when realtime.has_column('public.nchat_contacts', 'source_account_id') then ', tenant' else '' end);
  execute format($f$
    create or replace function realtime.add_block(tenant text, owner uuid, other uuid) returns void language sql volatile as
    'insert into public.nchat_blocked_users (blocker_id, blocked_user_id %s) select owner, other %s
      where owner <> other and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_block.tenant) = 2
     on conflict do nothing' $f$,
    case when realtime.has_column('public.nchat_blocked_users', 'source_account_id') then ', source_account_id' else '' end,
    case when realtime.has_column('public.nchat_blocked_users', 'source_account_id') then ', tenant' else '' end);

  for t in select * from (values
      ('nchat_contacts', 'insert or update or delete', array[]::text[], 'contact_changed'),
      ('nchat_blocked_users', 'insert or update or delete', '{}', 'block_changed'),
      ('nchat_channel_members', 'insert or delete or update of ', '{channel_id, user_id, can_read, can_write, role}', 'member_changed'),
      ('nchat_channels', 'update of ', '{type, source_account_id, is_archived, archived_at, is_readonly}', 'channel_changed'),
      ('nchat_messages', 'delete or update of ', '{type, user_id, channel_id, is_system}', 'message_changed'),
      ('nchat_users', 'insert or delete or update of ', '{deleted_at, source_account_id}', 'user_changed'))
      as v (tbl, events, cols, fn) loop
    if t.cols <> '{}' then
      t.events := t.events || coalesce(realtime.there('public.' || t.tbl, t.cols), 'id');
    end if;
    perform realtime.fit_trigger('public.' || t.tbl, 'realtime_presence',
                                 'after ' || t.events || ' on %s for each row execute function realtime.' || t.fn || '()');
  end loop;
end $join$;
-- +goose StatementEnd
