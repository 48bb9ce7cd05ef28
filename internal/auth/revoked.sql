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
