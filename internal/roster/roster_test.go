package roster_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

const primary = "primary"

var thread = uuid.MustParse("00000000-0000-4000-a000-000000000001") // of general

// world is a database with the demo world, changed by statements.
func world(t *testing.T, changes ...string) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	for _, q := range changes {
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	return pool
}

func channel(c uuid.UUID) roster.Place { return roster.Place{Channel: c} }

func member(set string, c, u uuid.UUID) string {
	return fmt.Sprintf(`update public.nchat_channel_members set %s where channel_id = '%s' and user_id = '%s'`, set, c, u)
}

// TestReadable: members read, in public channels everybody of the tenant does,
// and who is barred reads neither; a place that is none reads like one that is
// another's.
func TestReadable(t *testing.T) {
	t.Parallel()
	pool := world(t, member("can_read = false", demo.General, demo.Frank), member("can_read = false", demo.Team, demo.Carol),
		fmt.Sprintf(`delete from public.nchat_channel_members where channel_id = '%s' and user_id = '%s'`, demo.General, demo.Erin),
		fmt.Sprintf(`update public.nchat_users set deleted_at = now() where id = '%s'`, demo.Bob))
	nowhere := uuid.New()
	for what, c := range map[string]struct {
		tenant string
		user   uuid.UUID
		place  roster.Place
		want   roster.Access
	}{
		"a member":                        {primary, demo.Alice, channel(demo.Team), roster.Access{Allowed: true}},
		"no member":                       {primary, demo.Dave, channel(demo.Team), roster.Access{}},
		"a public channel":                {primary, demo.Dave, channel(demo.General), roster.Access{Allowed: true}},
		"a public channel, no member":     {primary, demo.Erin, channel(demo.General), roster.Access{Allowed: true}},
		"barred from a public channel":    {primary, demo.Frank, channel(demo.General), roster.Access{}},
		"barred from a private channel":   {primary, demo.Carol, channel(demo.Team), roster.Access{}},
		"a deleted user":                  {primary, demo.Bob, channel(demo.Team), roster.Access{}},
		"nobody":                          {primary, uuid.Nil, channel(demo.General), roster.Access{}},
		"another tenant":                  {"other", demo.Alice, channel(demo.General), roster.Access{}},
		"no channel":                      {primary, demo.Alice, channel(nowhere), roster.Access{}},
		"a direct conversation":           {primary, demo.Alice, channel(demo.DaveAlice), roster.Access{Allowed: true, Direct: true}},
		"another's, which shows its kind": {primary, demo.Frank, channel(demo.DaveAlice), roster.Access{Direct: true}},
		"a block hides no history":        {primary, demo.Erin, channel(demo.AliceErin), roster.Access{Allowed: true, Direct: true}},
		"a thread":                        {primary, demo.Dave, roster.Place{Channel: demo.General, Thread: thread}, roster.Access{Allowed: true}},
		"a thread of another channel":     {primary, demo.Alice, roster.Place{Channel: demo.Team, Thread: thread}, roster.Access{}},
		"no thread":                       {primary, demo.Alice, roster.Place{Channel: demo.General, Thread: nowhere}, roster.Access{}},
	} {
		// Among others: the answer is the place's own, in its order.
		got, err := roster.Readable(t.Context(), pool, c.tenant, c.user, []roster.Place{channel(nowhere), c.place, channel(nowhere), c.place})
		if err != nil || len(got) != 4 || got[1] != c.want || got[3] != c.want || got[0].Allowed || got[2].Allowed {
			t.Errorf("%s: %+v, want %+v (%v)", what, got, c.want, err)
		}
	}
	// Who asks of all channels, and who asks of all users, is told the same.
	var differ int
	if err := pool.QueryRow(t.Context(), `
select count(*) from public.nchat_users u
 cross join lateral (select channel_id from realtime.readable('primary', u.id) where member) a
  full join (select channel_id, user_id from realtime.readers() where tenant = 'primary') b
    on b.channel_id = a.channel_id and b.user_id = u.id
 where a.channel_id is null or b.channel_id is null`).Scan(&differ); err != nil || differ > 0 {
		t.Errorf("readable and readers differ in %d, %v", differ, err)
	}
}

// TestTenantsReadApart: a public channel is its tenant's, and a user its own tenant's
// alone, whichever of them it is asked for.
func TestTenantsReadApart(t *testing.T) {
	t.Parallel()
	elsewhere := uuid.New()
	pool := world(t, fmt.Sprintf(`insert into public.nchat_channels (id, name, slug, type, source_account_id) values ('%s', 'c', 'elsewhere', 'public', 'other')`, elsewhere),
		fmt.Sprintf(`update public.nchat_users set source_account_id = 'other' where id = '%s'`, demo.Dave))
	for what, c := range map[string]struct {
		tenant string
		user   uuid.UUID
		in     uuid.UUID
		want   bool
	}{
		"here":                         {primary, demo.Alice, demo.General, true},
		"there":                        {"other", demo.Dave, elsewhere, true},
		"another tenant's channel":     {primary, demo.Alice, elsewhere, false},
		"as if of another tenant":      {"other", demo.Alice, elsewhere, false},
		"of another tenant, here":      {primary, demo.Dave, demo.General, false},
		"there, and a channel of here": {"other", demo.Dave, demo.General, false},
	} {
		if got, err := roster.Readable(t.Context(), pool, c.tenant, c.user, []roster.Place{channel(c.in)}); err != nil || got[0].Allowed != c.want {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// TestWritable: who may send where, for each thing that forbids it.
func TestWritable(t *testing.T) {
	t.Parallel()
	set := func(table, change string, id uuid.UUID) string {
		return fmt.Sprintf(`update public.%s set %s where id = '%s'`, table, change, id)
	}
	inThread := roster.Place{Channel: demo.General, Thread: thread}
	for what, c := range map[string]struct {
		change string
		user   uuid.UUID
		place  roster.Place
		want   bool
	}{
		"a member":                          {"", demo.Bob, channel(demo.Team), true},
		"no member of a private channel":    {"", demo.Dave, channel(demo.Team), false},
		"no member of a public channel":     {fmt.Sprintf(`delete from public.nchat_channel_members where user_id = '%s'`, demo.Frank), demo.Frank, channel(demo.General), false},
		"whoever may not write":             {member("can_write = false", demo.Team, demo.Bob), demo.Bob, channel(demo.Team), false},
		"whoever may not read":              {member("can_read = false", demo.Team, demo.Bob), demo.Bob, channel(demo.Team), false},
		"an archived channel":               {set("nchat_channels", "is_archived = true", demo.Team), demo.Bob, channel(demo.Team), false},
		"one archived by its date":          {set("nchat_channels", "archived_at = now()", demo.Team), demo.Bob, channel(demo.Team), false},
		"a read-only channel":               {set("nchat_channels", "is_readonly = true", demo.Team), demo.Bob, channel(demo.Team), false},
		"an announcement channel":           {set("nchat_channels", "type = 'announcement'", demo.Team), demo.Bob, channel(demo.Team), false},
		"a moderator of a read-only one":    {set("nchat_channels", "is_readonly = true", demo.Team) + ";" + member("role = 'moderator'", demo.Team, demo.Bob), demo.Bob, channel(demo.Team), true},
		"a guest":                           {member("role = 'guest'", demo.Team, demo.Bob), demo.Bob, channel(demo.Team), true},
		"a direct conversation":             {"", demo.Alice, channel(demo.DaveAlice), true},
		"blocked":                           {"", demo.Erin, channel(demo.AliceErin), false},
		"blocking":                          {"", demo.Alice, channel(demo.AliceErin), false},
		"both elsewhere":                    {"", demo.Erin, channel(demo.General), true},
		"a thread":                          {"", demo.Dave, inThread, true},
		"a locked thread":                   {set("nchat_threads", "is_locked = true", thread), demo.Dave, inThread, false},
		"the channel of a locked thread":    {set("nchat_threads", "is_locked = true", thread), demo.Dave, channel(demo.General), true},
		"a thread named by another channel": {"", demo.Alice, roster.Place{Channel: demo.Team, Thread: thread}, false},
		"a deleted user":                    {set("nchat_users", "deleted_at = now()", demo.Bob), demo.Bob, channel(demo.Team), false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			pool := world(t, c.change)
			a, err := roster.Writable(t.Context(), pool, primary, c.user, c.place)
			if err != nil || a.Allowed != c.want {
				t.Errorf("%+v %v, want %v", a, err, c.want)
			}
			if a, err := roster.Writable(t.Context(), pool, "other", c.user, c.place); err != nil || a.Allowed {
				t.Errorf("in another tenant: %+v %v", a, err)
			}
			// Asked for all at once, each is told the same.
			all := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol, demo.Dave, demo.Erin, demo.Frank, uuid.Nil, uuid.New()}
			may, err := roster.Writers(t.Context(), pool, primary, c.place, all)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range all {
				if one, err := roster.Writable(t.Context(), pool, primary, u, c.place); err != nil || one.Allowed != may[u] {
					t.Errorf("%s: alone %v, among all %v (%v)", u, one.Allowed, may[u], err)
				}
			}
		})
	}
}

// TestPeople: who exists in the tenant, and nobody else.
func TestPeople(t *testing.T) {
	t.Parallel()
	pool := world(t, fmt.Sprintf(`update public.nchat_users set avatar_url = 'https://a.example/bob' where id = '%s'`, demo.Bob),
		fmt.Sprintf(`update public.nchat_users set deleted_at = now() where id = '%s'`, demo.Carol),
		fmt.Sprintf(`update public.nchat_users set source_account_id = 'other' where id = '%s'`, demo.Dave))
	got, err := roster.People(t.Context(), pool, primary, []uuid.UUID{demo.Bob, demo.Alice, demo.Bob, demo.Carol, demo.Dave, uuid.New()})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	if b := got[demo.Bob]; b.ID != demo.Bob || *b.DisplayName != "Bob" || *b.AvatarURL != "https://a.example/bob" {
		t.Errorf("%+v", b)
	}
	if a := got[demo.Alice]; *a.DisplayName != "Alice" || a.AvatarURL != nil {
		t.Errorf("%+v", a)
	}
	if got, err := roster.People(t.Context(), pool, "other", []uuid.UUID{demo.Alice, demo.Dave}); err != nil || len(got) != 1 || *got[demo.Dave].DisplayName != "Dave" {
		t.Errorf("the other tenant's: %v %v", got, err)
	}
	for i, blank := range []string{"", " \t", "\u200b\u3164", "\u2068\u2069"} {
		if _, err := pool.Exec(t.Context(), `update public.nchat_users set display_name = $2 where id = $1`, demo.Bob, blank); err != nil {
			t.Fatal(err)
		}
		if got, err := roster.People(t.Context(), pool, primary, []uuid.UUID{demo.Bob}); err != nil || got[demo.Bob].ID != demo.Bob || got[demo.Bob].DisplayName != nil {
			t.Errorf("blank %d: %+v %v", i, got, err)
		}
	}
	if got, err := roster.People(t.Context(), pool, primary, nil); err != nil || len(got) != 0 {
		t.Errorf("of nobody: %v %v", got, err)
	}
}
