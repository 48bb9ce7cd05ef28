-- show_legacy tells nchat's own tables, where they are there, of the next users
-- after a version, and answers how far that goes; null: there is nothing to tell.
-- What nchat's clients had written there themselves gives way to it. path is its caller's: the
-- app's triggers find their tables by it, and what runs so names everything with its schema.
create or replace function realtime.show_legacy(after bigint, most integer, path text default current_setting('search_path')) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  upto bigint;
{{- if writable "nchat_users" "last_seen_at"}}
  ids uuid[];
  seen timestamptz[];
{{- end}}
{{- if and (has "nchat_presence" "user_id") (has "nchat_presence" "status")}}
  rows public.nchat_presence[];
{{- end}}
begin
  select max(x.version) into upto from (select s.version from realtime.public_presence s where s.version > after order by s.version limit most) x;
{{- if writable "nchat_users" "last_seen_at"}}
  select array_agg(u.id), array_agg(s.last_seen_at) into ids, seen
    from realtime.public_presence s
    join realtime.nchat_users() k on k.id = s.user_id and k.tenant = s.tenant
    join public.nchat_users u on u.id = s.user_id
   where s.version > after and s.version <= upto and u.last_seen_at is distinct from s.last_seen_at;
  perform set_config('search_path', path, true);
  update public.nchat_users u set last_seen_at = x.at from rows from (pg_catalog.unnest(ids), pg_catalog.unnest(seen)) x (id, at) where u.id operator(pg_catalog.=) x.id;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
{{- end}}
{{- if and (has "nchat_presence" "user_id") (has "nchat_presence" "status")}}
{{- $sets := list
  "status = excluded.status"
  (and (writable "nchat_presence" "custom_message") "custom_message = excluded.custom_message")
  (and (writable "nchat_presence" "last_heartbeat_at") "last_heartbeat_at = excluded.last_heartbeat_at")
  (and (writable "nchat_presence" "current_channel_id") "current_channel_id = default")
  (and (writable "nchat_presence" "device_info") "device_info = default")
  (and (writable "nchat_presence" "is_mobile") "is_mobile = default")}}
{{- $cols := list "user_id" "status"
  (and (writable "nchat_presence" "custom_message") "custom_message")
  (and (writable "nchat_presence" "last_heartbeat_at") "last_heartbeat_at")
  (and (writable "nchat_presence" "source_account_id") "source_account_id")}}
  select array_agg(r) into rows
    from realtime.public_presence s
    join realtime.nchat_users() k on k.id = s.user_id and k.tenant = s.tenant
   cross join lateral jsonb_populate_record(null::public.nchat_presence, jsonb_build_object(
           'user_id', s.user_id, 'status', case s.status when 'busy' then 'dnd' else s.status end, 'source_account_id', s.tenant,
           'custom_message', left(nullif(concat_ws(' ', s.custom_emoji, s.custom_text), ''), 255),
           'last_heartbeat_at', coalesce(s.last_seen_at, 'epoch'))) r
   where s.version > after and s.version <= upto;
  perform set_config('search_path', path, true);
  insert into public.nchat_presence as p ({{$cols}})
  select {{of "r" $cols}} from pg_catalog.unnest(rows) r
  on conflict (user_id) do update set {{$sets}};
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
{{- end}}
  return upto;
end $$;

-- hide_legacy takes back what nchat's own tables say of users of whom there is
-- nothing to see, some at a time, and answers of how many. path as in show_legacy.
create or replace function realtime.hide_legacy(most integer, path text default current_setting('search_path')) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  n bigint := 0;
  more bigint;
  ids uuid[];
begin
{{- if writable "nchat_users" "last_seen_at"}}
  ids := array(select x.id from public.nchat_users x
                where x.last_seen_at is not null and not exists (select from realtime.public_presence s where s.user_id = x.id) limit most);
  perform set_config('search_path', path, true);
  update public.nchat_users u set last_seen_at = null where u.id operator(pg_catalog.=) any (ids);
  get diagnostics more = row_count;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  n := n + more;
{{- end}}
{{- if and (has "nchat_presence" "user_id") (has "nchat_presence" "status")}}
{{- $sets := list
  (and (writable "nchat_presence" "custom_message") "custom_message = null")
  (and (writable "nchat_presence" "last_heartbeat_at") "last_heartbeat_at = 'epoch'")
  (and (writable "nchat_presence" "current_channel_id") "current_channel_id = default")
  (and (writable "nchat_presence" "device_info") "device_info = default")
  (and (writable "nchat_presence" "is_mobile") "is_mobile = default")}}
  ids := array(select x.user_id from public.nchat_presence x
                where x.status <> 'offline' and not exists (select from realtime.public_presence s where s.user_id = x.user_id) limit most);
  perform set_config('search_path', path, true);
  update public.nchat_presence p set status = 'offline'{{if $sets}}, {{$sets}}{{end}} where p.user_id operator(pg_catalog.=) any (ids);
  get diagnostics more = row_count;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  n := n + more;
{{- end}}
  return n;
end $$;
