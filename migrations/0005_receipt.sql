-- +goose Up
-- Delivered and read marks: how far each member is in each channel, in the
-- channel's own numbers. A mark only moves forward; each move is one row,
-- however many messages it passes, and what a sender learns follows from the
-- moves.
create table realtime.marks (
  channel_id    uuid not null,
  user_id       uuid not null,
  read_seq      bigint not null,
  read_at       timestamptz,
  delivered_seq bigint not null,
  delivered_at  timestamptz,
  primary key (user_id, channel_id),
  check (delivered_seq >= read_seq)
) with (fillfactor = 70);

-- Read moves cover from_seq < seq <= to_seq; delivered_from < seq <= to_seq was
-- delivered with it (null: had been before). Who may learn of it is decided
-- when it is made, and stays so: a receipt once shown is never taken back, and
-- none made in private is shown later.
create table realtime.moves (
  id               bigint generated always as identity primary key,
  channel_id       uuid not null,
  user_id          uuid not null,
  from_seq         bigint not null,
  to_seq           bigint not null,
  read             boolean not null,
  delivered_from   bigint,
  at               timestamptz not null,
  read_public      boolean not null,
  delivered_public boolean not null,
  shown_to         uuid[],                      -- null: everybody who may see it at all
  hidden_from      uuid[] not null default '{}',
  read_hidden_from uuid[] not null default '{}', -- besides: the reading only, from those who share none themselves
  held             boolean not null default false -- made while invisible: shown, and stamped, when that ends
);
create index moves_channel_idx on realtime.moves (channel_id, to_seq);
create index moves_held_idx on realtime.moves (user_id) where held;

-- +goose StatementBegin
-- adopt_marks takes over how far members of a channel had read before us.
create function realtime.adopt_marks(channel uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not realtime.has_column('public.nchat_channel_members', 'last_read_message_id')
     or not realtime.has_column('public.nchat_channel_members', 'last_read_at') then
    return;
  end if;
  execute $q$
    insert into realtime.marks (channel_id, user_id, read_seq, read_at, delivered_seq, delivered_at)
    select m.channel_id, m.user_id, s.seq, m.last_read_at, s.seq, m.last_read_at
      from public.nchat_channel_members m
     cross join lateral (
       select coalesce((select k.seq from realtime.messages k where k.message_id = m.last_read_message_id and k.channel_id = m.channel_id),
                       (select k.seq from public.nchat_messages o join realtime.messages k on k.message_id = o.id
                         where o.channel_id = m.channel_id and o.created_at <= m.last_read_at and k.channel_id = m.channel_id
                         order by o.created_at desc, o.id desc limit 1)) as seq) s
     where m.channel_id = $1 and s.seq is not null
    on conflict do nothing $q$ using channel;
end $$;

-- acknowledge moves a user's marks up to messages, each channel's once, and
-- answers how many of the channels it may do so in. A mark that is further
-- already stays. The caller has checked nothing: rights are read here, after
-- the mark is locked.
create function realtime.acknowledge(ten text, who uuid, in_channels uuid[], in_messages uuid[], reading boolean,
                                     public_read boolean, public_delivered boolean, is_held boolean,
                                     shown uuid[], hidden uuid[], unreturned uuid[], legacy boolean) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k record;
  st realtime.stints;
  m realtime.marks;
  r bigint;
  d bigint;
  s bigint;
  move bigint;
  n integer := 0;
  instant timestamptz := clock_timestamp();
begin
  for k in select x.channel_id, max(x.seq) as seq
             from unnest(in_channels, in_messages) a (channel, message)
             join realtime.messages x on x.message_id = a.message and x.channel_id = a.channel and not x.gone
            group by x.channel_id order by x.channel_id loop
    select t.* into st from realtime.stints t
      join realtime.nchat_channels() c on c.id = t.channel_id and c.tenant = ten
      join realtime.nchat_users() u on u.id = t.user_id and u.tenant = ten
     where t.channel_id = k.channel_id and t.user_id = who and t.to_seq is null;
    continue when not found;
    if k.seq <= st.from_seq and not exists (
         select from realtime.nchat_channels() c where c.id = k.channel_id and c.type = 'public'
         union all
         select from realtime.stints t where t.channel_id = k.channel_id and t.user_id = who and t.from_seq < k.seq and k.seq <= t.to_seq) then
      continue;
    end if;
    n := n + 1;
    insert into realtime.marks (channel_id, user_id, read_seq, delivered_seq) values (k.channel_id, who, st.from_seq, st.from_seq) on conflict do nothing;
    select x.* into m from realtime.marks x where x.user_id = who and x.channel_id = k.channel_id for update;
    r := greatest(m.read_seq, st.from_seq);
    d := greatest(m.delivered_seq, st.from_seq);
    s := case when reading then greatest(r, k.seq) else r end;
    continue when s = r and (reading or k.seq <= d);
    instant := greatest(clock_timestamp(), m.read_at, m.delivered_at);
    insert into realtime.moves (channel_id, user_id, from_seq, to_seq, read, delivered_from, at, read_public, delivered_public, shown_to, hidden_from, read_hidden_from, held)
    values (k.channel_id, who, case when reading then r else d end, k.seq, reading, case when k.seq > d then d end, instant,
            reading and public_read, public_delivered, shown, hidden, case when reading then unreturned else '{}' end, is_held)
    returning id into move;
    update realtime.marks x
       set read_seq = s, read_at = case when reading then instant else x.read_at end,
           delivered_seq = greatest(d, k.seq), delivered_at = case when k.seq > d then instant else x.delivered_at end
     where x.user_id = who and x.channel_id = k.channel_id;
    insert into realtime.inbox (tenant, channel_id, kind, user_id, seq, ref) values (ten, k.channel_id, 'mark', who, k.seq, move);
    if legacy and reading then
      perform realtime.legacy_read(k.channel_id, who);
    end if;
  end loop;
  perform realtime.ring('inbox');
  return n;
end $$;

-- unread is a member's countable messages past its mark, and those of them that mention it.
create function realtime.unread(channel uuid, who uuid, out n bigint, out mentioned bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select count(*), count(*) filter (where who = any (x.mentions))
    from realtime.stints s
    left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
    join realtime.messages x on x.channel_id = s.channel_id and x.seq > greatest(m.read_seq, s.from_seq) and x.countable and x.sender is distinct from who
   where s.channel_id = channel and s.user_id = who and s.to_seq is null
$$;

-- Channels whose members' old columns may be behind (due), and up to which
-- position the log has been looked through for them.
create table realtime.legacy (
  channel_id uuid primary key,
  due        boolean not null default true,
  at         timestamptz not null default '-infinity' -- of the last count
);
create index legacy_due_idx on realtime.legacy (at) where due;
create table realtime.legacy_head (
  only_row boolean primary key default true check (only_row),
  pos      bigint not null default 0
);
insert into realtime.legacy_head default values;

-- legacy_look notes channels where something has happened since the last look.
create function realtime.legacy_look() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  last bigint := realtime.last_pos();
  had bigint := (select h.pos from realtime.legacy_head h);
begin
  if had = last then
    return;
  end if;
  if had > last or had < (select h.floor from realtime.head h) then -- another history, or one that is forgotten
    insert into realtime.legacy as l (channel_id) select c.channel_id from realtime.channels c on conflict (channel_id) do update set due = true;
  else
    insert into realtime.legacy as l (channel_id)
    select distinct x.channel_id from realtime.log x
     where x.pos > had and x.pos <= last and x.kind in ('created', 'updated', 'deleted', 'joined', 'mark')
    on conflict (channel_id) do update set due = true where not l.due;
  end if;
  update realtime.legacy_head set pos = last;
end $$;

-- unread_of is what unread says of every member of a channel, in one pass over
-- the messages any of them has not read.
create function realtime.unread_of(channel uuid) returns table (user_id uuid, n bigint, mentioned bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with k as materialized (
    select s.user_id, greatest(m.read_seq, s.from_seq) as mark
      from realtime.stints s
      left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
     where s.channel_id = channel and s.to_seq is null),
  x as materialized (
    select y.seq, y.sender, y.mentions from realtime.messages y
     where y.channel_id = channel and y.countable and y.seq > (select min(k.mark) from k)),
  past as ( -- a member stands where its mark is, before the message it has read
    select p.user_id, sum(p.one) over (order by p.seq desc, p.one rows between unbounded preceding and current row) as n
      from (select k.user_id, k.mark as seq, 0 as one from k union all select null, x.seq, 1 from x) p),
  own as (select k.user_id, count(*) as n from x join k on k.user_id = x.sender and x.seq > k.mark group by k.user_id),
  named as (
    select k.user_id, count(*) as n
      from x cross join lateral (select distinct unnest(x.mentions) as user_id) w
      join k on k.user_id = w.user_id and x.seq > k.mark and k.user_id is distinct from x.sender
     group by k.user_id)
  select p.user_id, p.n - coalesce(o.n, 0), coalesce(c.n, 0)
    from past p left join own o on o.user_id = p.user_id left join named c on c.user_id = p.user_id
   where p.user_id is not null
$$;

-- join_receipt fits the writers of the old read columns to those there are.
create function realtime.join_receipt() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $join$
declare
  members text := 'public.nchat_channel_members';
  sets text := '';
begin
  perform pg_advisory_xact_lock(hashtext('realtime.join_nchat'));
  if realtime.has_column(members, 'unread_count') then sets := sets || ', unread_count = u.n'; end if;
  if realtime.has_column(members, 'mention_count') then sets := sets || ', mention_count = u.mentioned'; end if;
  if realtime.has_column(members, 'unread_count') then
    execute format($f$
      create or replace function realtime.legacy_count(channel uuid) returns void language sql as %L $f$, format(
      'update public.nchat_channel_members m set %1$s from realtime.unread_of(channel) u
        where m.channel_id = channel and u.user_id = m.user_id and (%2$s) is distinct from (%3$s)',
      substr(sets, 3),
      case when realtime.has_column(members, 'mention_count') then 'm.unread_count, m.mention_count' else 'm.unread_count' end,
      case when realtime.has_column(members, 'mention_count') then 'u.n, u.mentioned' else 'u.n' end));
  else
    create or replace function realtime.legacy_count(channel uuid) returns void language sql as '';
  end if;
  if realtime.has_column(members, 'last_read_message_id') then
    sets := sets || ', last_read_message_id = (select x.message_id from realtime.messages x
                       where x.channel_id = k.channel_id and x.seq <= k.read_seq and not x.gone order by x.seq desc limit 1)';
  end if;
  if realtime.has_column(members, 'last_read_at') then sets := sets || ', last_read_at = k.read_at'; end if;
  if sets = '' then
    create or replace function realtime.legacy_read(channel uuid, who uuid) returns void language sql as '';
  else
    execute format($f$
      create or replace function realtime.legacy_read(channel uuid, who uuid) returns void language sql as %L $f$, format(
      'update public.nchat_channel_members m set %s from realtime.marks k cross join lateral realtime.unread(k.channel_id, k.user_id) u
        where k.user_id = who and k.channel_id = channel and m.channel_id = channel and m.user_id = who', substr(sets, 3)));
  end if;
end $join$;
-- +goose StatementEnd
