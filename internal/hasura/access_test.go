package hasura_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/hasura"
)

const (
	me     = `{"user_id":{"_eq":"X-Hasura-User-Id"}}`
	public = `{"channel":{"type":{"_eq":"public"}}}`
)

// tables is a Hasura with nchat's channels and members, and one table more.
func tables(name, perms string, more ...string) string {
	list := []string{`{"table":{"schema":"public","name":"` + name + `"},
 "object_relationships":[{"name":"channel","using":{"foreign_key_constraint_on":"channel_id"}}],` + perms + `}`}
	if name != "nchat_channels" {
		list = append(list, `{"table":{"schema":"public","name":"nchat_channels"},"array_relationships":[
 {"name":"members","using":{"foreign_key_constraint_on":{"column":"channel_id","table":{"schema":"public","name":"nchat_channel_members"}}}},
 {"name":"watchers","using":{"manual_configuration":{"remote_table":{"schema":"public","name":"orders"},"column_mapping":{"id":"channel_id"}}}}]}`)
	}
	return `{"sources":[{"name":"main","tables":[` + strings.Join(append(list, more...), ",") + `]}]}`
}

func perm(op, body string) string {
	return `"` + op + `_permissions":[{"role":"user","permission":` + body + `}]`
}

// TestWhatPermissionsTellAndBelieve: each kind of permission by which nchat's own
// tables tell what is hidden here, or have this server believe what is not so;
// and beside it what is right.
func TestWhatPermissionsTellAndBelieve(t *testing.T) {
	t.Parallel()
	member := func(more string) string {
		return `{"filter":{"channel":{"_and":[{"source_account_id":{"_eq":"primary"}},{"_or":[{"type":{"_eq":"public"}},{"members":{"_and":[` + me + more + `]}}]}]}},"columns":["content"]}`
	}
	const since = `,{"joined_at":{"_clte":["$","created_at"]}}`
	for what, c := range map[string]struct {
		in  string
		ill string // a part of the reason; "": nothing is wrong
	}{
		"open insert":         {tables("nchat_messages", perm("insert", `{"check":{}}`)), "rows of others"},
		"bound insert":        {tables("nchat_messages", perm("insert", `{"check":`+me+`}`)), ""},
		"bound in short":      {tables("nchat_messages", perm("insert", `{"check":{"user_id":"X-Hasura-User-Id"}}`)), ""},
		"bound by in":         {tables("nchat_messages", perm("insert", `{"check":{"user_id":{"_in":["X-Hasura-User-Id"]}}}`)), ""},
		"bound to one of two": {tables("nchat_messages", perm("insert", `{"check":{"user_id":{"_in":["X-Hasura-User-Id","x"]}}}`)), "rows of others"},
		"preset insert":       {tables("nchat_messages", perm("insert", `{"check":{},"set":{"user_id":"x-hasura-user-id"}}`)), ""},
		"preset to anything":  {tables("nchat_messages", perm("insert", `{"check":{},"set":{"user_id":"x-hasura-other"}}`)), "rows of others"},
		"for backends only":   {tables("nchat_messages", perm("insert", `{"check":{},"backend_only":true}`)), ""},
		"within and":          {tables("nchat_contacts", perm("insert", `{"check":{"_and":[{"a":{"_eq":1}},`+me+`]}}`)), ""},
		"one of or":           {tables("nchat_contacts", perm("insert", `{"check":{"_or":[{"a":{"_eq":1}},`+me+`]}}`)), "rows of others"},
		"all of or":           {tables("nchat_contacts", perm("insert", `{"check":{"_or":[`+me+`,{"_and":[`+me+`]}]}}`)), ""},
		"an empty or":         {tables("nchat_contacts", perm("insert", `{"check":{"_or":[]}}`)), "rows of others"},
		"negated":             {tables("nchat_contacts", perm("insert", `{"check":{"_not":`+me+`}}`)), "rows of others"},
		"the other column":    {tables("nchat_blocked_users", perm("delete", `{"filter":{"blocked_user_id":{"_eq":"X-Hasura-User-Id"}}}`)), "rows of others"},
		"the blocker":         {tables("nchat_blocked_users", perm("delete", `{"filter":{"blocker_id":{"_eq":"X-HASURA-USER-ID"}}}`)), ""},
		"update own":          {tables("nchat_messages", perm("update", `{"filter":`+me+`,"columns":["content"]}`)), ""},
		"give away":           {tables("nchat_messages", perm("update", `{"filter":`+me+`,"columns":["content","user_id"]}`)), "rows of others"},
		"give away any":       {tables("nchat_messages", perm("update", `{"filter":`+me+`,"columns":"*"}`)), "rows of others"},
		"checked":             {tables("nchat_messages", perm("update", `{"filter":`+me+`,"check":`+me+`,"columns":"*"}`)), ""},
		"another role":        {tables("nchat_messages", `"insert_permissions":[{"role":"moderator","permission":{"check":{}}}]`), ""},
		"another table":       {tables("orders", perm("insert", `{"check":{}}`)), ""},
		"who is blocked":      {tables("nchat_blocked_users", perm("select", `{"filter":{},"columns":"*"}`)), "who blocked whom"},
		"whom I block":        {tables("nchat_blocked_users", perm("select", `{"filter":{"blocker_id":{"_eq":"X-Hasura-User-Id"}},"columns":"*"}`)), ""},

		"self-made member":            {tables("nchat_channel_members", perm("insert", `{"check":`+me+`,"columns":["channel_id","user_id"]}`)), "makes itself a member"},
		"self-made in a public one":   {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,`+public+`]},"columns":["channel_id"],"set":{"user_id":"X-Hasura-User-Id"}}`)), ""},
		"self-made in public or not":  {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,{"_or":[`+public+`,{"channel":{"name":{"_eq":"x"}}}]}]},"columns":["channel_id"]}`)), "makes itself a member"},
		"by another relationship":     {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,{"thing":{"type":{"_eq":"public"}}}]},"columns":["channel_id"]}`)), "makes itself a member"},
		"self-made owner":             {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,`+public+`]},"columns":["channel_id","role"]}`)), "writes role"},
		"self-made, all columns":      {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,`+public+`]}}`)), "writes role, can_read, can_write, joined_at"},
		"a role that is preset":       {tables("nchat_channel_members", perm("insert", `{"check":{"_and":[`+me+`,`+public+`]},"columns":["channel_id","role"],"set":{"role":"member"}}`)), ""},
		"rights of one's own":         {tables("nchat_channel_members", perm("update", `{"filter":`+me+`,"columns":["can_read"]}`)), "writes can_read"},
		"to another channel":          {tables("nchat_channel_members", perm("update", `{"filter":`+me+`,"columns":["channel_id"]}`)), "writes channel_id"},
		"muting":                      {tables("nchat_channel_members", perm("update", `{"filter":`+me+`,"columns":["is_muted"]}`)), ""},
		"leaving":                     {tables("nchat_channel_members", perm("delete", `{"filter":`+me+`}`)), "barred"},
		"leaving, unless barred":      {tables("nchat_channel_members", perm("delete", `{"filter":{"_and":[`+me+`,{"_or":[{"can_read":{"_is_null":true}},{"can_read":{"_eq":true}}]}]}}`)), ""},
		"leaving, if not barred":      {tables("nchat_channel_members", perm("delete", `{"filter":{"_and":[`+me+`,{"_not":{"can_read":{"_eq":false}}}]}}`)), ""},
		"leaving, barred as well":     {tables("nchat_channel_members", perm("delete", `{"filter":{"_and":[`+me+`,{"can_read":{"_eq":false}}]}}`)), "barred"},
		"marks of others":             {tables("nchat_channel_members", perm("select", `{"filter":{"source_account_id":{"_eq":"primary"}},"columns":"*"}`)), "last_read_message_id, last_read_at, unread_count, mention_count"},
		"one mark of others":          {tables("nchat_channel_members", perm("select", `{"filter":{},"columns":["user_id","unread_count"]}`)), "how far others have read: unread_count"},
		"members without their marks": {tables("nchat_channel_members", perm("select", `{"filter":{},"columns":["user_id","role"]}`)), ""},
		"marks of one's own":          {tables("nchat_channel_members", perm("select", `{"filter":`+me+`,"columns":"*"}`)), ""},
		"marks in threads":            {tables("nchat_thread_members", perm("select", `{"filter":{},"columns":"*"}`)), "how far others have read"},

		"a channel's kind":     {tables("nchat_channels", perm("update", `{"filter":{"created_by":{"_eq":"X-Hasura-User-Id"}},"columns":["name","type"]}`)), "writes type"},
		"a channel's name":     {tables("nchat_channels", perm("update", `{"filter":{"created_by":{"_eq":"X-Hasura-User-Id"}},"columns":["name"]}`)), ""},
		"another tenant":       {tables("nchat_users", perm("update", `{"filter":{"id":{"_eq":"X-Hasura-User-Id"}},"columns":["source_account_id"]}`)), "source_account_id"},
		"last seen":            {tables("nchat_users", perm("select", `{"filter":{},"columns":["id","last_seen_at"]}`)), "when others were here"},
		"one's own last seen":  {tables("nchat_users", perm("select", `{"filter":{"id":{"_eq":"X-Hasura-User-Id"}},"columns":"*"}`)), ""},
		"names":                {tables("nchat_users", perm("select", `{"filter":{},"columns":["id","display_name"]}`)), ""},
		"old presence":         {tables("nchat_presence", perm("select", `{"filter":{},"columns":["status"]}`)), "who is here"},
		"old presence, of me":  {tables("nchat_presence", perm("select", `{"filter":`+me+`,"columns":["status"]}`)), ""},
		"old switches":         {tables("nchat_user_settings", perm("select", `{"filter":{},"columns":["theme"]}`)), "what others hide"},
		"old switches written": {tables("nchat_user_settings", perm("update", `{"filter":{},"columns":["read_receipts"]}`)), "rows of others"},

		"every message":          {tables("nchat_messages", perm("select", `{"filter":{},"columns":["content"]}`)), "before their reader was a member"},
		"members' messages":      {tables("nchat_messages", perm("select", member(""))), "before their reader was a member"},
		"since they came":        {tables("nchat_messages", perm("select", member(since))), ""},
		"since somebody came":    {tables("nchat_messages", perm("select", strings.Replace(member(since), "members", "watchers", 1))), "before their reader was a member"},
		"of another column":      {tables("nchat_messages", perm("select", member(`,{"joined_at":{"_clte":["$","updated_at"]}}`))), "before their reader was a member"},
		"of no root":             {tables("nchat_messages", perm("select", member(`,{"joined_at":{"_clte":"created_at"}}`))), "before their reader was a member"},
		"one's own messages":     {tables("nchat_messages", perm("select", `{"filter":`+me+`,"columns":["content"]}`)), ""},
		"what is this server's":  {tables("orders", `"is_enum":false`, `{"table":{"schema":"realtime","name":"presence"},`+perm("select", `{"filter":`+me+`,"columns":"*"}`)+`}`), "this server's own"},
		"tracked, for the admin": {tables("orders", `"is_enum":false`, `{"table":{"schema":"realtime","name":"presence"}}`), ""},
	} {
		found := hasura.Access{Roles: []string{"user", "me"}}.Examine(tree(t, c.in))
		if c.ill == "" && len(found) > 0 || c.ill != "" && (len(found) != 1 || !strings.Contains(found[0].Reason, c.ill) || found[0].Mend == "") {
			t.Errorf("%s: %q", what, found)
		}
	}
}

// TestEveryRoleOfUsersIsLookedAt: those of users, of callers without credentials, and what
// either inherits from.
func TestEveryRoleOfUsersIsLookedAt(t *testing.T) {
	t.Parallel()
	in := tables("nchat_users", `"select_permissions":[`+
		strings.Join([]string{role("user"), role("base"), role("root"), role("anonymous"), role("moderator")}, ",")+`]`)
	in = strings.TrimSuffix(in, "}") + `,"inherited_roles":[{"role_name":"me","role_set":["base","user"]},{"role_name":"base","role_set":["root","base"]}]}`
	var whose []string
	for _, f := range (hasura.Access{Roles: []string{"me"}, Nobody: "anonymous"}).Examine(tree(t, in)) {
		whose = append(whose, strings.Fields(f.Where)[1])
	}
	if want := []string{"user,", "base,", "root,", "anonymous,"}; !slices.Equal(whose, want) {
		t.Errorf("looked at %q, want %q", whose, want)
	}
}

func role(name string) string {
	return `{"role":"` + name + `","permission":{"filter":{},"columns":["last_seen_at"]}}`
}

// TestTheOldPresenceThisServerWrites may be read by whom its owner has not blocked, and
// nobody else may write it.
func TestTheOldPresenceThisServerWrites(t *testing.T) {
	t.Parallel()
	a := hasura.Access{Roles: []string{"user"}, LegacyPresence: true}
	const unblocked = `{"_not":{"blocks":{"blocked_user_id":{"_eq":"X-Hasura-User-Id"}}}}`
	by := func(column string) string {
		return `"array_relationships":[{"name":"blocks","using":{"manual_configuration":{"remote_table":{"schema":"public","name":"nchat_blocked_users"},"column_mapping":{"user_id":"` + column + `"}}}}],`
	}
	key := func(column string) string {
		return `"array_relationships":[{"name":"blocks","using":{"foreign_key_constraint_on":{"column":"` + column + `","table":{"schema":"public","name":"nchat_blocked_users"}}}}],`
	}
	status := func(filter string) string { return perm("select", `{"filter":`+filter+`,"columns":["status"]}`) }
	seen := func(filter string) string {
		return perm("select", `{"filter":`+filter+`,"columns":["id","last_seen_at"]}`)
	}
	for in, ill := range map[string]bool{
		tables("nchat_presence", status(`{}`)):                                                 true,
		tables("nchat_presence", status(me)):                                                   false,
		tables("nchat_presence", status(unblocked)):                                            true, // what it names leads nowhere
		tables("nchat_presence", by("blocker_id")+status(unblocked)):                           false,
		tables("nchat_presence", by("blocker_id")+status(`{"_or":[`+unblocked+`,`+me+`]}`)):    false,
		tables("nchat_presence", by("blocker_id")+status(`{"_or":[`+unblocked+`,{"a":1}]}`)):   true,
		tables("nchat_presence", by("blocked_user_id")+status(unblocked)):                      true, // the other way round
		tables("nchat_presence", perm("update", `{"filter":`+me+`,"columns":["status"]}`)):     true,
		tables("nchat_users", seen(`{}`)):                                                      true,
		tables("nchat_users", seen(`{"id":{"_eq":"X-Hasura-User-Id"}}`)):                       false,
		tables("nchat_users", key("blocker_id")+seen(unblocked)):                               false,
		tables("nchat_users", key("blocked_user_id")+seen(unblocked)):                          true,
		tables("nchat_users", perm("select", `{"filter":{},"columns":["id","display_name"]}`)): false,
	} {
		if found := a.Examine(tree(t, in)); (len(found) > 0) != ill {
			t.Errorf("%s: %q", in, found)
		}
	}
}

// TestWhatIsShippedTellsNothing: the project's own permissions are held to the
// same, and each of them to a right that is taken away.
func TestWhatIsShippedTellsNothing(t *testing.T) {
	t.Parallel()
	m, _ := project(t)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	a := hasura.Access{Roles: []string{"user"}}
	if found := a.Examine(tree(t, string(text))); len(found) > 0 {
		t.Errorf("%q", found)
	}
	worse := strings.Replace(string(text), `"_clte":["$","created_at"]`, `"_is_null":false`, 1)
	if found := a.Examine(tree(t, worse)); len(found) != 1 {
		t.Errorf("without the bound of joining: %q", found)
	}
}

// FuzzAccess: whatever is in metadata, it is examined.
func FuzzAccess(f *testing.F) {
	f.Add(tables("nchat_messages", perm("select", `{"filter":{"channel":{"members":[1]}},"columns":null}`)))
	f.Add(`{"sources":[{"tables":[{"table":"nchat_users","object_relationships":[{"name":"channel","using":{"foreign_key_constraint_on":[]}}]}]}]}`)
	f.Add(`{"sources":[{"name":"a","functions":[{"function":"x"},{"function":{"schema":"realtime","name":"y"}}]}],"inherited_roles":[{"role_name":"user","role_set":[{}]}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		var x hasura.Tree
		if json.Unmarshal([]byte(in), &x) != nil {
			return
		}
		for _, found := range (hasura.Access{Roles: []string{"user"}, Nobody: "nobody"}).Examine(x) {
			if found.Where == "" || found.Reason == "" || found.Mend == "" {
				t.Errorf("%+v", found)
			}
		}
	})
}
