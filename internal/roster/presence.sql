-- tell_legacy tells nchat's own tables, where they are there, of users by their versions in
-- realtime.public_presence, and answers whom not: another transaction holds a row of theirs
-- there, or makes it, and nobody else waits for that.
-- What nchat's clients had written there themselves gives way to it. path is its caller's: the
-- app's triggers find their tables by it, and what runs so names everything with its schema.
create or replace function realtime.tell_legacy(versions bigint[], path text default current_setting('search_path')) returns bigint[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  held bigint[] := '{}';
{{- if writable "nchat_users" "last_seen_at"}}
  ids uuid[];
  seen timestamptz[];
{{- end}}
{{- if and (has "nchat_presence" "user_id") (has "nchat_presence" "status")}}
  rows public.nchat_presence[];
  missing public.nchat_presence[];
  one public.nchat_presence;
  late uuid[];
  patience text := current_setting('lock_timeout');
{{- end}}
begin
{{- if writable "nchat_users" "last_seen_at"}}
  with due as materialized (
         select s.version, u.id, s.last_seen_at
           from realtime.public_presence s
           join realtime.nchat_users() k on k.id = s.user_id and k.tenant = s.tenant
           join public.nchat_users u on u.id = s.user_id
          where s.version = any (versions) and u.last_seen_at is distinct from s.last_seen_at),
       free as (select u.id from public.nchat_users u where u.id in (select d.id from due d) for no key update of u skip locked)
  select array_agg(d.id) filter (where f.id is not null), array_agg(d.last_seen_at) filter (where f.id is not null),
         coalesce(array_agg(d.version) filter (where f.id is null), '{}')
    into ids, seen, held
    from due d left join free f on f.id = d.id;
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
   where s.version = any (versions)
     and (s.version <> all (held)
          or s.status = 'offline' and exists (select from public.nchat_presence p where p.user_id = s.user_id and p.status <> 'offline')); -- it is hidden where it can be
  with free as (select p.user_id from public.nchat_presence p where p.user_id in (select x.user_id from unnest(rows) x) for no key update of p skip locked)
  select array_agg(x) filter (where f.user_id is not null), coalesce(array_agg(x) filter (where p.user_id is null), '{}'),
         array_agg(x.user_id) filter (where f.user_id is null and p.user_id is not null)
    into rows, missing, late
    from unnest(rows) x
    left join public.nchat_presence p on p.user_id = x.user_id
    left join free f on f.user_id = x.user_id;
  perform set_config('search_path', path, true);
  insert into public.nchat_presence as p ({{$cols}})
  select {{of "r" $cols}} from pg_catalog.unnest(rows) r
  on conflict (user_id) do update set {{$sets}};
  foreach one in array missing loop
    begin
      perform pg_catalog.set_config('lock_timeout', '2ms', true);
      insert into public.nchat_presence as p ({{$cols}}) values ({{of "one" $cols}})
      on conflict (user_id) do update set {{$sets}};
      perform pg_catalog.set_config('lock_timeout', patience, true);
    exception when lock_not_available then -- another transaction makes it
      late := pg_catalog.array_append(late, one.user_id);
    end;
  end loop;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  held := held || array(select s.version from realtime.public_presence s
                         where s.version = any (versions) and s.user_id = any (late) and s.version <> all (held));
{{- end}}
  return held;
end $$;

-- hide_legacy takes back what nchat's own tables say of users of whom there is
-- nothing to see, some at a time, and answers of how many; -1: of none, but there are those
-- whose rows another transaction holds. path as in tell_legacy.
create or replace function realtime.hide_legacy(most integer, path text default current_setting('search_path')) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  n bigint := 0;
  more bigint;
  ids uuid[];
begin
{{- if writable "nchat_users" "last_seen_at"}}
  ids := array(select x.id from public.nchat_users x
                where x.last_seen_at is not null and not exists (select from realtime.public_presence s where s.user_id = x.id)
                limit most for no key update of x skip locked);
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
                where x.status <> 'offline' and not exists (select from realtime.public_presence s where s.user_id = x.user_id)
                limit most for no key update of x skip locked);
  perform set_config('search_path', path, true);
  update public.nchat_presence p set status = 'offline'{{if $sets}}, {{$sets}}{{end}} where p.user_id operator(pg_catalog.=) any (ids);
  get diagnostics more = row_count;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  n := n + more;
{{- end}}
  if n > 0 then
    return n;
  end if;
{{- if writable "nchat_users" "last_seen_at"}}
  if exists (select from public.nchat_users x where x.last_seen_at is not null and not exists (select from realtime.public_presence s where s.user_id = x.id)) then
    return -1;
  end if;
{{- end}}
{{- if and (has "nchat_presence" "user_id") (has "nchat_presence" "status")}}
  if exists (select from public.nchat_presence x where x.status <> 'offline' and not exists (select from realtime.public_presence s where s.user_id = x.user_id)) then
    return -1;
  end if;
{{- end}}
  return 0;
end $$;
