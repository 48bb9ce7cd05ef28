-- Whether a session makes its user appear connected.
create or replace function realtime.counts(s realtime.sessions) returns boolean language sql immutable as
  'select s.counts and (s.parked_at is null or s.parked_at < s.last_active_at)';

create or replace function realtime.ring_presence() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if tg_op = 'DELETE' then r := old; else r := new; end if;
  perform realtime.ring('presence/' || r.user_id || '/' || translate(r.tenant, E'\n', ''));
  return null;
end $$;

create trigger ring after insert or update or delete on realtime.presence
  for each row execute function realtime.ring_presence();
create trigger ring after insert or update or delete on realtime.presence_settings
  for each row execute function realtime.ring_presence();
