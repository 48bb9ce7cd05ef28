package postgres_test

import (
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// What the app's own tables lack is told, as it may be made while the app writes,
// and not made: an index keeps writers out for as long as it takes.
func TestAnAppsTablesGetNoIndexes(t *testing.T) {
	t.Parallel()
	pool := pgtest.Nchat(t)
	told := func(want ...string) {
		t.Helper()
		got, err := postgres.Unindexed(t.Context(), pool)
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
	const members, channel, author = "create index concurrently on public.nchat_channel_members (user_id)",
		"create index concurrently on public.nchat_messages (channel_id, created_at)", "create index concurrently on public.nchat_messages (channel_id, user_id, created_at)"
	told(members, channel, author)
	for _, q := range []string{ // none of these is begun so
		`create index on nchat_channel_members (joined_at, user_id)`,
		`create index on nchat_channel_members (user_id) where is_muted`,
		`create index on nchat_messages (channel_id) include (created_at)`,
		`create index on nchat_messages (lower(content), channel_id, created_at)`,
		`create index on nchat_messages using brin (channel_id, user_id, created_at)`,
	} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	told(members, channel, author)
	if _, err := pool.Exec(t.Context(), `create index on nchat_messages (channel_id, created_at desc, id)`); err != nil {
		t.Fatal(err)
	}
	told(members, author)
	for _, q := range []string{members, author} {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	told()
}
