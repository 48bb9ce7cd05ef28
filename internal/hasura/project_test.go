package hasura_test

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/hasura/rolesdl"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func project(t *testing.T) (hasura.Metadata, *ast.Schema) {
	t.Helper()
	m, err := hasura.Project()
	if err != nil {
		t.Fatal(err)
	}
	return m, graph.Stitched(generated.NewExecutableSchema(generated.Config{}).Schema())
}

// with is the project with one file changed.
func with(t *testing.T, file, old, fresh string) fs.FS {
	t.Helper()
	out, ours := fstest.MapFS{}, os.DirFS("../../hasura")
	err := fs.WalkDir(ours, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(ours, p)
		if p == file {
			if !strings.Contains(string(text), old) {
				t.Fatalf("%s has no %q", file, old)
			}
			text = []byte(strings.Replace(string(text), old, fresh, 1))
		}
		out[p] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTheProjectIsReadStrictly: what is misspelt or half declared is an error.
func TestTheProjectIsReadStrictly(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ file, old, fresh string }{
		"a key":           {"metadata/cron_triggers.yaml", "schedule:", "schedul:"},
		"an include":      {"metadata/databases/default/tables/tables.yaml", "public_nchat_users.yaml", "public_nchat_user.yaml"},
		"an action":       {"metadata/actions.yaml", "name: setUserStatus", "name: setStatus"},
		"an action less":  {"metadata/actions.graphql", "whoIsOnline(", "whoIsHere("},
		"a type":          {"metadata/actions.yaml", "- name: NchatChannelRead\n", ""},
		"no YAML":         {"metadata/version.yaml", "version: 3", "version: [3"},
		"a key twice":     {"metadata/version.yaml", "version: 3", "version: 3\nversion: 3"},
		"a trigger's key": {"metadata/databases/default/tables/public_nchat_users.yaml", "num_retries", "retries"},
	} {
		if _, err := hasura.Read(with(t, c.file, c.old, c.fresh)); err == nil {
			t.Errorf("%s that is wrong is read", what)
		}
	}
}

// TestRolesAreHeldToTheSchema by Hasura's rules.
func TestRolesAreHeldToTheSchema(t *testing.T) {
	t.Parallel()
	m, s := project(t)
	for _, rs := range m.RemoteSchemas {
		for _, p := range rs.Permissions {
			if wrong := rolesdl.Wrong(p.Definition.Schema, s); len(wrong) > 0 {
				t.Errorf("role %s: %q", p.Role, wrong)
			}
			if strings.Contains(p.Definition.Schema, "revokeSessions") || strings.Contains(p.Definition.Schema, "Subscription") {
				t.Errorf("role %s gets what is the admin's, or what Hasura cannot do", p.Role)
			}
		}
	}
}

// TestRelationshipsResolve: to a field of the query root, whose arguments are
// all given, from columns of the argument's type.
func TestRelationshipsResolve(t *testing.T) {
	t.Parallel()
	m, s := project(t)
	n := 0
	for _, table := range m.Sources[0].Tables {
		for _, r := range table.RemoteRelationships {
			to := r.Definition.ToRemoteSchema
			for name, f := range to.RemoteField {
				n++
				field := s.Query.Fields.ForName(name)
				if to.RemoteSchema != hasura.Name || field == nil || field.Type.NonNull {
					t.Errorf("%s: %s of %s is no nullable field of a query", r.Name, name, to.RemoteSchema)
					continue
				}
				for arg, value := range f.Arguments {
					a := field.Arguments.ForName(arg)
					column, ok := strings.CutPrefix(fmt.Sprint(value), "$")
					if a == nil || a.Type.Name() != "uuid" || !ok || !slices.Contains(to.LHSFields, column) {
						t.Errorf("%s: %s of %s", r.Name, arg, name)
					}
				}
				for _, a := range field.Arguments {
					if _, ok := f.Arguments[a.Name]; a.Type.NonNull && !ok {
						t.Errorf("%s does not give %s", r.Name, a.Name)
					}
				}
			}
		}
	}
	if n < 4 {
		t.Errorf("%d relationships", n)
	}
}

// TestEveryNameExists in the database the migrations make, and ours is bound
// where Hasura looks for it.
func TestEveryNameExists(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	m, _ := project(t)
	pool := pgtest.New(t)
	exists := func(table hasura.TableName, column string) {
		t.Helper()
		var ok bool
		const q = `select exists (select from information_schema.columns where table_schema = $1 and table_name = $2 and column_name = $3)`
		if err := pool.QueryRow(t.Context(), q, table.Schema, table.Name, column).Scan(&ok); err != nil || !ok {
			t.Errorf("%s.%s has no column %s (%v)", table.Schema, table.Name, column, err)
		}
	}
	for _, x := range m.Sources[0].Tables {
		if x.Table.Schema == "realtime" && x.Table.Name != "visible_presence" {
			t.Errorf("%s is ours, and tracked", x.Table.Name)
		}
		var columns []string
		for _, r := range x.RemoteRelationships {
			columns = append(columns, r.Definition.ToRemoteSchema.LHSFields...)
		}
		for _, p := range x.SelectPermissions {
			columns = append(columns, p.Permission.Columns...)
			if slices.Contains(p.Permission.Columns, "email") || x.Table.Schema != "realtime" && slices.Contains(p.Permission.Columns, "last_seen_at") {
				t.Errorf("%s: a user reads of others what is private", x.Table.Name)
			}
		}
		for _, e := range x.EventTriggers {
			if e.RetryConf.NumRetries == 0 || !strings.HasPrefix(e.Name, hasura.Name) || !strings.HasSuffix(e.Webhook, "/hasura/events/"+e.Name) || !secret(e.Headers) {
				t.Errorf("event trigger %s: %+v", e.Name, e)
			}
			for _, c := range operations(e) {
				for _, names := range []any{c.Columns, c.Payload} {
					list, _ := names.([]any)
					for _, name := range list {
						columns = append(columns, fmt.Sprint(name))
					}
				}
			}
		}
		for _, r := range append(slices.Clone(x.ObjectRelationships), x.ArrayRelationships...) {
			if on, ok := r.Using.On.(string); ok {
				columns = append(columns, on)
			}
			if r.Using.Manual != nil {
				for ours, theirs := range r.Using.Manual.ColumnMapping {
					columns = append(columns, ours)
					exists(r.Using.Manual.RemoteTable, theirs)
				}
			}
		}
		for _, c := range columns {
			exists(x.Table, c)
		}
	}
	for _, a := range m.Actions {
		if !secret(a.Definition.Headers) || !strings.HasSuffix(a.Definition.Handler, "/hasura/actions/"+a.Name) {
			t.Errorf("action %s: %+v", a.Name, a.Definition)
		}
	}
	for _, c := range m.CronTriggers {
		if !secret(c.Headers) || !regexp.MustCompile(`^\S+ \S+ \S+ \S+ \S+$`).MatchString(c.Schedule) {
			t.Errorf("cron trigger %s: %+v", c.Name, c)
		}
	}
}

// operations are what an event trigger tells of.
func operations(e hasura.EventTrigger) (out []*hasura.Columns) {
	for _, c := range []*hasura.Columns{e.Definition.Insert, e.Definition.Update, e.Definition.Delete} {
		if c != nil {
			out = append(out, c)
		}
	}
	return out
}

// TestEventsTellIdsAlone: what the webhook reads. All else of a row would stay in
// Hasura's event log, a message's text and a user's address too, also where they
// were deleted; and where the triggers are there already it is taken out of them.
func TestEventsTellIdsAlone(t *testing.T) {
	t.Parallel()
	m, _ := project(t)
	reads := map[string]string{"nchat_messages": "[id]", "nchat_users": "[id]", "nchat_channel_members": "[channel_id user_id]"} // internal/webhook/events.go
	n := 0
	for _, x := range m.Sources[0].Tables {
		for _, e := range x.EventTriggers {
			for _, c := range operations(e) {
				if n++; fmt.Sprint(c.Payload) != reads[x.Table.Name] {
					t.Errorf("%s tells %v", e.Name, c.Payload)
				}
			}
		}
	}
	if n != 8 {
		t.Errorf("%d operations", n)
	}
	before, _, _, err := plan(t).Merge(tree(t, `{"version":3,"sources":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	wide := tree(t, strings.ReplaceAll(str(t, before), `,"payload":["id"]`, ``))
	after, changes, _, err := plan(t).Merge(wide)
	if err != nil || len(changes) != 2 || str(t, after) != str(t, before) {
		t.Errorf("%q %v", changes, err)
	}
}

func secret(headers []hasura.Header) bool {
	return slices.Contains(headers, hasura.Header{Name: "x-nchat-webhook-secret", ValueFromEnv: "HASURA_WEBHOOK_SECRET"})
}

// TestNamesDoNotClash: with what Hasura makes of nchat's tables and with the
// actions, and not with each other once prefixed; scalars keep theirs.
func TestNamesDoNotClash(t *testing.T) {
	t.Parallel()
	m, s := project(t)
	theirs := regexp.MustCompile(`^nchat_|_(bool_exp|comparison_exp|order_by|aggregate|set_input|insert_input|on_conflict|pk_columns_input|select_column|update_column)$|^(query_root|mutation_root|subscription_root|order_by|cursor_ordering)$`)
	for name, d := range s.Types {
		if theirs.MatchString(name) {
			t.Errorf("type %s is Hasura's", name)
		}
		if d == s.Query || d == s.Mutation {
			for _, f := range d.Fields {
				if theirs.MatchString(f.Name) || strings.HasSuffix(f.Name, "_by_pk") {
					t.Errorf("field %s is Hasura's", f.Name)
				}
				for _, a := range m.Actions {
					if a.Name == f.Name {
						t.Errorf("%s is an action and a field", a.Name)
					}
				}
			}
		}
	}
	for _, o := range m.CustomTypes.Objects {
		if s.Types[o.Name] != nil || !strings.HasPrefix(o.Name, "Nchat") {
			t.Errorf("type %s of the actions", o.Name)
		}
	}
	c := hasura.Customize("Rt", "realtime")
	seen := map[string]string{}
	for name, d := range s.Types {
		if d.BuiltIn || strings.HasPrefix(name, "__") {
			continue
		}
		renamed := c.TypeNames.Prefix + name
		if as, ok := c.TypeNames.Mapping[name]; ok {
			renamed = as
		}
		if d.Kind == ast.Scalar && renamed != name {
			t.Errorf("scalar %s becomes %s", name, renamed)
		}
		if other, ok := seen[renamed]; ok {
			t.Errorf("%s and %s are both %s", name, other, renamed)
		}
		seen[renamed] = name
	}
	if c.RootFieldsNamespace != "realtime" || hasura.Customize("", "") != nil {
		t.Errorf("%+v", c)
	}
}
