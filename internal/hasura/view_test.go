package hasura_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestTheViewIsTrackedWhereItIsKept: into a Hasura that lives, with its relationship
// and its permission; once; and taken out again.
func TestTheViewIsTrackedWhereItIsKept(t *testing.T) {
	t.Parallel()
	without, _, _, err := plan(t).Merge(tree(t, theirs))
	if err != nil || strings.Contains(str(t, without), "visible_presence") || strings.Contains(str(t, without), "nchat_blocked_users") {
		t.Fatalf("nobody asked for it: %v", err)
	}
	p := plan(t)
	p.View = true
	with, changes, _, err := p.Merge(without)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"+ permission of role me on realtime.visible_presence", "+ permission of role user on realtime.visible_presence", "+ relationship public.nchat_users visible_presence",
		"+ relationship realtime.visible_presence blocks", "+ table public.nchat_blocked_users", "+ table realtime.visible_presence"}
	if slices.Sort(changes); !slices.Equal(changes, want) {
		t.Errorf("%q", changes)
	}
	if lost := keeps(without, with, ""); len(lost) > 0 {
		t.Errorf("lost %q", lost)
	}
	if _, changes, _, err := p.Merge(with); err != nil || len(changes) != 0 {
		t.Errorf("again: %q %v", changes, err)
	}
	a := hasura.Access{Roles: []string{"user", "me"}}
	told := func(x hasura.Tree) (n int) {
		for _, f := range a.Examine(x) {
			if strings.Contains(f.Where, "visible_presence") {
				n++
			}
		}
		return n
	}
	if told(with) != 0 {
		t.Errorf("%q", a.Examine(with))
	}
	open := tree(t, strings.ReplaceAll(str(t, with), `"_not":{"blocks"`, `"_or":{"blocks"`))
	if told(open) != 2 {
		t.Errorf("shown to whom they blocked: %q", a.Examine(open))
	}
	removed, _, err := hasura.Remove(with)
	if err != nil || strings.Contains(str(t, removed), "visible_presence") || !strings.Contains(str(t, removed), "nchat_blocked_users") {
		t.Errorf("removed: %v", err)
	}
}

// TestTheViewsPermissionIsEachViewers: the shipped filter, as Hasura makes SQL of it,
// on the view that the migrations make.
func TestTheViewsPermissionIsEachViewers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	m, _ := project(t)
	at := slices.IndexFunc(m.Sources[0].Tables, func(x hasura.Table) bool { return x.Table.Name == "visible_presence" })
	table := m.Sources[0].Tables[at]
	pool := pgtest.New(t)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `
insert into realtime.public_presence (tenant, user_id, status, version)
select t, id, case when id = $1 then 'offline' else 'online' end, row_number() over () from public.nchat_users, unnest('{primary,other}'::text[]) t where t = 'primary' or id = $2`, demo.Carol, demo.Bob); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `update realtime.showing set until = now() + interval '1 minute'`); err != nil {
		t.Fatal(err)
	}
	for viewer, n := range map[uuid.UUID]int{demo.Bob: 5, demo.Erin: 4} { // alice blocked erin; of carol there is nothing to see
		var rows, alice int
		q := `select count(*), count(*) filter (where x.user_id = $2) from realtime.visible_presence x where ` + sqlOf(table, "x", table.SelectPermissions[0].Permission.Filter)
		if err := pool.QueryRow(t.Context(), q, viewer, demo.Alice).Scan(&rows, &alice); err != nil || rows != n || (alice == 1) != (viewer == demo.Bob) {
			t.Errorf("%v sees %d, of alice %d, %v", viewer, rows, alice, err)
		}
	}
}

// sqlOf is a filter of the few kinds that the view's has.
func sqlOf(table hasura.Table, row string, cond map[string]any) string {
	var all []string
	for key, x := range cond {
		switch is, _ := x.(map[string]any); {
		case key == "_and":
			for _, part := range x.([]any) {
				all = append(all, sqlOf(table, row, part.(map[string]any)))
			}
		case key == "_not":
			all = append(all, "not "+sqlOf(table, row, is))
		case is["_eq"] == "X-Hasura-User-Id":
			all = append(all, row+"."+key+" = $1")
		case is["_eq"] != nil:
			all = append(all, fmt.Sprintf("%s.%s = '%v'", row, key, is["_eq"]))
		default:
			at := slices.IndexFunc(table.ArrayRelationships, func(r hasura.Relationship) bool { return r.Name == key })
			to := table.ArrayRelationships[at].Using.Manual
			inner := []string{sqlOf(hasura.Table{}, "r", is)}
			for ours, theirs := range to.ColumnMapping {
				inner = append(inner, "r."+theirs+" = "+row+"."+ours)
			}
			all = append(all, "exists (select from "+to.RemoteTable.Schema+"."+to.RemoteTable.Name+" r where "+strings.Join(inner, " and ")+")")
		}
	}
	return "(" + strings.Join(all, " and ") + ")"
}
