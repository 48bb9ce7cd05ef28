-- legacy_look notes channels where something has happened since the last look.
create or replace function realtime.legacy_look() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  last bigint := realtime.last_pos();
  now_at bigint := realtime.mark_at(last);
  had bigint;
  was_at bigint;
begin
  select h.pos, h.mark into had, was_at from realtime.legacy_head h;
  if had = last and was_at = now_at then
    return;
  end if;
  if realtime.mark_at(had) is distinct from was_at then -- another history, or one that is forgotten
    insert into realtime.legacy as l (channel_id) select c.channel_id from realtime.channels c on conflict (channel_id) do update set due = true;
  else
    insert into realtime.legacy as l (channel_id)
    select distinct x.channel_id from realtime.log x
     where x.pos > had and x.pos <= last and x.kind in ('created', 'updated', 'deleted', 'joined', 'mark', 'opened')
    on conflict (channel_id) do update set due = true where not l.due;
  end if;
  update realtime.legacy_head set pos = last, mark = now_at;
end $$;

-- The old columns are everybody's to read in an install of nchat's: they follow
-- what everybody may know to be read (told_seq), and a row is written only where
-- that changes it. What is read in private leaves no trace there, and what was read
-- while invisible comes when that ends.

-- legacy_count brings the old columns of everybody in a channel up to date.
create or replace function realtime.legacy_count(channel uuid) returns void language sql as $$
{{- if writable "nchat_channel_members" "unread_count"}}
  update public.nchat_channel_members m set unread_count = u.n{{if writable "nchat_channel_members" "mention_count"}}, mention_count = u.mentioned{{end}} from realtime.unread(channel, null, true) u
   where m.channel_id = channel and u.user_id = m.user_id
     and (m.unread_count{{if writable "nchat_channel_members" "mention_count"}}, m.mention_count{{end}}) is distinct from (u.n{{if writable "nchat_channel_members" "mention_count"}}, u.mentioned{{end}});
{{- end}}
{{- if has "nchat_channel_members" "last_read_at"}}
  select realtime.legacy_read(channel, k.user_id)
    from realtime.marks k join public.nchat_channel_members m on m.channel_id = k.channel_id and m.user_id = k.user_id
   where k.channel_id = channel and (m.last_read_at is null or m.last_read_at < k.told_at)
{{- end}}
$$;

-- legacy_read brings those of one member up to date with its mark.
{{$sets := list
  (and (writable "nchat_channel_members" "unread_count") "unread_count")
  (and (writable "nchat_channel_members" "mention_count") "mention_count")
  (and (writable "nchat_channel_members" "last_read_message_id") "last_read_message_id")
  (and (writable "nchat_channel_members" "last_read_at") "last_read_at") -}}
{{$news := list
  (and (writable "nchat_channel_members" "unread_count") "u.n")
  (and (writable "nchat_channel_members" "mention_count") "u.mentioned")
  (and (writable "nchat_channel_members" "last_read_message_id") `(select x.message_id from realtime.messages x
                       where x.channel_id = k.channel_id and x.seq <= k.told_seq and x.seq > c.void and not x.gone order by x.seq desc limit 1)`)
  (and (writable "nchat_channel_members" "last_read_at") "k.told_at") -}}
create or replace function realtime.legacy_read(channel uuid, who uuid) returns void language sql as $$
{{- if $sets}}
  update public.nchat_channel_members m set ({{$sets}}) = row({{$news}})
    from realtime.marks k join realtime.channels c on c.channel_id = k.channel_id cross join lateral realtime.unread(k.channel_id, k.user_id, true) u
   where k.user_id = who and k.channel_id = channel and m.channel_id = channel and m.user_id = who
     and k.told_at is not null and ({{of "m" $sets}}) is distinct from ({{$news}})
{{- end}}
$$;

-- legacy_threads brings those of one member in the threads of a channel up to date,
-- where everybody may know how far it has read and did as it read.
{{$threads := list
  (and (writable "nchat_thread_members" "unread_count") "unread_count = u.n")
  (and (writable "nchat_thread_members" "last_read_message_id") "last_read_message_id = u.last_read")
  (and (writable "nchat_thread_members" "last_read_at") "last_read_at = u.read_at") -}}
create or replace function realtime.legacy_threads(ten text, who uuid, channel uuid) returns void language sql as $$
{{- if and $threads (has "nchat_thread_members" "thread_id") (has "nchat_thread_members" "user_id")}}
  update public.nchat_thread_members m set {{$threads}}
    from realtime.thread_states(ten, who, array(select k.thread_id from realtime.thread_marks k where k.user_id = who and k.channel_id = channel
            and exists (select from realtime.moves v where v.channel_id = channel and coalesce(v.thread, v.channel_id) = k.thread_id and v.span = any ('{0,1,2,3,4,5,6,7,8,9,10}')
                                                       and v.to_seq = k.read_seq and v.user_id = who and v.thread = k.thread_id
                                                       and v.at = k.read_at and realtime.told_to_all(v)))) u
   where m.thread_id = u.thread_id and m.user_id = who{{if has "nchat_thread_members" "last_read_at"}} and m.last_read_at is distinct from u.read_at{{end}}
{{- end}}
$$;
