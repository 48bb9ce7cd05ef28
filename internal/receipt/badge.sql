-- badge is how much a user has to read in all of its channels but those it has
-- muted, as unread counts, and at most so much.
create or replace function realtime.badge(ten text, who uuid, most integer) returns integer
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (select count(*) from (
    select from realtime.stints s
      join realtime.channels c on c.channel_id = s.channel_id
     cross join lateral (select from realtime.readers() x
                          where x.tenant = ten and x.user_id = who and x.channel_id = s.channel_id and x.notify <> 'none' offset 0) k
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
     cross join lateral (select from realtime.messages x
                          where x.channel_id = s.channel_id and x.seq > greatest(m.read_seq, s.from_seq, c.void) and x.countable and x.thread is null and x.sender is distinct from who
                          limit most) u
     where s.user_id = who and s.to_seq is null limit most) c);
end $$;
