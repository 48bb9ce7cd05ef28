package hasura

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Plan says how ours is put into theirs.
type Plan struct {
	Ours   Metadata
	Source string         // the database's name in Hasura; "": the one there is
	Roles  []string       // that get what the project's role user gets
	Custom *Customization // put into the one there is; nil: names stay what clients know
	View   bool           // track what everybody may see of presence, and join users to it
}

// Merge puts ours into theirs: what of ours is missing is added, what is there
// and differs is made ours, and everything else stays as it is. changes is what
// that does, a line each; none: nothing is to be done. kept is what was left
// alone although its name is one of ours, or it is not as ours.
func (p Plan) Merge(theirs Tree) (merged Tree, changes, kept []string, err error) {
	merged, err = clone(theirs)
	if err != nil {
		return nil, nil, nil, err
	}
	ours, err := p.tree(Access{Roles: p.Roles}.bySession(theirs))
	if err != nil {
		return nil, nil, nil, err
	}
	m := &merger{}
	if err := m.source(merged, ours, p.Source); err != nil {
		return nil, nil, nil, err
	}
	for _, rs := range list(ours, "remote_schemas") {
		m.remoteSchema(merged, rs)
	}
	for _, a := range list(ours, "actions") {
		m.put(merged, "actions", a, "action", isOurAction)
	}
	if err := m.customTypes(merged, ours); err != nil {
		return nil, nil, nil, err
	}
	for _, c := range list(ours, "cron_triggers") {
		m.put(merged, "cron_triggers", c, "cron trigger", anyway)
	}
	if len(m.unforwarded) > 0 {
		m.kept = append(m.kept, fmt.Sprintf("%s is off on %s: left as it is", forward, strings.Join(m.unforwarded, ", ")))
	}
	if len(m.changes) == 0 {
		return theirs, nil, m.kept, nil
	}
	return merged, m.changes, m.kept, nil
}

// tree is ours for the roles there are, and by the caller's tenant where theirs are.
func (p Plan) tree(byTenant bool) (Tree, error) {
	var o Metadata // a copy, of its lists too
	text, err := json.Marshal(p.Ours)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return nil, fmt.Errorf("copying the project: %w", err)
	}
	for i := range o.RemoteSchemas {
		rs := &o.RemoteSchemas[i]
		rs.Definition.Customization = p.Custom
		rs.Permissions = each(rs.Permissions, p.Roles, func(x RemotePermission, role string) RemotePermission { x.Role = role; return x })
	}
	for i := range o.Actions {
		o.Actions[i].Permission = each(o.Actions[i].Permission, p.Roles, func(x Role, role string) Role { x.Role = role; return x })
	}
	if !p.View {
		o.unseen()
	}
	for i := range o.Sources {
		for j := range o.Sources[i].Tables {
			t := &o.Sources[i].Tables[j]
			for _, x := range t.SelectPermissions {
				if byTenant {
					ask(x.Permission.Filter)
				}
			}
			t.SelectPermissions = each(t.SelectPermissions, p.Roles, func(x SelectPermission, role string) SelectPermission { x.Role = role; return x })
		}
	}
	return clone(o)
}

// unseen takes out the view of visible presence, and what leads to it.
func (m *Metadata) unseen() {
	for i := range m.Sources {
		s := &m.Sources[i]
		s.Tables = slices.DeleteFunc(s.Tables, func(t Table) bool { return t.Table == view || t.Table == blocks })
		for j := range s.Tables {
			s.Tables[j].ObjectRelationships = slices.DeleteFunc(s.Tables[j].ObjectRelationships, func(r Relationship) bool {
				return r.Using.Manual != nil && r.Using.Manual.RemoteTable == view
			})
		}
	}
}

var (
	view   = TableName{ourSchema, "visible_presence"}
	blocks = TableName{"public", "nchat_blocked_users"} // the view's permission asks it
)

func each[T any](in []T, roles []string, as func(T, string) T) (out []T) {
	for _, role := range roles {
		for _, x := range in {
			out = append(out, as(x, role))
		}
	}
	return out
}

// Customize is the customization that keeps names from clashing; nil: none. The
// scalars keep their names: Hasura's own are the same.
func Customize(prefix, namespace string) *Customization {
	if prefix == "" && namespace == "" {
		return nil
	}
	c := &Customization{RootFieldsNamespace: namespace}
	if prefix != "" {
		c.TypeNames = &TypeNames{Prefix: prefix, Mapping: map[string]string{"uuid": "uuid", "timestamptz": "timestamptz", "jsonb": "jsonb"}}
	}
	return c
}
