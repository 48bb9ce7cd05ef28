-- How we read nchat's tables. An install may lack a column or a table, or gain
-- one later: these are fitted to what is there with every migrate. They are
-- string-bodied SQL functions and not views: Postgres inlines them all the same,
-- and they do not stand in the way of an ALTER TABLE of nchat's. Triggers do, for
-- the columns that their conditions name: docs/hasura.md says which, and the way.

-- Whose a row is that does not say: the tenant of those whose session does not say either.
{{define "tenant" -}}
  {{if has . "source_account_id"}}coalesce(source_account_id::text, 'primary'){{else}}'primary'{{end}}
{{- end}}

{{define "tenant_of" -}}
  {{if has "nchat_users" "source_account_id"}}coalesce({{.}}.source_account_id::text, 'primary'){{else}}'primary'{{end}}
{{- end}}

-- Who is suspended or deleted is no user: it sees nobody, nobody sees it, and it writes nowhere.
-- A picture that stands in the row itself is nothing to tell with each name.
create or replace function realtime.nchat_users()
returns table (id uuid, tenant text, display_name text, avatar_url text) language sql stable as $$
  select id, {{template "tenant" "nchat_users"}}, left(display_name::text, 255),
         {{if has "nchat_users" "avatar_url"}}case when octet_length(avatar_url::text) <= 8192 then avatar_url::text end{{else}}null::text{{end}}
    from public.nchat_users
   where {{if has "nchat_users" "deleted_at"}}deleted_at is null{{else}}true{{end}}
     {{- if has "nchat_users" "status"}} and coalesce(status::text, 'active') in ('active', 'inactive'){{end}}
$$;

create or replace function realtime.nchat_channels()
returns table (id uuid, tenant text, type text, name text, archived boolean, readonly boolean) language sql stable as $$
  select id, {{template "tenant" "nchat_channels"}}, type::text, left(name::text, 255),
         {{if has "nchat_channels" "is_archived"}}coalesce(is_archived, false){{else}}false{{end}}
         {{- if has "nchat_channels" "archived_at"}} or archived_at is not null{{end}},
         {{if has "nchat_channels" "is_readonly"}}coalesce(is_readonly, false){{else}}false{{end}}
    from public.nchat_channels
$$;

-- notify: all, mentions or none; what is muted is none.
create or replace function realtime.nchat_members()
returns table (channel_id uuid, user_id uuid, can_read boolean, can_write boolean, role text, notify text) language sql stable as $$
  select channel_id, user_id,
         {{if has "nchat_channel_members" "can_read"}}coalesce(can_read, true){{else}}true{{end}},
         {{if has "nchat_channel_members" "can_write"}}coalesce(can_write, true){{else}}true{{end}},
         {{if has "nchat_channel_members" "role"}}coalesce(role::text, 'member'){{else}}'member'{{end}},
         case when {{template "muted" "m"}} then 'none' else {{template "level" "m"}} end
    from public.nchat_channel_members m
$$;

-- What a row of nchat_messages is, by the name it goes by. A row is never taken whole: it may
-- hold more than fits into a value made of all of it. Of many mentions the first count. Operators and types are named with
-- their schema: feed_inserted pins no search_path.
{{define "published" -}}
  {{if and (has "nchat_messages" "scheduled_at") (has "nchat_messages" "published_at") -}}
    ({{.}}.scheduled_at is null or {{.}}.published_at is not null)
  {{- else}}true{{end}}
{{- end}}
{{define "deleted" -}}
  {{if has "nchat_messages" "is_deleted"}}coalesce({{.}}.is_deleted, false){{else}}false{{end}}
  {{- if has "nchat_messages" "deleted_at"}} or {{.}}.deleted_at is not null{{end}}
{{- end}}
{{define "system" -}}
  coalesce({{.}}.type::pg_catalog.text operator(pg_catalog.=) 'system', false)
  {{- if has "nchat_messages" "is_system"}} or coalesce({{.}}.is_system, false){{end}}
{{- end}}
{{define "thread"}}{{if has "nchat_messages" "thread_id"}}{{.}}.thread_id{{else}}null::pg_catalog.uuid{{end}}{{end}}
{{define "mentions" -}}
  {{if has "nchat_messages" "mentions" -}}
    case when pg_catalog.cardinality({{.}}.mentions) operator(pg_catalog.>) 1000
         then array(select u.id from pg_catalog.unnest({{.}}.mentions) with ordinality u (id, ord) where u.id is not null order by u.ord limit 1000)
         else {{.}}.mentions end
  {{- else}}null::pg_catalog.uuid[]{{end}}
{{- end}}
{{define "since" -}}
  {{if has "nchat_messages" "published_at"}}coalesce({{.}}.published_at::pg_catalog.timestamptz, {{.}}.created_at){{else}}{{.}}.created_at{{end}}
{{- end}}
{{define "word" -}}
  {{.}}.type::pg_catalog.text operator(pg_catalog.<>) 'system' {{- if has "nchat_messages" "is_system"}} and {{.}}.is_system is not true{{end}}
{{- end}}
{{define "countable"}}not ({{template "deleted" .}}) and not ({{template "system" .}}){{end}}

-- since: when it was published, or written.
create or replace function realtime.nchat_messages()
returns table (id uuid, channel_id uuid, sender uuid, thread uuid, created_at timestamptz, countable boolean, deleted boolean, mentions uuid[], published boolean, since timestamptz)
language sql stable as $$
  select r.id, r.channel_id, r.user_id, {{template "thread" "r"}}, r.created_at, {{template "countable" "r"}},
         {{template "deleted" "r"}}, {{template "mentions" "r"}}, {{template "published" "r"}}, {{template "since" "r"}}
    from public.nchat_messages r
$$;

{{$threads := and (has "nchat_threads" "id") (has "nchat_threads" "channel_id") -}}
create or replace function realtime.nchat_threads()
returns table (id uuid, channel_id uuid, open boolean) language sql stable as $$
{{- if $threads}}
  select id, channel_id, {{if has "nchat_threads" "is_locked"}}is_locked is not true{{else}}true{{end}}
         {{- if has "nchat_threads" "is_archived"}} and is_archived is not true{{end}} from public.nchat_threads
{{- else}}
  select null::uuid, null::uuid, false where false
{{- end}}
$$;

-- followed: it is to be told of what is new there. Whoever has no row follows nothing.
create or replace function realtime.nchat_thread_members()
returns table (thread_id uuid, user_id uuid, followed boolean, last_read_message_id uuid) language sql stable as $$
{{- if and $threads (has "nchat_thread_members" "thread_id") (has "nchat_thread_members" "user_id")}}
  select thread_id, user_id, {{if has "nchat_thread_members" "is_subscribed"}}coalesce(is_subscribed, true){{else}}true{{end}},
         {{if has "nchat_thread_members" "last_read_message_id"}}last_read_message_id{{else}}null::uuid{{end}} from public.nchat_thread_members
{{- else}}
  select null::uuid, null::uuid, false, null::uuid where false
{{- end}}
$$;

-- told_mentions is a list of mentions flat, without nulls, and not too long.
create or replace function realtime.told_mentions(named uuid[], most integer) returns uuid[]
language sql immutable as 'select array(select u.id from unnest(named) with ordinality u (id, ord) where u.id is not null order by u.ord limit most)';

-- Since when a direct channel has been one between the two who are its members;
-- null: it is not. A channel that others could read before, for it was of another
-- kind or others were members, does not make what was written there then a word
-- to whoever is its member now.
{{define "direct_since" -}}
  (select greatest(max(x.since), (select max(o.since) from realtime.directs o where o.channel_id = {{.}}))
     from (select {{if has "nchat_channel_members" "created_at"}}coalesce(y.created_at, '-infinity'){{else}}'-infinity'::timestamptz{{end}} as since
             from public.nchat_channel_members y where y.channel_id = {{.}} order by y.user_id limit 3) x
   having count(*) = 2)
{{- end}}

create or replace function realtime.direct_since(channel uuid) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select {{template "direct_since" "channel"}}
$$;

-- Whoever wrote in a direct channel has its other member as a contact. Looking
-- costs the same however many members a channel has, and however much was written.
create or replace function realtime.nchat_dm_contacts()
returns table (user_id uuid, contact_user_id uuid) language sql stable as $$
  select mine.user_id, other.user_id
    from public.nchat_channels c
    join public.nchat_channel_members mine on mine.channel_id = c.id
   cross join lateral {{template "direct_since" "c.id"}} d (since)
    join public.nchat_channel_members other on other.channel_id = c.id and other.user_id <> mine.user_id
   where c.type::text = 'direct' and d.since is not null
     and exists (select from public.nchat_messages m
                  where m.channel_id = c.id and m.user_id = mine.user_id and m.created_at >= d.since
                    and {{template "word" "m"}})
$$;

create or replace function realtime.nchat_contacts()
returns table (user_id uuid, contact_user_id uuid) language sql stable as $$
  select user_id, contact_user_id from public.nchat_contacts
$$;

create or replace function realtime.nchat_blocks()
returns table (blocker_id uuid, blocked_user_id uuid) language sql stable as $$
  select blocker_id, blocked_user_id from public.nchat_blocked_users
$$;

-- nchat's old switches; null: not there.
create or replace function realtime.nchat_switches()
returns table (user_id uuid, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean) language sql stable as $$
{{- if has "nchat_user_settings" "user_id"}}
  select user_id, {{if has "nchat_user_settings" "show_online_status"}}show_online_status{{else}}null::boolean{{end}},
         {{- if has "nchat_user_settings" "show_typing_indicator"}} show_typing_indicator{{else}} null::boolean{{end}},
         {{- if has "nchat_user_settings" "read_receipts"}} read_receipts{{else}} null::boolean{{end}} from public.nchat_user_settings
{{- else}}
  select null::uuid, null::boolean, null::boolean, null::boolean where false
{{- end}}
$$;
