-- The demo world, in temporary tables that are named demo_ and as nchat's without nchat_: the
-- loader copies each by the columns it finds there. Named as nchat's themselves they would hide
-- those from the app's triggers. Ids are fixed: docs and tests name them.
create temporary table demo_users (id uuid, email text, display_name text, username text, avatar_url text) on commit drop;
create temporary table demo_channels (id uuid, name text, slug text, type text, created_by uuid) on commit drop;
create temporary table demo_channel_members (channel_id uuid, user_id uuid, created_at timestamptz) on commit drop;
create temporary table demo_messages (id uuid, channel_id uuid, user_id uuid, content text, created_at timestamptz, thread_id uuid, parent_message_id uuid) on commit drop;
create temporary table demo_threads (id uuid, channel_id uuid, root_message_id uuid, participant_count integer) on commit drop;
create temporary table demo_thread_members (thread_id uuid, user_id uuid) on commit drop;
create temporary table demo_contacts (user_id uuid, contact_user_id uuid) on commit drop;
create temporary table demo_blocked_users (blocker_id uuid, blocked_user_id uuid) on commit drop;

insert into pg_temp.demo_users (id, email, display_name, username, avatar_url)
values
  ('00000000-0000-4000-8000-000000000001', 'alice@example.com', 'Alice', 'alice', null),
  ('00000000-0000-4000-8000-000000000002', 'bob@example.com',   'Bob',   'bob',   null),
  ('00000000-0000-4000-8000-000000000003', 'carol@example.com', 'Carol', 'carol', null),
  ('00000000-0000-4000-8000-000000000004', 'dave@example.com',  'Dave',  'dave',  null),
  ('00000000-0000-4000-8000-000000000005', 'erin@example.com',  'Erin',  'erin',  null),
  ('00000000-0000-4000-8000-000000000006', 'frank@example.com', 'Frank', 'frank', null);

insert into pg_temp.demo_channels (id, name, slug, type, created_by)
values
  ('00000000-0000-4000-9000-000000000001', 'general', 'general', 'public',  '00000000-0000-4000-8000-000000000001'),
  ('00000000-0000-4000-9000-000000000002', 'team',    'team',    'private', '00000000-0000-4000-8000-000000000001'),
  ('00000000-0000-4000-9000-000000000003', 'alice, bob',  'dm-alice-bob',  'direct', '00000000-0000-4000-8000-000000000001'),
  ('00000000-0000-4000-9000-000000000004', 'dave, alice', 'dm-dave-alice', 'direct', '00000000-0000-4000-8000-000000000004'),
  ('00000000-0000-4000-9000-000000000005', 'alice, erin', 'dm-alice-erin', 'direct', '00000000-0000-4000-8000-000000000001');

insert into pg_temp.demo_channel_members (channel_id, user_id, created_at)
select ('00000000-0000-4000-9000-00000000000' || c)::uuid, ('00000000-0000-4000-8000-00000000000' || u)::uuid, now() - interval '1 day'
  from (values (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 1), (2, 2), (2, 3),
               (3, 1), (3, 2), (4, 4), (4, 1), (5, 1), (5, 5)) m (c, u);

insert into pg_temp.demo_messages (id, channel_id, user_id, content, created_at)
select ('00000000-0000-4000-b000-' || lpad(n::text, 12, '0'))::uuid,
       ('00000000-0000-4000-9000-00000000000' || c)::uuid, ('00000000-0000-4000-8000-00000000000' || u)::uuid,
       said, now() - (20 - n) * interval '7 minutes'
  from (values
    (1, 1, 1, 'Welcome to general. Release planning is on Thursday.'),
    (2, 1, 2, 'Thanks! I will bring the numbers from the load test.'),
    (3, 1, 4, 'Can somebody from support join as well?'),
    (4, 1, 5, 'I can.'),
    (5, 2, 1, 'The draft of the roadmap is in the shared folder.'),
    (6, 2, 3, 'Read it; two comments inside.'),
    (7, 3, 1, 'Do you have a minute before the stand-up?'),
    (8, 3, 2, 'Sure, in five.'),
    (9, 4, 4, 'Hi Alice, is the beta open yet?'),
    (10, 5, 1, 'Did the invoice arrive?'),
    (11, 5, 5, 'Not yet.')) m (n, c, u, said);

insert into pg_temp.demo_threads (id, channel_id, root_message_id, participant_count)
values ('00000000-0000-4000-a000-000000000001', '00000000-0000-4000-9000-000000000001', '00000000-0000-4000-b000-000000000003', 3);
insert into pg_temp.demo_thread_members (thread_id, user_id)
select '00000000-0000-4000-a000-000000000001', ('00000000-0000-4000-8000-00000000000' || u)::uuid
  from (values (1), (4), (5)) m (u);
insert into pg_temp.demo_messages (id, channel_id, user_id, thread_id, parent_message_id, content, created_at)
values
  ('00000000-0000-4000-b000-000000000012', '00000000-0000-4000-9000-000000000001', '00000000-0000-4000-8000-000000000005',
   '00000000-0000-4000-a000-000000000001', '00000000-0000-4000-b000-000000000003', 'Which hours do you need covered?', now() - interval '50 minutes'),
  ('00000000-0000-4000-b000-000000000013', '00000000-0000-4000-9000-000000000001', '00000000-0000-4000-8000-000000000004',
   '00000000-0000-4000-a000-000000000001', '00000000-0000-4000-b000-000000000003', 'Mornings, mostly.', now() - interval '45 minutes');

-- Alice lists Carol. Frank lists Alice, which shows Frank nothing of hers.
insert into pg_temp.demo_contacts (user_id, contact_user_id)
values
  ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003'),
  ('00000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000001');

insert into pg_temp.demo_blocked_users (blocker_id, blocked_user_id)
values ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000005');
