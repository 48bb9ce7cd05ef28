package presence

import (
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

// people are two of nchat's own users, and what they have to talk in.
const people = `
insert into nchat_users (id, email, display_name, email_verified) values
  ('00000000-0000-4000-8000-000000000001', 'a@example.com', 'Alice', true), ('00000000-0000-4000-8000-000000000002', 'b@example.com', 'Bob', true);
insert into nchat_channels (id, name, slug, type) values ('00000000-0000-4000-9000-000000000003', 'dm', 'dm', 'direct');
insert into nchat_channel_members (channel_id, user_id) select '00000000-0000-4000-9000-000000000003', id from nchat_users;`

func TestMigrationsJoinNchatsOwnDatabase(t *testing.T) {
	t.Parallel()
	for name, tenants := range map[string]string{"with tenants": pgtest.NchatTenants, "before tenants": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Empty(t)
			pool := pgtest.Pool(t, url)
			must(t, pool, pgtest.NchatTables+tenants+people)
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
	must(t, pool, `grant usage on schema public to `+role+`; grant select, insert, update on nchat_messages, nchat_channels, nchat_threads to `+role+`;
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
