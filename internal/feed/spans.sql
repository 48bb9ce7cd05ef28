-- spans are the numbers of a channel that a user may read: low < number <= high.
-- The same decision as grant.covers (access.go), for those who ask for the
-- channel: none where it may not be read now, all where it is public, else the
-- user's stints; and nothing of what was there before the channel was emptied, or
-- another tenant's.
create or replace function realtime.spans(ten text, who uuid, channel uuid) returns table (low bigint, high bigint) language sql stable as $$
  select greatest(s.low, c.void), s.high
    from (select x.channel_id, x.public from realtime.readable(ten, who) x where x.channel_id = channel offset 0) r
    join realtime.channels c on c.channel_id = r.channel_id and c.tenant = ten
   cross join lateral (
     select -9223372036854775808 as low, 9223372036854775807 as high where r.public
     union all
     select t.from_seq, coalesce(t.to_seq, 9223372036854775807) from realtime.stints t
      where not r.public and t.channel_id = channel and t.user_id = who) s
$$;
