-- user_departed notes who is no user of a tenant any more.
create or replace function realtime.user_departed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'TRUNCATE' then
    insert into realtime.departed as d (tenant, user_id) select {{template "tenant_of" "u"}}, u.id from public.nchat_users u
    on conflict (tenant, user_id) do update set at = excluded.at;
  else
    insert into realtime.departed as d (tenant, user_id) values ({{template "tenant_of" "old"}}, old.id)
    on conflict (tenant, user_id) do update set at = excluded.at;
  end if;
  return null;
end $$;

-- find_departed notes those who went before there was user_departed, or past it.
create or replace function realtime.find_departed() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into realtime.departed (tenant, user_id)
  select k.tenant, k.user_id
    from (select p.tenant, p.user_id from realtime.presence p
          union select s.tenant, s.user_id from realtime.presence_settings s
          union select q.tenant, q.user_id from realtime.quiet_hours q
          union select '', m.user_id from realtime.marks m where not exists (select from public.nchat_users u where u.id = m.user_id)) k
   where not exists (select from public.nchat_users u where u.id = k.user_id and {{template "tenant_of" "u"}} = k.tenant)
  on conflict do nothing;
end $$;

select realtime.find_departed();

-- departed_users are those of long ago who have not come back; whole: nor as a user
-- of another tenant.
create or replace function realtime.departed_users(kept interval) returns table (tenant text, user_id uuid, whole boolean) language sql stable as $$
  select d.tenant, d.user_id, not exists (select from public.nchat_users u where u.id = d.user_id)
    from realtime.departed d
   where d.at < (select clock_timestamp() - kept)
     and not exists (select from public.nchat_users u where u.id = d.user_id and {{template "tenant_of" "u"}} = d.tenant)
$$;

create trigger realtime_departed after delete on public.nchat_users
  for each row execute function realtime.user_departed();
create trigger realtime_departed_truncate before truncate on public.nchat_users
  for each statement execute function realtime.user_departed();
{{$watched := cols "nchat_users" "id" "source_account_id" -}}
create trigger realtime_departed_update after update on public.nchat_users
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.user_departed();
