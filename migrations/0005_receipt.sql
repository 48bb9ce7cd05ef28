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
-- +goose StatementEnd
