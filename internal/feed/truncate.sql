-- TRUNCATE fires no trigger of a row: what it took is noted as a whole, after it.
-- Of a channel all messages go by one note, however many they were.
create or replace function realtime.feed_truncated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  k record;
begin
  if tg_table_name = 'nchat_channel_members' then
    perform realtime.restint(x.channel_id, x.users)
       from (select y.channel_id, array_agg(y.user_id) as users
               from (select s.channel_id, s.user_id from realtime.stints s where s.to_seq is null
                     union select i.channel_id, i.user_id from realtime.inbox i
                            where i.id > (select h.clear from realtime.head h) and i.kind = 'joined') y
              group by y.channel_id order by y.channel_id) x;
    return null;
  end if;
  for k in select c.channel_id, n.id is not null as there from realtime.channels c left join public.nchat_channels n on n.id = c.channel_id
            where (n.id is not null) = (tg_table_name = 'nchat_messages') order by c.channel_id loop
    perform realtime.hold(k.channel_id);
    perform realtime.note(k.channel_id, case when k.there then 'emptied' else 'gone' end);
  end loop;
  delete from realtime.message_versions;
  return null;
end $$;

create trigger realtime_feed_truncate after truncate on public.nchat_messages
  for each statement execute function realtime.feed_truncated();
create trigger realtime_feed_truncate after truncate on public.nchat_channel_members
  for each statement execute function realtime.feed_truncated();
create trigger realtime_feed_truncate after truncate on public.nchat_channels
  for each statement execute function realtime.feed_truncated();
