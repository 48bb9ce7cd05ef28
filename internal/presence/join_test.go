package presence

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// nchat is a database as nchat's own migrations leave it, as far as it matters
// here: row level security on every table, triggers of its own, and the tables
// that are in no migration of its absent.
const nchat = `
create type user_status as enum ('active', 'inactive', 'suspended', 'deleted');
create type channel_type as enum ('public', 'private', 'direct', 'group', 'announcement');
create type message_type as enum ('text', 'system', 'bot', 'file', 'voice', 'video', 'embed');
create type member_role as enum ('owner', 'admin', 'moderator', 'member', 'guest');
create table nchat_users (id uuid primary key default gen_random_uuid(), %[1]s email varchar(255) unique not null, display_name varchar(100) not null,
  username varchar(50) unique, avatar_url text, status user_status default 'active', email_verified boolean not null default false,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table nchat_channels (id uuid primary key default gen_random_uuid(), %[1]s workspace_id uuid, name varchar(100) not null, slug varchar(100) not null,
  type channel_type not null default 'public', message_count integer default 0, created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table nchat_channel_members (id uuid primary key default gen_random_uuid(), %[1]s channel_id uuid not null references nchat_channels on delete cascade,
  user_id uuid not null references nchat_users on delete cascade, role member_role default 'member', can_read boolean, can_write boolean,
  last_read_at timestamptz, created_at timestamptz not null default now(), updated_at timestamptz not null default now(), unique (channel_id, user_id));
create table nchat_messages (id uuid primary key default gen_random_uuid(), %[1]s channel_id uuid not null references nchat_channels on delete cascade,
  user_id uuid references nchat_users on delete set null, content text, type message_type default 'text', created_at timestamptz not null default now(),
  updated_at timestamptz not null default now());
create table nchat_threads (id uuid primary key default gen_random_uuid(), channel_id uuid not null, root_message_id uuid unique);
create table nchat_thread_members (id uuid primary key default gen_random_uuid(), thread_id uuid not null, user_id uuid not null, unique (thread_id, user_id));
create table nchat_blocked_users (id uuid primary key default gen_random_uuid(), %[1]s blocker_id uuid not null, blocked_user_id uuid not null, unique (blocker_id, blocked_user_id));
create function count_message() returns trigger language plpgsql as $$ begin
  update nchat_channels set message_count = message_count + 1 where id = new.channel_id; return new; end $$;
create trigger count_message after insert on nchat_messages for each row execute function count_message();
insert into nchat_users (id, email, display_name) values
  ('00000000-0000-4000-8000-000000000001', 'a@example.com', 'Alice'), ('00000000-0000-4000-8000-000000000002', 'b@example.com', 'Bob');
insert into nchat_channels (id, name, slug, type) values ('00000000-0000-4000-9000-000000000003', 'dm', 'dm', 'direct');
insert into nchat_channel_members (channel_id, user_id) select '00000000-0000-4000-9000-000000000003', id from nchat_users;
alter table nchat_users enable row level security;
alter table nchat_channels enable row level security;
alter table nchat_channel_members enable row level security;
alter table nchat_messages enable row level security;
alter table nchat_blocked_users enable row level security;`

func TestMigrationsJoinNchatsOwnDatabase(t *testing.T) {
	t.Parallel()
	for name, tenant := range map[string]string{"with tenants": "source_account_id text not null default 'primary',", "before tenants": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Empty(t)
			pool := pgtest.Pool(t, url)
			must(t, pool, fmt.Sprintf(nchat, tenant))
			before := columns(t, pool)
			for range 2 {
				if err := postgres.Migrate(t.Context(), url, slog.New(slog.DiscardHandler), pgtest.Code()); err != nil {
					t.Fatal(err)
				}
			}
			if after := columns(t, pool); after != before {
				t.Fatalf("nchat's own tables were altered:\n%s\nbefore:\n%s", after, before)
			}
			if hidden, err := Blind(t.Context(), pool); hidden != "" || err != nil {
				t.Fatal("the owner is blind:", hidden, err)
			}
			r := &rig{t: t, pool: pool, nodes: pool}
			n := r.node(quick)
			alice, bob := demo.Alice, demo.Bob
			r.connect(n, alice)
			if _, err := n.Edit.UpdateSettings(t.Context(), as(alice), Change{Visibility: ptr(Contacts)}, nil); err != nil {
				t.Fatal(err)
			}
			if got := r.see(n, as(bob), alice); got.Status != Offline {
				t.Fatalf("no contact yet: %+v", got)
			}
			asHasura(t, r.pool, alice.String())
			if got := r.see(n, as(bob), alice); got.Status != Online {
				t.Fatalf("alice wrote to bob: %+v", got)
			}
			if err := n.Lists.Block(t.Context(), as(alice), bob); err != nil {
				t.Fatal(err)
			}
			if got := r.see(n, as(bob), alice); got.Status != Offline {
				t.Fatalf("blocked: %+v", got)
			}
		})
	}
}

// asHasura writes a message as a role that has no right on the schema realtime
// and is bound by row level security.
func asHasura(t *testing.T, pool *pgxpool.Pool, author string) {
	t.Helper()
	role := "hasura_" + strings.ReplaceAll(uuid.New().String(), "-", "")
	must(t, pool, `create role `+role)
	must(t, pool, `grant usage on schema public to `+role+`; grant select, insert, update on nchat_messages, nchat_channels to `+role+`;
create policy let on nchat_messages to `+role+` using (true) with check (true); create policy let on nchat_channels to `+role+` using (true) with check (true)`)
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `set local role `+role); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `select * from realtime.presence`); err == nil {
			t.Error("a role of Hasura's reads raw presence")
		}
		return nil
	})
	if err == nil {
		t.Error("the failed read did not end its transaction")
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `set local role `+role); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `insert into nchat_messages (channel_id, user_id, content) values ('00000000-0000-4000-9000-000000000003', $1, 'hi')`, author)
		return err
	})
	if err != nil {
		t.Fatal("a role without rights on realtime cannot write a message:", err)
	}
	must(t, pool, `drop owned by `+role+`; drop role `+role)
}

func must(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func columns(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(t.Context(), `
select string_agg(table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(column_default, '') || is_nullable, E'\n' order by table_name, ordinal_position)
  from information_schema.columns where table_schema = 'public' and table_name in
       ('nchat_users', 'nchat_channels', 'nchat_channel_members', 'nchat_messages', 'nchat_threads', 'nchat_thread_members', 'nchat_blocked_users')`).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
