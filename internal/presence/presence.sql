-- Whether a session makes its user appear connected.
create or replace function realtime.counts(s realtime.sessions) returns boolean language sql immutable as
  'select s.counts and (s.parked_at is null or s.parked_at < s.last_active_at)';

-- hold_invisible answers whether a user is invisible, and keeps it as it is until
-- the transaction ends: what it does in hiding is told when the hiding ends, and
-- nothing comes too late for that, or is told that was done in hiding already.
create or replace function realtime.hold_invisible(ten text, who uuid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.presence p where p.tenant = ten and p.user_id = who for share;
  return exists (select from realtime.presence p where p.tenant = ten and p.user_id = who and p.hidden_since is not null)
      or exists (select from realtime.presence_settings s where s.tenant = ten and s.user_id = who and s.invisible_mode);
end $$;

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
