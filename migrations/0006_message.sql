-- +goose Up
-- Which message a client's own key led to: the same key from the same user
-- answers the same message for at least 30 days.
create table realtime.client_keys (
  tenant            text not null,
  user_id           uuid not null,
  client_message_id text not null check (char_length(client_message_id) between 1 and 128),
  digest            bytea not null,
  message_id        uuid,
  at                timestamptz not null default clock_timestamp(),
  primary key (tenant, user_id, client_message_id)
);
create index client_keys_message_idx on realtime.client_keys (message_id);
create index client_keys_at_idx on realtime.client_keys using brin (at);

-- +goose StatementBegin
-- write_role is what a user may write in a place as: its role in the channel,
-- or null where it may not. Everything that forbids it looks the same.
create function realtime.write_role(ten text, who uuid, channel uuid, thread uuid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  c record;
  m record;
begin
  select * into c from realtime.nchat_channels() x where x.id = channel and x.tenant = ten;
  if not found or c.archived or not exists (select from realtime.nchat_users() u where u.id = who and u.tenant = ten) then
    return null;
  end if;
  select * into m from realtime.nchat_members() x where x.channel_id = channel and x.user_id = who;
  if not found or not m.can_read or not m.can_write then
    return null;
  end if;
  if (c.readonly or c.type = 'announcement') and m.role not in ('owner', 'admin', 'moderator') then
    return null;
  end if;
  if c.type = 'direct' and exists (
       select from realtime.nchat_members() o
         join realtime.nchat_blocks() b on b.blocker_id = o.user_id and b.blocked_user_id = who or b.blocker_id = who and b.blocked_user_id = o.user_id
        where o.channel_id = channel and o.user_id <> who) then
    return null;
  end if;
  if thread is not null and not realtime.thread_open(channel, thread) then
    return null;
  end if;
  return m.role;
end $$;

-- may_read is whether a user may read a channel now.
create function realtime.may_read(ten text, who uuid, channel uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce((select c.type = 'public' and coalesce(m.can_read, true) or m.can_read
                     from realtime.nchat_channels() c
                     join realtime.nchat_users() u on u.id = who and u.tenant = ten
                     left join realtime.nchat_members() m on m.channel_id = c.id and m.user_id = who
                    where c.id = channel and c.tenant = ten), false);
end $$;

-- send_message writes a message once for each key, in one round trip. outcome:
-- sent, duplicate, conflict or denied.
create function realtime.send_message(ten text, who uuid, key text, sum bytea, channel uuid, thread uuid, parent uuid,
                                      said text, kind text, meta jsonb, named uuid[], out outcome text, out message uuid)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k realtime.client_keys;
begin
  perform set_config('realtime.quiet', 'on', true), set_config('realtime.actor', who::text, true);
  insert into realtime.client_keys (tenant, user_id, client_message_id, digest) values (ten, who, key, sum) on conflict do nothing;
  if not found then -- it waited for whoever was faster
    select * into k from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    message := k.message_id;
    outcome := case when k.digest <> sum then 'conflict' when realtime.may_read(ten, who, channel) then 'duplicate' else 'denied' end;
    return;
  end if;
  if realtime.write_role(ten, who, channel, thread) is not null then -- nobody else waits for a channel, or can tell by it how busy that is
    perform realtime.hold(channel); -- whoever is removed from now on is removed after this message
  end if;
  if realtime.write_role(ten, who, channel, thread) is null or parent is not null and not exists (
       select from realtime.nchat_messages() p where p.id = parent and p.channel_id = channel and p.published and not p.deleted) then
    delete from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    outcome := 'denied';
    return;
  end if;
  message := realtime.insert_message(ten, channel, who, thread, parent, said, kind, meta, named);
  update realtime.client_keys x set message_id = message where x.tenant = ten and x.user_id = who and x.client_message_id = key;
  outcome := 'sent';
end $$;

-- join_message fits the readers and writers of messages to the columns there are.
create function realtime.join_message() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $join$
declare
  msg text := 'public.nchat_messages';
  col record;
  names text := 'channel_id, user_id, content, type';
  vals text := 'channel, who, said, kind::public.message_type';
  reads text := '';
  edits text := '';
  erases text := '';
begin
  perform pg_advisory_xact_lock(hashtext('realtime.join_nchat'));
  for col in select * from (values
      ('thread_id', 'thread'), ('parent_message_id', 'parent'), ('metadata', 'coalesce(meta, ''{}'')'), ('mentions', 'named'),
      ('content_plain', 'said'), ('source_account_id', 'ten')) as v (name, val) loop
    if realtime.has_column(msg, col.name) then
      names := names || ', ' || col.name;
      vals := vals || ', ' || col.val;
    end if;
  end loop;
  execute format($f$
    create or replace function realtime.insert_message(ten text, channel uuid, who uuid, thread uuid, parent uuid, said text, kind text, meta jsonb, named uuid[])
    returns uuid language sql volatile as %L $f$,
    format('insert into public.nchat_messages (%s) values (%s) returning id', names, vals));

  for col in select * from (values
      ('thread_id', 'thread_id', 'null::uuid'), ('parent_message_id', 'parent_message_id', 'null::uuid'),
      ('metadata', 'metadata', 'null::jsonb'), ('mentions', 'mentions', 'null::uuid[]'), ('edited_at', 'edited_at', 'null::timestamptz'))
      as v (name, val, instead) loop
    reads := reads || ', ' || case when realtime.has_column(msg, col.name) then 'o.' || col.val else col.instead end;
  end loop;
  reads := reads || case
    when realtime.has_column(msg, 'deleted_at') and realtime.has_column(msg, 'is_deleted') then ', case when o.is_deleted then coalesce(o.deleted_at, o.updated_at) else o.deleted_at end'
    when realtime.has_column(msg, 'deleted_at') then ', o.deleted_at'
    when realtime.has_column(msg, 'is_deleted') then ', case when o.is_deleted then o.updated_at end'
    else ', null::timestamptz' end;
  execute format($f$
    create or replace function realtime.message_rows()
    returns table (id uuid, sender uuid, content text, type text, created_at timestamptz, thread_id uuid, parent_message_id uuid,
                   metadata jsonb, mentions uuid[], edited_at timestamptz, deleted_at timestamptz)
    language sql stable as %L $f$, 'select o.id, o.user_id, o.content, o.type::text, o.created_at' || reads || ' from public.nchat_messages o');

  for col in select * from (values
      ('content_plain', 'said'), ('content_html', 'null'), ('is_edited', 'true'), ('edited_at', 'clock_timestamp()')) as v (name, val) loop
    if realtime.has_column(msg, col.name) then edits := edits || ', ' || col.name || ' = ' || col.val; end if;
  end loop;
  execute format($f$
    create or replace function realtime.edit_message(message uuid, said text) returns void language sql volatile as %L $f$,
    'update public.nchat_messages set content = said' || edits || ' where id = message');

  for col in select * from (values ('is_deleted', 'true'), ('deleted_at', 'coalesce(deleted_at, clock_timestamp())')) as v (name, val) loop
    if realtime.has_column(msg, col.name) then erases := erases || ', ' || col.name || ' = ' || col.val; end if;
  end loop;
  execute format($f$
    create or replace function realtime.erase_message(message uuid) returns void language sql volatile as %L $f$,
    case when erases = '' then 'delete from public.nchat_messages where id = message'
         else 'update public.nchat_messages set ' || substr(erases, 3) || ' where id = message' end);

  execute format($f$
    create or replace function realtime.thread_open(channel uuid, thread uuid) returns boolean language sql stable as %L $f$,
    'select exists (select from public.nchat_threads t where t.id = thread and t.channel_id = channel'
    || case when realtime.has_column('public.nchat_threads', 'is_locked') then ' and t.is_locked is not true' else '' end
    || case when realtime.has_column('public.nchat_threads', 'is_archived') then ' and t.is_archived is not true' else '' end || ')');
end $join$;
-- +goose StatementEnd
