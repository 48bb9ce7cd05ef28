package roster_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// TestAnAppsOwnTables are followed as docs/hasura.md says.
func TestAnAppsOwnTables(t *testing.T) {
	t.Parallel()
	pool, told := pgtest.New(t), pgtest.SQL(t, pgtest.Section(t, "hasura.md", "## Your own tables"))
	if len(told) != 2 {
		t.Fatalf("%d pieces of SQL", len(told))
	}
	if some, err := roster.Anybody(t.Context(), pool); err != nil || some {
		t.Errorf("before there is anybody: %v, %v", some, err)
	}
	const ann, ben, hall = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b", "00000000-0000-4000-9000-00000000000c"
	for _, step := range []struct{ does, seen string }{
		{`create table people (id uuid primary key, name text, disabled boolean not null default false);
		  create table rooms (id uuid primary key, title text, open boolean not null default true);
		  create table room_people (room_id uuid references rooms on delete cascade, person_id uuid references people on delete cascade, primary key (room_id, person_id));
		  insert into people values ('` + ann + `', 'Ann'); insert into rooms values ('` + hall + `', 'Hall'); insert into room_people values ('` + hall + `', '` + ann + `')`, ""},
		{told[0], "Ann in Hall (public)"},
		{`insert into people values ('` + ben + `', 'Ben'); insert into room_people values ('` + hall + `', '` + ben + `')`, "Ann in Hall (public), Ben in Hall (public)"},
		{`update rooms set open = false; update people set name = name || 'a'`, "Anna in Hall (private), Bena in Hall (private)"},
		{`update people set disabled = true where name = 'Anna'`, "Bena in Hall (private)"},
		{`update people set disabled = false`, "Anna in Hall (private), Bena in Hall (private)"},
		{`delete from room_people where person_id = '` + ann + `'`, "Bena in Hall (private)"},
		{`update room_people set person_id = '` + ann + `'`, "Anna in Hall (private)"},
		{`delete from people where name = 'Anna'`, ""},
		{`delete from rooms`, ""},
	} {
		if _, err := pool.Exec(t.Context(), step.does); err != nil {
			t.Fatalf("%s: %v", step.does, err)
		}
		var seen string
		const q = `
select coalesce(string_agg(format('%s in %s (%s)', u.display_name, c.name, c.type), ', ' order by u.display_name), '')
  from realtime.readers() r join realtime.nchat_users() u on u.id = r.user_id join realtime.nchat_channels() c on c.id = r.channel_id`
		if err := pool.QueryRow(t.Context(), q).Scan(&seen); err != nil || seen != step.seen {
			t.Errorf("after %s: %q, %v; want %q", step.does, seen, err, step.seen)
		}
	}
	if some, err := roster.Anybody(t.Context(), pool); err != nil || !some {
		t.Errorf("with Bena there: %v, %v", some, err)
	}
	var id uuid.UUID
	if _, err := pool.Exec(t.Context(), told[1]); err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(t.Context(), `select public.nchat_id('person', 'auth0|5f7c8e')`).Scan(&id); err != nil || id.Version() != 3 || id.Variant() != uuid.RFC4122 {
		t.Errorf("%s, of version %d: %v", id, id.Version(), err)
	}
	// Ids of other kinds, put where the text says.
	numbers := regexp.MustCompile(`\b(new|old)\.(id|person_id|room_id)\b( \|\||::text)?`).ReplaceAllStringFunc(told[0], func(at string) string {
		if strings.HasSuffix(at, "||") || strings.HasSuffix(at, "::text") {
			return at
		}
		return "public.nchat_id('x', " + at + "::text)"
	})
	for _, step := range []string{
		`drop table room_people, rooms, people; drop function keep_nchat_user, keep_nchat_channel, keep_nchat_member`,
		`create table people (id bigint primary key, name text, disabled boolean not null default false);
		 create table rooms (id text primary key, title text, open boolean not null default true);
		 create table room_people (room_id text, person_id bigint)`,
		numbers,
		`insert into people values (7, 'Cy'); insert into rooms values ('hall', 'Hall'); insert into room_people values ('hall', 7); update room_people set person_id = 7; delete from people where id = 8`,
	} {
		if _, err := pool.Exec(t.Context(), step); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	var is bool
	if err := pool.QueryRow(t.Context(), `select exists (select from public.nchat_channel_members where user_id = public.nchat_id('x', '7'))`).Scan(&is); err != nil || !is {
		t.Error("a member with a number for an id is none:", err)
	}
}
