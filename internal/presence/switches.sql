-- take_switches makes nchat's old switches the settings of those who have none
-- here. It does so once, and from then on they are believed no more: nchat's
-- metadata let everybody write them, in whose row they like. Whoever shares by
-- them has shared from now on only, as far as reciprocity asks: whether a switch
-- was on for long, nobody can tell.
create or replace function realtime.take_switches() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
{{- if has "nchat_user_settings" "user_id"}}
  insert into realtime.switches default values on conflict do nothing;
  if not found then
    return;
  end if;
  perform set_config('realtime.quiet', 'on', true); -- nodes read everything they watch every few seconds
  insert into realtime.presence_settings (tenant, user_id, show_online_status, allow_read_receipts, broadcast_typing, status_shared_since, receipts_shared_since)
  select u.tenant, u.id, w.online, w.receipts, w.typing, case when w.online then w.now end, case when w.receipts then w.now end
    from (select s.user_id, bool_and(coalesce(s.show_online_status, true)) as online, bool_and(coalesce(s.read_receipts, true)) as receipts,
                 bool_and(coalesce(s.show_typing_indicator, true)) as typing, clock_timestamp() as now
            from realtime.nchat_switches() s group by s.user_id) w
    join realtime.nchat_users() u on u.id = w.user_id
  on conflict do nothing;
{{- end}}
end $$;

select realtime.take_switches();
