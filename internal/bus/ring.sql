-- ring tells every node to look at something: ids only, never what changed. (Typing, which no table holds, is told by its server alone.)
-- Our own writers set realtime.quiet and ring after their commit, many at once.
-- With the notification queue half full nothing rings: nodes poll as well.
create or replace function realtime.ring(topic text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('realtime.quiet', true), '') <> 'on' and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('nchat_realtime', topic);
  end if;
end $$;
