package demo_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// odd are columns that have a value by themselves, or must have one that only the app gives.
const odd = `
alter table public.nchat_users alter avatar_url set not null, alter avatar_url set default 'none.png', add column password_hash varchar(20) not null,
  add column login_count integer not null, add column joined timestamptz not null, add column prefs jsonb not null, add column tags text[] not null;
alter table public.nchat_channel_members alter is_muted drop default, alter is_muted set not null;
alter table public.nchat_messages alter content set not null;`

// TestTheWorldFitsTheTablesThereAre: nchat's own ones, empty; once.
func TestTheWorldFitsTheTablesThereAre(t *testing.T) {
	t.Parallel()
	const noPicture = `alter table public.nchat_users alter avatar_url drop default, alter avatar_url type varchar(9), add unique (avatar_url)`
	for what, c := range map[string]struct {
		tables func(testing.TB) *pgxpool.Pool
		change string
	}{
		"ours": {pgtest.New, ""}, "nchat's": {pgtest.Nchat, ""}, "others": {pgtest.Nchat, odd}, "without a picture by default": {pgtest.Nchat, odd + noPicture},
	} {
		pool := c.tables(t)
		if _, err := pool.Exec(t.Context(), c.change); err != nil {
			t.Fatal(err)
		}
		loaded, err := demo.Load(t.Context(), pool)
		if err != nil || !loaded {
			t.Fatalf("%s: %v %v", what, loaded, err)
		}
		var got [4]int
		const q = `select (select count(*) from public.nchat_users), (select count(*) from public.nchat_channels),
			(select count(*) from public.nchat_channel_members), (select count(*) from public.nchat_messages)`
		if err := pool.QueryRow(t.Context(), q).Scan(&got[0], &got[1], &got[2], &got[3]); err != nil || got != [4]int{6, 5, 15, 13} {
			t.Errorf("%s: %v users, channels, members and messages, %v", what, got, err)
		}
		var pictures, counters int
		if err := pool.QueryRow(t.Context(), `select count(*) from public.nchat_users where avatar_url = '' or avatar_url <> 'none.png' and $1`, what == "others").Scan(&pictures); err != nil || pictures != 0 {
			t.Errorf("%s: %d odd pictures, %v", what, pictures, err)
		}
		const counted = `
select (select count(*) from public.nchat_channels c where (c.member_count, c.message_count) is distinct from
               ((select count(*) from public.nchat_channel_members m where m.channel_id = c.id), (select count(*) from public.nchat_messages m where m.channel_id = c.id)))
     + (select count(*) from public.nchat_threads t where t.message_count is distinct from 2)`
		if err := pool.QueryRow(t.Context(), counted).Scan(&counters); err != nil || counters != 0 {
			t.Errorf("%s: %d rows count wrong, %v", what, counters, err)
		}
		if again, err := demo.Load(t.Context(), pool); again || err != nil {
			t.Errorf("%s: a second time %v, %v", what, again, err)
		}
	}
}
