package presence

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestListsAreFullOnce: at MostListed, for whoever it is and whether they are at all;
// who is listed already stays so, and what is taken off makes room.
func TestListsAreFullOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fill        string
		list        string
		add, remove func(*Lists) func(context.Context, viewer.Viewer, uuid.UUID) error
	}{
		"contacts": {`insert into public.nchat_contacts (user_id, contact_user_id) select $1, gen_random_uuid() from generate_series(1, $2::int)`,
			`select count(*) from public.nchat_contacts where user_id = $1`,
			func(l *Lists) func(context.Context, viewer.Viewer, uuid.UUID) error { return l.AddContact },
			func(l *Lists) func(context.Context, viewer.Viewer, uuid.UUID) error { return l.RemoveContact }},
		"blocks": {`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) select $1, gen_random_uuid() from generate_series(1, $2::int)`,
			`select count(*) from public.nchat_blocked_users where blocker_id = $1`,
			func(l *Lists) func(context.Context, viewer.Viewer, uuid.UUID) error { return l.Block },
			func(l *Lists) func(context.Context, viewer.Viewer, uuid.UUID) error { return l.Unblock }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			l := r.node(quick).Lists
			carol := as(demo.Carol)
			add := func(user uuid.UUID) error { return c.add(l)(t.Context(), carol, user) }
			count := func() (n int) {
				t.Helper()
				if err := r.pool.QueryRow(t.Context(), c.list, demo.Carol).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			tx, err := r.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			for _, q := range []string{`delete from public.nchat_contacts`, `delete from public.nchat_blocked_users`, `set local session_replication_role = replica`} { // of users there are not
				if _, err := tx.Exec(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tx.Exec(t.Context(), c.fill, demo.Carol, MostListed-1); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the last that there is room for, and again
				if err := add(demo.Frank); err != nil || count() != MostListed {
					t.Fatalf("%v, %d are listed", err, count())
				}
			}
			var first *fault.Error
			for _, user := range []uuid.UUID{demo.Alice, uuid.New(), demo.Carol} {
				f, ok := errors.AsType[*fault.Error](add(user))
				if !ok || f.Code != fault.Invalid || f.Field != "userId" || f.Retryable || first != nil && *f != *first {
					t.Fatalf("one too many: %+v, before %+v", f, first)
				}
				first = f
			}
			if n := count(); n != MostListed {
				t.Errorf("%d are listed", n)
			}
			if err := c.remove(l)(t.Context(), carol, demo.Frank); err != nil {
				t.Fatal(err)
			}
			if err := add(demo.Alice); err != nil || count() != MostListed {
				t.Errorf("in its room: %v, %d are listed", err, count())
			}
		})
	}
}
