-- may_read is whether a user may read a channel now.
create or replace function realtime.may_read(ten text, who uuid, channel uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce((select c.type = 'public' and coalesce(m.can_read, true) or m.can_read
                     from realtime.nchat_channels() c
                     join realtime.nchat_users() u on u.id = who and u.tenant = ten
                     left join realtime.nchat_members() m on m.channel_id = c.id and m.user_id = who
                    where c.id = channel and c.tenant = ten), false);
end $$;

-- write_role is what a user may write in a place as: its role in the channel,
-- or null where it may not. Everything that forbids it looks the same.
create or replace function realtime.write_role(ten text, who uuid, channel uuid, thread uuid) returns text
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

-- thread_open is whether a thread of a channel may be written in.
create or replace function realtime.thread_open(channel uuid, thread uuid) returns boolean language sql stable as $$
  select exists (select from public.nchat_threads t where t.id = thread and t.channel_id = channel
    {{- if has "nchat_threads" "is_locked"}} and t.is_locked is not true{{end}}
    {{- if has "nchat_threads" "is_archived"}} and t.is_archived is not true{{end}})
$$;
