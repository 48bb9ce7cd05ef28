create or replace function realtime.ring_revoked() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform realtime.ring('revoked');
  return null;
end $$;

create trigger ring after insert or update or delete on realtime.revoked_users
  for each statement execute function realtime.ring_revoked();
create trigger ring after insert or update or delete on realtime.revoked_tokens
  for each statement execute function realtime.ring_revoked();
create trigger ring after insert or update or delete on realtime.barred_users
  for each statement execute function realtime.ring_revoked();

-- A user who is suspended or deleted is barred at once, and let in again with its
-- return: roster's nchat_users says who is a user.
create or replace function realtime.bar_user() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'INSERT' and not exists (select from realtime.nchat_users() u where u.id = old.id and u.tenant = {{template "tenant_of" "old"}}) then
    insert into realtime.barred_users as b (tenant, user_id) values ({{template "tenant_of" "old"}}, old.id)
    on conflict (tenant, user_id) do update set at = excluded.at;
  end if;
  if tg_op <> 'DELETE' and exists (select from realtime.barred_users b where b.user_id = new.id and b.tenant = {{template "tenant_of" "new"}})
     and exists (select from realtime.nchat_users() u where u.id = new.id and u.tenant = {{template "tenant_of" "new"}}) then
    delete from realtime.barred_users b where b.user_id = new.id and b.tenant = {{template "tenant_of" "new"}};
  end if;
  return null;
end $$;

create trigger realtime_auth after insert or delete on public.nchat_users
  for each row execute function realtime.bar_user();
{{$watched := cols "nchat_users" "id" "status" "deleted_at" "source_account_id" -}}
create trigger realtime_auth_update after update on public.nchat_users
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.bar_user();
