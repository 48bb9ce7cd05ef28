-- What a member wants to hear of a channel stands in nchat's own columns where
-- it has them. realtime.notifications holds what they cannot say: until when a
-- channel is muted, and the level where there is no column for it. A row of it is
-- written by whoever holds the member's row, which nobody else then changes. An app's
-- own muted_until counts beside is_muted; its end is kept in ours too, to be found.

-- level is a member's by the name its row goes by: all, mentions or none.
{{define "level" -}}
  {{if has "nchat_channel_members" "notification_level" -}}
    case when {{.}}.notification_level::text in ('mentions', 'none') then {{.}}.notification_level::text else 'all' end
  {{- else -}}
    coalesce((select n.level from realtime.notifications n where n.channel_id = {{.}}.channel_id and n.user_id = {{.}}.user_id), 'all')
  {{- end}}
{{- end}}

-- muted is whether nothing of the channel is told now: a time that is over counts
-- as over, whether or not that is written down yet.
{{define "muted" -}}
  {{if has "nchat_channel_members" "muted_until"}}coalesce({{.}}.muted_until > statement_timestamp(), false) or {{end}}
  {{- if has "nchat_channel_members" "is_muted" -}}
    coalesce({{.}}.is_muted, false) and not exists (select from realtime.notifications n
      where n.channel_id = {{.}}.channel_id and n.user_id = {{.}}.user_id and n.muted_until <= statement_timestamp())
  {{- else -}}
    exists (select from realtime.notifications n
      where n.channel_id = {{.}}.channel_id and n.user_id = {{.}}.user_id and n.muted_until > statement_timestamp())
  {{- end}}
{{- end}}

-- ahead is when a mute that the app wrote ends; null: it does not, or is none.
{{define "ahead" -}}
  case when {{.}}.muted_until > statement_timestamp() and {{.}}.muted_until < '9999-12-31' then {{.}}.muted_until::timestamptz end
{{- end}}

-- notifications_of is what a member has chosen. Muted without an end, which nchat
-- can write, is the level none.
create or replace function realtime.notifications_of(channel uuid, who uuid) returns table (level text, muted_until timestamptz)
language sql stable rows 1 set search_path = pg_catalog, pg_temp as $$
  select case when k.muted and k.until is null then 'none' else k.level end, case when k.muted then k.until end
    from (select {{template "level" "m"}} as level, {{template "muted" "m"}} as muted,
                 {{if has "nchat_channel_members" "muted_until"}}case when m.muted_until > statement_timestamp() then {{template "ahead" "m"}} else {{end -}}
                 (select n.muted_until from realtime.notifications n where n.channel_id = m.channel_id and n.user_id = m.user_id)
                 {{- if has "nchat_channel_members" "muted_until"}} end{{end}} as until
            from public.nchat_channel_members m where m.channel_id = channel and m.user_id = who) k
$$;

{{- $muted := writable "nchat_channel_members" "is_muted"}}{{$ends := has "nchat_channel_members" "muted_until"}}

-- set_notifications writes a choice; new_level null: it stays, and so does the
-- mute unless sets_until. false: that user is no member. path is its caller's: the app's
-- triggers find their tables by it, and what runs so names everything with its schema.
create or replace function realtime.set_notifications(ten text, channel uuid, who uuid, new_level text, sets_until boolean, until timestamptz,
                                                      path text default current_setting('search_path')) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  was record;
  mutes boolean; -- null: as it is
begin
  perform from public.nchat_channel_members m where m.channel_id = channel and m.user_id = who for no key update;
  if not exists (select from realtime.readers() r where r.tenant = ten and r.channel_id = channel and r.user_id = who) then
    return false;
  end if;
  select * into was from realtime.notifications_of(channel, who);
  perform set_config('realtime.notifying', 'on', true);
  if sets_until then
    mutes := until is not null;
  elsif was.level = 'none' and new_level <> 'none' and was.muted_until is null then -- it may be muted without an end
    mutes := false;
  end if;
  perform set_config('search_path', path, true);
  {{- if has "nchat_channel_members" "notification_level"}}
  if new_level is not null then -- as a literal, whatever the column's type is
    execute pg_catalog.format('update public.nchat_channel_members set notification_level = %L
      where channel_id operator(pg_catalog.=) $1 and user_id operator(pg_catalog.=) $2', new_level) using channel, who;
  end if;
  {{- end}}
  {{- if or $muted $ends}}
  update public.nchat_channel_members
     set {{if $muted}}is_muted = mutes{{if $ends}}, {{end}}{{end}}{{if $ends}}muted_until = case when sets_until then until end{{end}}
   where channel_id operator(pg_catalog.=) channel and user_id operator(pg_catalog.=) who
     and {{if $ends}}mutes is not null{{else}}coalesce(is_muted, false) operator(pg_catalog.<>) mutes{{end}};
  {{- end}}
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  insert into realtime.notifications as n (channel_id, user_id, level, muted_until)
  values (channel, who, {{if has "nchat_channel_members" "notification_level"}}null{{else}}new_level{{end}}, case when sets_until then until end)
  on conflict (user_id, channel_id) do update
     set level = coalesce(excluded.level, n.level), muted_until = case when sets_until then until else n.muted_until end;
  perform realtime.drop_empty(channel, who);
  perform set_config('realtime.notifying', '', true);
  if exists (select from realtime.notifications_of(channel, who) x where (x.level, x.muted_until) is distinct from (was.level, was.muted_until)) then
    perform realtime.note(channel, 'notify', who => who);
  end if;
  return true;
end $$;

-- drop_empty: a row that says nothing is none.
create or replace function realtime.drop_empty(channel uuid, who uuid) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  delete from realtime.notifications n where n.user_id = who and n.channel_id = channel and n.level is null and n.muted_until is null
$$;

-- unmute ends up to most mutes whose time is over, and answers how many. One
-- whose member somebody holds is left for the next look. path as in set_notifications.
create or replace function realtime.unmute(most integer, path text default current_setting('search_path')) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  r record;
  done integer := 0;
begin
  for r in select n.channel_id, n.user_id from realtime.notifications n where n.muted_until <= clock_timestamp() order by n.muted_until limit most loop
    perform from public.nchat_channel_members m where m.channel_id = r.channel_id and m.user_id = r.user_id for no key update skip locked;
    continue when not found;
    perform set_config('realtime.notifying', 'on', true);
    update realtime.notifications n set muted_until = null
     where n.channel_id = r.channel_id and n.user_id = r.user_id and n.muted_until <= clock_timestamp();
    if found then
      {{- if or $muted $ends}}
      perform set_config('search_path', path, true);
      update public.nchat_channel_members m
         set {{if $muted}}is_muted = false{{if $ends}}, {{end}}{{end}}{{if $ends}}muted_until = null{{end}}
       where m.channel_id operator(pg_catalog.=) r.channel_id and m.user_id operator(pg_catalog.=) r.user_id
         and ({{if $muted}}m.is_muted{{if $ends}} or {{end}}{{end}}{{if $ends}}m.muted_until operator(pg_catalog.<=) pg_catalog.clock_timestamp(){{end}});
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
      {{- end}}
      perform realtime.drop_empty(r.channel_id, r.user_id);
      perform realtime.note(r.channel_id, 'notify', who => r.user_id);
      done := done + 1;
    end if;
    perform set_config('realtime.notifying', '', true);
  end loop;
  return done;
end $$;

-- Whoever writes nchat's columns past us says the last word: what they do not
-- say, until when, is no more.
create or replace function realtime.notifications_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if coalesce(current_setting('realtime.notifying', true), '') = 'on' then
    return null;
  end if;
  {{- $mute := cols "nchat_channel_members" "is_muted" "muted_until"}}
  {{- if $mute}}
  if ({{of "old" $mute}}) is distinct from ({{of "new" $mute}}) then
    update realtime.notifications n set muted_until = null where n.channel_id = new.channel_id and n.user_id = new.user_id;
    {{- if has "nchat_channel_members" "muted_until"}}
    insert into realtime.notifications as n (channel_id, user_id, muted_until)
    select new.channel_id, new.user_id, k.until from (select {{template "ahead" "new"}} as until) k where k.until is not null
    on conflict (user_id, channel_id) do update set muted_until = excluded.muted_until;
    {{- end}}
    perform realtime.drop_empty(new.channel_id, new.user_id);
  end if;
  {{- end}}
  perform realtime.note(new.channel_id, 'notify', who => new.user_id);
  return null;
end $$;

{{if $ends -}}
-- Whose row comes with a mute that the app wrote hears of its end like any other.
create or replace function realtime.notifications_begun() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into realtime.notifications as n (channel_id, user_id, muted_until)
  select new.channel_id, new.user_id, k.until from (select {{template "ahead" "new"}} as until) k where k.until is not null
  on conflict (user_id, channel_id) do update set muted_until = excluded.muted_until;
  return null;
end $$;

{{end -}}
-- Who comes back begins anew.
create or replace function realtime.notifications_ended() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from realtime.notifications n using gone g where n.user_id = g.user_id and n.channel_id = g.channel_id;
  return null;
end $$;

{{$watched := cols "nchat_channel_members" "is_muted" "muted_until" "notification_level" -}}
{{if $watched -}}
create trigger realtime_notifications after update on public.nchat_channel_members
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.notifications_changed();
{{end -}}
{{if $ends -}}
create trigger realtime_notifications_begin after insert on public.nchat_channel_members
  for each row when (new.muted_until is not null) execute function realtime.notifications_begun();
{{end -}}
create trigger realtime_notifications_end after delete on public.nchat_channel_members referencing old table as gone
  for each statement execute function realtime.notifications_ended();
