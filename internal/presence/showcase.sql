-- show writes what everybody may see of users, where it is another than before, and
-- answers how many that was; null: the node does not keep it any more, and nothing
-- is written. Whoever was never seen gets no row. It locks the row of showing, so
-- that versions become visible in their order. A version is no less than the microsecond
-- it is given in: a standby that takes over goes on above those it never heard of.
create or replace function realtime.show(keeper uuid, tenants text[], users uuid[], statuses text[], texts text[], emojis text[],
                                         expiries timestamptz[], seen timestamptz[]) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  last bigint;
  n bigint;
begin
  select greatest(h.version, (extract(epoch from clock_timestamp()) * 1000000)::bigint) into last from realtime.showing h where h.node = keeper and h.until > clock_timestamp() for update;
  if not found then
    return null;
  end if;
  insert into realtime.public_presence as o (tenant, user_id, status, custom_text, custom_emoji, custom_expires_at, last_seen_at, version)
  select c.*, last + row_number() over ()
    from (select v.* from unnest(tenants, users, statuses, texts, emojis, expiries, seen)
                       as v (tenant, user_id, status, custom_text, custom_emoji, custom_expires_at, last_seen_at)
            left join realtime.public_presence s on s.tenant = v.tenant and s.user_id = v.user_id
           where (coalesce(s.status, 'offline'), s.custom_text, s.custom_emoji, s.custom_expires_at, s.last_seen_at)
                 is distinct from (v.status, v.custom_text, v.custom_emoji, v.custom_expires_at, v.last_seen_at)) c
  on conflict (tenant, user_id) do update
     set status = excluded.status, custom_text = excluded.custom_text, custom_emoji = excluded.custom_emoji,
         custom_expires_at = excluded.custom_expires_at, last_seen_at = excluded.last_seen_at, version = excluded.version;
  get diagnostics n = row_count;
  if n > 0 then
    update realtime.showing set version = last + n;
  end if;
  return n;
end $$;

-- keep_showing makes a node the one that keeps it, unless another is; true: it is,
-- and was the one before.
create or replace function realtime.keep_showing(keeper uuid, lasts interval) returns boolean
language sql set search_path = pg_catalog, pg_temp as $$
  update realtime.showing h set node = keeper, until = clock_timestamp() + lasts
    from realtime.showing before
   where h.node = keeper or h.until < clock_timestamp()
  returning before.node is not distinct from keeper
$$;
