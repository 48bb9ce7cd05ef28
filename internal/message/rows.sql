-- Readers and writers of messages, fitted to the columns there are. insert_message is called
-- with whatever search_path: it names everything with its schema.

create or replace function realtime.insert_message(ten text, channel uuid, who uuid, thread uuid, parent uuid, said text, kind text, meta jsonb, named uuid[])
returns uuid language sql volatile as $$
  insert into public.nchat_messages ({{list "channel_id" "user_id" "content" "type"
    (writables "nchat_messages" "thread_id" "parent_message_id" "metadata" "mentions" "content_plain" "source_account_id")}})
  values ({{list "channel" "who" "said" (print "kind::" (kind "nchat_messages" "type"))
    (and (writable "nchat_messages" "thread_id") "thread")
    (and (writable "nchat_messages" "parent_message_id") "parent")
    (and (writable "nchat_messages" "metadata") "coalesce(meta, '{}')")
    (and (writable "nchat_messages" "mentions") "named")
    (and (writable "nchat_messages" "content_plain") "said")
    (and (writable "nchat_messages" "source_account_id") "ten")}}) returning id
$$;

{{define "touched"}}{{if has "nchat_messages" "updated_at"}}o.updated_at{{else}}o.created_at{{end}}{{end}}
{{define "deleted at" -}}
  {{if and (has "nchat_messages" "deleted_at") (has "nchat_messages" "is_deleted") -}}
    case when o.is_deleted then coalesce(o.deleted_at, {{template "touched"}}) else o.deleted_at end
  {{- else if has "nchat_messages" "deleted_at"}}o.deleted_at
  {{- else if has "nchat_messages" "is_deleted"}}case when o.is_deleted then {{template "touched"}} end
  {{- else}}null::timestamptz{{end}}
{{- end}}
create or replace function realtime.message_rows()
returns table (id uuid, sender uuid, content text, type text, created_at timestamptz, thread_id uuid, parent_message_id uuid,
               metadata jsonb, mentions uuid[], edited_at timestamptz, deleted_at timestamptz)
language sql stable as $$
  select o.id, o.user_id, o.content, o.type::text, o.created_at,
         {{if has "nchat_messages" "thread_id"}}o.thread_id{{else}}null::uuid{{end}},
         {{if has "nchat_messages" "parent_message_id"}}o.parent_message_id{{else}}null::uuid{{end}},
         {{if has "nchat_messages" "metadata"}}o.metadata{{else}}null::jsonb{{end}},
         {{if has "nchat_messages" "mentions"}}o.mentions{{else}}null::uuid[]{{end}},
         {{if has "nchat_messages" "edited_at"}}o.edited_at{{else}}null::timestamptz{{end}},
         {{template "deleted at"}}
    from public.nchat_messages o
$$;

create or replace function realtime.edit_message(message uuid, said text) returns void language sql volatile as $$
  update public.nchat_messages set {{list "content = said"
    (and (writable "nchat_messages" "content_plain") "content_plain = said")
    (and (writable "nchat_messages" "content_html") "content_html = null")
    (and (writable "nchat_messages" "is_edited") "is_edited = true")
    (and (writable "nchat_messages" "edited_at") "edited_at = clock_timestamp()")}} where id = message
$$;

-- Without a column that says so, a deletion is for good.
{{$erased := list
  (and (writable "nchat_messages" "is_deleted") "is_deleted = true")
  (and (writable "nchat_messages" "deleted_at") "deleted_at = coalesce(deleted_at, clock_timestamp())") -}}
create or replace function realtime.erase_message(message uuid) returns void language sql volatile as $$
  {{if $erased}}update public.nchat_messages set {{$erased}} where id = message{{else}}delete from public.nchat_messages where id = message{{end}}
$$;
