-- who is behind a change: our own writers say so, Hasura does for its own.
create or replace function realtime.actor() returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('realtime.actor', true), '');
begin
  if said is null then
    said := nullif(current_setting('hasura.user', true), '')::jsonb ->> 'x-hasura-user-id';
  end if;
  return said::uuid;
exception when others then
  return null;
end $$;

-- The hot path: one row, and nothing that only some messages need. It pins no
-- search_path, which would cost a tenth of an insert: whatever it names,
-- operators too, it names with its schema.
create or replace function realtime.feed_inserted() returns trigger
language plpgsql security definer as $$
begin
  if not ({{template "published" "new"}}) then
    if exists (select from public.nchat_channels c where c.id operator(pg_catalog.=) new.channel_id and c.type::pg_catalog.text operator(pg_catalog.=) 'direct') then
      perform realtime.first_word(new.channel_id, new.user_id, new.id);
    end if;
    return null;
  end if;
  insert into realtime.inbox (channel_id, kind, message_id, user_id, thread, countable, deleted, mentions)
  values (new.channel_id, 'created', new.id, new.user_id, {{template "thread" "new"}}, {{template "countable" "new"}}, {{template "deleted" "new"}}, {{template "mentions" "new"}});
  if coalesce(pg_catalog.current_setting('realtime.quiet', true), '') operator(pg_catalog.<>) 'on' then
    if not exists (select from realtime.head h where h.hot operator(pg_catalog.>) pg_catalog.clock_timestamp()
                     and h.hot operator(pg_catalog.<) (pg_catalog.clock_timestamp() operator(pg_catalog.+) '3 seconds'::pg_catalog.interval)) then
      perform realtime.ring('inbox');
    end if;
  end if;
  return null;
end $$;

create or replace function realtime.feed_updated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  was boolean := {{template "published" "old"}};
  is_now boolean := {{template "published" "new"}};
  counts boolean := {{template "countable" "new"}};
  actor uuid := realtime.actor();
  rewritten boolean := new.content is distinct from old.content;
  had integer;
begin
  if not was then
    if is_now then
      if exists (select from realtime.revisions r where r.message_id = new.id) then -- it was published before
        perform realtime.revise(new.id, true, actor, actor is null or actor is distinct from new.user_id);
      end if;
      perform realtime.note(new.channel_id, 'created', new.id, new.user_id, {{template "thread" "new"}}, counts, {{template "deleted" "new"}}, {{template "mentions" "new"}});
    end if;
    return null;
  end if;
  had := realtime.revise(old.id, rewritten and is_now, actor, actor is null or actor is distinct from new.user_id);
  if not is_now or (new.id, new.channel_id) is distinct from (old.id, old.channel_id) then
    perform realtime.note(old.channel_id, 'removed', old.id, old.user_id);
    if is_now then
      perform realtime.note(new.channel_id, 'created', new.id, new.user_id, {{template "thread" "new"}}, counts, {{template "deleted" "new"}}, {{template "mentions" "new"}});
    end if;
    return null;
  end if;
  if ({{template "deleted" "new"}}) and not ({{template "deleted" "old"}}) then
    delete from realtime.message_versions v where v.message_id = new.id;
  elsif rewritten then
    insert into realtime.message_versions (message_id, version, content) values (new.id, had, old.content) on conflict do nothing;
  end if;
  perform realtime.note(new.channel_id, case when ({{template "deleted" "new"}}) and not ({{template "deleted" "old"}}) then 'deleted' else 'updated' end,
                        new.id, new.user_id, {{template "thread" "new"}}, counts, {{template "deleted" "new"}}, {{template "mentions" "new"}});
  return null;
end $$;

create or replace function realtime.feed_deleted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from realtime.message_versions v where v.message_id = old.id;
  if not exists (select from public.nchat_channels n where n.id = old.channel_id) then -- is said to be gone, and all with it
    delete from realtime.revisions r where r.message_id = old.id;
  elsif {{template "published" "old"}} then
    perform realtime.revise(old.id, false, null, true);
    perform realtime.note(old.channel_id, 'removed', old.id, old.user_id);
  end if;
  return null;
end $$;

-- Triggers fire by their names: these before an app's own, whose changes of the
-- same row are then heard of after. What an app's trigger makes of a row before it is
-- written counts too, whatever the statement names: hence no list of columns.
create trigger "!realtime_feed_insert" after insert on public.nchat_messages
  for each row execute function realtime.feed_inserted();
{{$watched := cols "nchat_messages" "id" "content" "type" "user_id" "channel_id" "is_deleted" "deleted_at" "is_system" "scheduled_at" "published_at"
                                    "mentions" "thread_id" "metadata" "parent_message_id" -}}
create trigger "!realtime_feed_update" after update on public.nchat_messages
  for each row when (({{of "old" $watched}}) is distinct from ({{of "new" $watched}})) execute function realtime.feed_updated();
create trigger realtime_feed_delete after delete on public.nchat_messages
  for each row execute function realtime.feed_deleted();
