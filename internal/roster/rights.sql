-- Who may do what in a channel, decided here and nowhere else.

-- readers are the members of channels who may read them: of the same tenant, not
-- deleted, and not barred.
create or replace function realtime.readers()
returns table (tenant text, channel_id uuid, user_id uuid, role text, can_write boolean, notify text) language sql stable as $$
  select c.tenant, c.id, m.user_id, m.role, m.can_write, m.notify
    from realtime.nchat_channels() c
    join realtime.nchat_members() m on m.channel_id = c.id and m.can_read
    join realtime.nchat_users() u on u.id = m.user_id and u.tenant = c.tenant
$$;

-- readable are the channels a user may read now: as one of their readers, or
-- because they are public and it is not barred. member false, role null: the latter.
create or replace function realtime.readable(ten text, who uuid)
returns table (channel_id uuid, name text, type text, archived boolean, readonly boolean, public boolean, member boolean, role text, can_write boolean)
language sql stable as $$
  select c.id, c.name, c.type, c.archived, c.readonly, c.type = 'public', m.user_id is not null, m.role, coalesce(m.can_write, false)
    from realtime.nchat_channels() c
    left join realtime.nchat_members() m on m.channel_id = c.id and m.user_id = who
   where c.tenant = ten and coalesce(m.can_read, c.type = 'public')
     and exists (select from realtime.nchat_users() u where u.id = who and u.tenant = ten) -- looked up once
$$;

-- may_read is whether one channel is among those.
create or replace function realtime.may_read(ten text, who uuid, channel uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from realtime.readable(ten, who) r where r.channel_id = channel);
end $$;

-- moderates: a role changes what others wrote, and writes where members only read.
create or replace function realtime.moderates(role text) returns boolean language sql immutable as
  'select role in (''owner'', ''admin'', ''moderator'')';

-- write_role is what a user may write in a place as: its role in the channel,
-- or null where it may not. Everything that forbids it looks the same.
create or replace function realtime.write_role(ten text, who uuid, channel uuid, thread uuid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  c record;
begin
  select * into c from realtime.readable(ten, who) x where x.channel_id = channel and x.member;
  if not found or c.archived or not c.can_write then
    return null;
  end if;
  if (c.readonly or c.type = 'announcement') and not realtime.moderates(c.role) then
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
  return c.role;
end $$;

-- thread_open is whether a thread of a channel may be written in.
create or replace function realtime.thread_open(channel uuid, thread uuid) returns boolean language sql stable as
  'select exists (select from realtime.nchat_threads() t where t.id = thread and t.channel_id = channel and t.open)';
