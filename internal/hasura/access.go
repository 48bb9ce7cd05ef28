package hasura

import (
	"fmt"
	"slices"
	"strings"
)

// Access is what the permissions of a whole Hasura are held to: nobody learns by
// nchat's own tables what this server would hide, nor makes it believe what is
// not so.
type Access struct {
	Roles  []string // whose x-hasura-user-id is a user
	Nobody string   // the role of callers without credentials; "": there is none
	// LegacyPresence: this server writes what everybody may see into nchat's old tables.
	LegacyPresence bool
}

// Finding is a permission that tells or believes too much.
type Finding struct{ Where, Reason, Mend string }

func (f Finding) String() string { return f.Where + ": " + f.Reason + "; to mend: " + f.Mend }

// perm is a permission of a role on a table.
type perm struct {
	source, table Tree
	name, op      string
	body          Tree
}

// check is a rule: what is wrong with a permission, or "".
type check func(a Access, p perm) (reason, mend string)

// checks are the rules of each table.
var checks = map[string][]check{
	"nchat_contacts":        {forged("user_id")},
	"nchat_blocked_users":   {forged("blocker_id"), private("who blocked whom", "blocker_id")},
	"nchat_messages":        {forged("user_id"), history},
	"nchat_channel_members": {forged("user_id"), selfMade, kept(rights...), unbarred, private("how far others have read", "user_id", marks...)},
	"nchat_thread_members":  {private("how far others have read", "user_id", marks...)},
	"nchat_channels":        {kept("type", "source_account_id")},
	"nchat_users":           {kept("source_account_id", "deleted_at", "status"), lastSeen},
	"nchat_presence":        {oldPresence},
	"nchat_user_settings":   {forged("user_id"), private("what others hide", "user_id")},
}

var (
	marks  = []string{"last_read_message_id", "last_read_at", "unread_count", "mention_count"}
	rights = []string{"role", "can_read", "can_write", "channel_id", "joined_at", "created_at"}
)

// Examine looks at every permission of the roles, and of those they inherit.
func (a Access) Examine(t Tree) (found []Finding) {
	a.each(t, func(where string, p perm) {
		for _, c := range p.checks() {
			if reason, mend := c(a, p); reason != "" {
				found = append(found, Finding{where, reason, mend})
			}
		}
	})
	for _, s := range list(t, "sources") {
		for _, f := range list(s, "functions") {
			if id, _ := f["function"].(Tree); text(id, "schema") == ourSchema {
				found = append(found, Finding{fmt.Sprintf("function %s in %s", tableName(id), text(s, "name")), "it is this server's own", "untrack it"})
			}
		}
	}
	return found
}

// each calls f with every permission of the roles, and of those they inherit.
func (a Access) each(t Tree, f func(where string, p perm)) {
	roles := a.roles(t)
	for _, s := range list(t, "sources") {
		for _, table := range list(s, "tables") {
			for _, op := range []string{"select", "insert", "update", "delete"} {
				for _, x := range list(table, op+"_permissions") {
					body, _ := x["permission"].(Tree)
					if open, _ := body["backend_only"].(bool); open || !slices.Contains(roles, text(x, "role")) {
						continue
					}
					p := perm{source: s, table: table, name: tableName(table["table"]), op: op, body: body}
					f(fmt.Sprintf("role %s, %s of %s in %s", text(x, "role"), op, p.name, text(s, "name")), p)
				}
			}
		}
	}
}

const ourSchema = "realtime"

func (p perm) checks() []check {
	if id, _ := p.table["table"].(Tree); text(id, "schema") == ourSchema {
		return []check{ours}
	}
	return checks[p.name]
}

// roles are those to look at: users', nobody's, and what they are made of.
func (a Access) roles(t Tree) []string {
	all := slices.Clone(a.Roles)
	if a.Nobody != "" {
		all = append(all, a.Nobody)
	}
	for i := 0; i < len(all); i++ {
		for _, r := range list(t, "inherited_roles") {
			if text(r, "role_name") != all[i] {
				continue
			}
			for _, part := range branches(r["role_set"]) {
				if name, ok := part.(string); ok && !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

// has are those of columns that a permission gives: all, where none are named.
func (p perm) has(columns ...string) (out []string) {
	set, _ := p.body["set"].(Tree)
	for _, c := range columns {
		_, preset := set[c]
		all := p.body["columns"] == "*" || p.body["columns"] == nil && p.op == "insert"
		if !preset && (all || slices.Contains(branches(p.body["columns"]), any(c))) {
			out = append(out, c)
		}
	}
	return out
}

// sets reports whether Hasura itself writes the caller into the column.
func (p perm) sets(column string) bool {
	set, _ := p.body["set"].(Tree)
	return isCaller(set[column])
}

// forged: rows are written in another's name.
func forged(column string) check {
	return func(_ Access, p perm) (reason, mend string) {
		rule, safe := "filter", binds(p.body["filter"], column)
		switch p.op {
		case "select":
			return "", ""
		case "insert":
			rule, safe = "check", binds(p.body["check"], column) || p.sets(column)
		case "update":
			if len(p.has(column)) > 0 {
				rule, safe = "filter and check", safe && binds(p.body["check"], column)
			}
		}
		if safe {
			return "", ""
		}
		return "it writes rows of others", fmt.Sprintf(`put {%q: {"_eq": "X-Hasura-User-Id"}} into its %s`, column, rule)
	}
}

// kept: columns that decide who may what are nobody's to write.
func kept(columns ...string) check {
	return func(_ Access, p perm) (reason, mend string) {
		if p.op != "update" && (p.op != "insert" || p.name != "nchat_channel_members") {
			return "", ""
		}
		written := p.has(columns...)
		if p.op == "insert" { // a new row says of which channel it is
			written = slices.DeleteFunc(written, func(c string) bool { return c == "channel_id" })
		}
		if got := strings.Join(written, ", "); got != "" {
			return "it writes " + got + ", by which this server decides who may what", "take " + got + " out of its columns"
		}
		return "", ""
	}
}

// selfMade: whoever makes itself a member of a channel that is not public reads
// it, and in a direct one sees what is for contacts.
func selfMade(_ Access, p perm) (reason, mend string) {
	public := func(key string, x any) bool {
		return leads(p.table, key) == "nchat_channels" && holds(x, func(key string, x any) bool { return key == "type" && equals(x) == "public" })
	}
	if p.op != "insert" || holds(p.body["check"], public) {
		return "", ""
	}
	return "anybody makes itself a member of private and direct channels",
		`put {"channel": {"type": {"_eq": "public"}}} into its check, or take it away and add members by an action`
}

// unbarred: who is barred from a channel lets itself in again.
func unbarred(_ Access, p perm) (reason, mend string) {
	if p.op != "delete" || barredStay(p.body["filter"]) {
		return "", ""
	}
	return "who is barred from a channel deletes the row that says so",
		`put {"_or": [{"can_read": {"_is_null": true}}, {"can_read": {"_eq": true}}]} into its filter`
}

func barredStay(cond any) bool {
	if holds(cond, func(key string, x any) bool {
		is, _ := x.(Tree)
		return key == "can_read" && (equals(x) == true || is["_is_null"] == true || is["_neq"] == false)
	}) {
		return true
	}
	return holds(cond, func(key string, x any) bool {
		inner, _ := x.(Tree)
		return key == "_not" && len(inner) == 1 && equals(inner["can_read"]) == false
	})
}

// private: columns (none: any) of rows that are another's.
func private(what, owner string, columns ...string) check {
	return func(_ Access, p perm) (reason, mend string) {
		if p.op != "select" || binds(p.body["filter"], owner) {
			return "", ""
		}
		got := strings.Join(p.has(columns...), ", ")
		if got == "" && len(columns) > 0 {
			return "", ""
		}
		mend = fmt.Sprintf(`put {%q: {"_eq": "X-Hasura-User-Id"}} into its filter`, owner)
		if got != "" {
			return "it tells " + what + ": " + got, mend + ", or take these columns out"
		}
		return "it tells " + what, mend
	}
}

// lastSeen: of others nchat's own column tells what its owner may hide.
func lastSeen(a Access, p perm) (reason, mend string) {
	reason, mend = private("when others were here", "id", "last_seen_at")(a, p)
	if a.LegacyPresence && reason != "" {
		return p.toTheBlocked("id")
	}
	return reason, mend
}

// oldPresence: nchat's clients write there what they like, and nobody's settings count.
func oldPresence(a Access, p perm) (reason, mend string) {
	switch {
	case p.op == "select":
		reason, mend = private("who is here, whatever they hide", "user_id")(a, p)
		if reason != "" && a.LegacyPresence {
			return p.toTheBlocked("user_id")
		}
		if reason != "" {
			mend += "; with LEGACY_PRESENCE=on it holds what everybody may see"
		}
		return reason, mend
	case !a.LegacyPresence:
		return forged("user_id")(a, p)
	}
	return "with LEGACY_PRESENCE=on this server writes it, and what clients write there shows the invisible", "take the permission away"
}

// history: messages from before one was a member, or of channels one may not read.
func history(_ Access, p perm) (reason, mend string) {
	if p.op != "select" {
		return "", ""
	}
	channels := tracked(p.source, "nchat_channels")
	stint := func(key string, x any) bool {
		return leads(channels, key) == "nchat_channel_members" && binds(x, "user_id") && holds(x, sinceJoining)
	}
	readable := func(key string, x any) bool {
		return leads(p.table, key) == "nchat_channels" && holds(x, func(key string, x any) bool {
			return key == "type" && equals(x) == "public" || stint(key, x)
		})
	}
	if holds(p.body["filter"], func(key string, x any) bool {
		return key == "user_id" && isCaller(equals(x)) || readable(key, x)
	}) {
		return "", ""
	}
	return "it reads messages of channels that are not public from before their reader was a member there",
		`put {"joined_at": {"_clte": ["$", "created_at"]}} beside the member's user_id, as hasura/ has it`
}

// sinceJoining: the row at the root is not older than the membership.
func sinceJoining(key string, x any) bool {
	is, _ := x.(Tree)
	for _, op := range []string{"_clte", "_clt", "$clte", "$clt"} {
		if at := branches(is[op]); len(at) == 2 && at[0] == "$" && at[1] == "created_at" && (key == "joined_at" || key == "created_at") {
			return true
		}
	}
	return false
}

// ours: what is in our schema is nobody's to read or write; but for the view of
// what everybody may see, without those who blocked the viewer.
func ours(_ Access, p perm) (reason, mend string) {
	if !isView(p.table) || p.op != "select" {
		return "the table is this server's own, and tells what is hidden", "take the permission away, and untrack it"
	}
	return p.toTheBlocked("user_id")
}

// toTheBlocked: what everybody may see is shown to those whom its owner blocked too.
func (p perm) toTheBlocked(owner string) (reason, mend string) {
	unblocked := func(key string, x any) bool {
		if key == owner && isCaller(equals(x)) {
			return true
		}
		inner, _ := x.(Tree)
		for rel, of := range inner {
			is, _ := of.(Tree)
			if key == "_not" && len(inner) == 1 && len(is) == 1 && leads(p.table, rel) == blocks.Name && leadsBy(p.table, rel, "blocker_id") &&
				isCaller(equals(is["blocked_user_id"])) {
				return true
			}
		}
		return false
	}
	if holds(p.body["filter"], unblocked) {
		return "", ""
	}
	return "it shows users to whom they blocked",
		`put {"_not": {"blocks": {"blocked_user_id": {"_eq": "X-Hasura-User-Id"}}}} into its filter, with blocks the rows of nchat_blocked_users whose blocker_id is the user, as hasura/ has it`
}
