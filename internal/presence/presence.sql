-- Whether a session makes its user appear connected.
create or replace function realtime.counts(s realtime.sessions) returns boolean language sql immutable as
  'select s.counts and (s.parked_at is null or s.parked_at < s.last_active_at)';

-- hold_invisible answers whether a user is invisible, and keeps it as it is until
-- the transaction ends: what it does in hiding is told when the hiding ends, and
-- nothing comes too late for that, or is told that was done in hiding already.
create or replace function realtime.hold_invisible(ten text, who uuid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from realtime.presence p where p.tenant = ten and p.user_id = who for share;
  if not found then -- whoever never connected nor chose anything has nothing to hold on to
    insert into realtime.presence (tenant, user_id) values (ten, who) on conflict do nothing;
    perform from realtime.presence p where p.tenant = ten and p.user_id = who for share;
  end if;
  return exists (select from realtime.presence p where p.tenant = ten and p.user_id = who and p.hidden_since is not null)
      or exists (select from realtime.presence_settings s where s.tenant = ten and s.user_id = who and s.invisible_mode);
end $$;

-- hold_users locks the rows of users and of their sessions until the transaction ends,
-- making those missing, but waits for nobody: it answers whose another transaction holds.
-- Sessions first, as everybody does: of whom a session is held the user's row is left alone,
-- for whoever holds that is about to lock it, and may be waited for in what comes next.
create or replace function realtime.hold_users(tenants text[], users uuid[]) returns table (held_tenant text, held_user uuid)
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '1ms' as $$
declare
  k record;
begin
  for k in
    with asked as (select distinct a.ten, a.who from unnest(tenants, users) a (ten, who)),
         mine as (select s.id from realtime.sessions s join asked a on a.ten = s.tenant and a.who = s.user_id for update of s skip locked),
         stuck as (select distinct s.tenant, s.user_id from realtime.sessions s join asked a on a.ten = s.tenant and a.who = s.user_id
                    where s.id not in (select m.id from mine m)),
         free as (select p.tenant, p.user_id from realtime.presence p join asked a on a.ten = p.tenant and a.who = p.user_id
                   where not exists (select from stuck x where x.tenant = p.tenant and x.user_id = p.user_id)
                   order by 1, 2 for no key update of p skip locked)
    select a.ten, a.who, p.user_id is null as missing,
           p.user_id is not null and f.user_id is null
           or exists (select from stuck x where x.tenant = a.ten and x.user_id = a.who) as held
      from asked a
      left join realtime.presence p on p.tenant = a.ten and p.user_id = a.who
      left join free f on f.tenant = a.ten and f.user_id = a.who
     order by 1, 2
  loop
    if k.missing and not k.held then
      begin
        insert into realtime.presence (tenant, user_id) values (k.ten, k.who)
        on conflict (tenant, user_id) do update set active = presence.active where false; -- locks one that was just made
      exception when lock_not_available then -- another transaction is making it, or holds it already
        k.held := true;
      end;
    end if;
    if k.held then
      held_tenant := k.ten;
      held_user := k.who;
      return next;
    end if;
  end loop;
end $$;

-- audience_version is another once the settings, contacts or blocks of a user have
-- changed, and with them who may learn what it does.
create or replace function realtime.audience_version(ten text, who uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select concat_ws('/', (select extract(epoch from s.updated_at) from realtime.presence_settings s where s.tenant = ten and s.user_id = who),
                   count(*), max(x.id), sum(x.id))
    from realtime.audience x where x.user_id = who
$$;

create or replace function realtime.ring_presence() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if tg_op = 'DELETE' then r := old; else r := new; end if;
  perform realtime.ring('presence/' || r.user_id || '/' || translate(r.tenant, E'\n', ''));
  return null;
end $$;

create trigger ring after insert or update or delete on realtime.presence
  for each row execute function realtime.ring_presence();
create trigger ring after insert or update or delete on realtime.presence_settings
  for each row execute function realtime.ring_presence();
