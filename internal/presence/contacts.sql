-- Writers of the two lists that are ours to write, tenant included where there is one.
-- Answered is whether there was room: at most so many, whoever the other is, if they
-- are at all. What is listed already is.
create or replace function realtime.add_contact(tenant text, owner uuid, other uuid, most integer) returns boolean language sql volatile as $$
  with room as materialized (
    select (select count(*) from public.nchat_contacts c where c.user_id = owner) < most
        or exists (select from public.nchat_contacts c where c.user_id = owner and c.contact_user_id = other) as is_there),
  added as (
    insert into public.nchat_contacts (user_id, contact_user_id {{if writable "nchat_contacts" "source_account_id"}}, source_account_id{{end}})
    select owner, other {{if writable "nchat_contacts" "source_account_id"}}, tenant{{end}}
     where owner <> other and (select is_there from room) and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_contact.tenant) = 2
    on conflict do nothing)
  select is_there from room
$$;

create or replace function realtime.add_block(tenant text, owner uuid, other uuid, most integer) returns boolean language sql volatile as $$
  with room as materialized (
    select (select count(*) from public.nchat_blocked_users b where b.blocker_id = owner) < most
        or exists (select from public.nchat_blocked_users b where b.blocker_id = owner and b.blocked_user_id = other) as is_there),
  added as (
    insert into public.nchat_blocked_users (blocker_id, blocked_user_id {{if writable "nchat_blocked_users" "source_account_id"}}, source_account_id{{end}})
    select owner, other {{if writable "nchat_blocked_users" "source_account_id"}}, tenant{{end}}
     where owner <> other and (select is_there from room) and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_block.tenant) = 2
    on conflict do nothing)
  select is_there from room
$$;
