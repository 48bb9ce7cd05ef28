-- send_message writes a message once for each key, in one round trip. outcome:
-- sent, duplicate, conflict, denied, or unanswerable where the parent is not one
-- of the channel's messages. An answer to what was deleted meanwhile is sent, and
-- names its parent as long as there is a row to name. path is its caller's: the app's
-- triggers find their tables by it.
create or replace function realtime.send_message(ten text, who uuid, key text, sum bytea, channel uuid, thread uuid, parent uuid,
                                      said text, kind text, meta jsonb, named uuid[],
                                      path text default current_setting('search_path'), out outcome text, out message uuid)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k realtime.client_keys;
begin
  perform set_config('realtime.quiet', 'on', true), set_config('realtime.actor', who::text, true);
  insert into realtime.client_keys (tenant, user_id, client_message_id, digest) values (ten, who, key, sum) on conflict do nothing;
  if not found then -- it waited for whoever was faster
    select * into k from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    message := k.message_id;
    outcome := case when k.digest <> sum then 'conflict' when realtime.may_read(ten, who, channel) then 'duplicate' else 'denied' end;
    return;
  end if;
  if realtime.write_role(ten, who, channel, thread) is null then -- who may not waits for nobody, and cannot tell by it that somebody is at the channel
    outcome := 'denied';
  elsif parent is not null then
    perform from public.nchat_messages o where o.id = parent for key share; -- it stays until we name it
    if not exists (select from realtime.nchat_messages() p where p.id = parent and p.channel_id = channel and p.published) then
      if not exists (select from realtime.messages g where g.message_id = parent and g.channel_id = channel) then
        outcome := 'unanswerable';
      end if;
      parent := null;
    end if;
  end if;
  if outcome is not null then
    delete from realtime.client_keys x where x.tenant = ten and x.user_id = who and x.client_message_id = key;
    return;
  end if;
  perform set_config('search_path', path, true);
  message := realtime.insert_message(ten, channel, who, thread, parent, said, kind, meta, named);
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  perform realtime.share(channel); -- after what the app's triggers lock, as whoever joins does; who loses a right from now on loses it after this message
  if realtime.write_role(ten, who, channel, thread) is null then -- lost since; all of it is undone
    raise exception 'may not write any more' using errcode = 'RT001';
  end if;
  update realtime.client_keys x set message_id = message where x.tenant = ten and x.user_id = who and x.client_message_id = key;
  outcome := 'sent';
end $$;
