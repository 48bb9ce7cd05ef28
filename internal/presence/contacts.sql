-- Writers of the two lists that are ours to write, tenant included where there is one.
create or replace function realtime.add_contact(tenant text, owner uuid, other uuid) returns void language sql volatile as $$
  insert into public.nchat_contacts (user_id, contact_user_id {{if has "nchat_contacts" "source_account_id"}}, source_account_id{{end}})
  select owner, other {{if has "nchat_contacts" "source_account_id"}}, tenant{{end}}
   where owner <> other and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_contact.tenant) = 2
  on conflict do nothing
$$;

create or replace function realtime.add_block(tenant text, owner uuid, other uuid) returns void language sql volatile as $$
  insert into public.nchat_blocked_users (blocker_id, blocked_user_id {{if has "nchat_blocked_users" "source_account_id"}}, source_account_id{{end}})
  select owner, other {{if has "nchat_blocked_users" "source_account_id"}}, tenant{{end}}
   where owner <> other and (select count(*) from realtime.nchat_users() u where u.id in (owner, other) and u.tenant = add_block.tenant) = 2
  on conflict do nothing
$$;
