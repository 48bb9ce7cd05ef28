package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/hasura"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// tool runs the binary as an operator does.
func (d *double) tool(url string, args ...string) (string, error) {
	d.t.Helper()
	bin, err := binary()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(d.t.Context(), bin, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + url, "HASURA_GRAPHQL_JWT_SECRET=" + secret, "HASURA_GRAPHQL_ADMIN_SECRET=" + admin,
		"HASURA_WEBHOOK_SECRET=" + hookSecret, "HASURA_UPSTREAM_URL=" + d.srv.URL}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *double) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *double) resource() (version int) {
	d.locked(func() { version = d.version })
	return version
}

func (d *double) ask(user uuid.UUID, query string, header ...string) string {
	d.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	if user != uuid.Nil {
		h.Set("Authorization", "Bearer "+token(d.t, user))
	}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	_, body := d.post(d.srv.URL+"/v1/graphql", h, hasura.Tree{"query": query})
	return strings.TrimSpace(string(body))
}

// TestBehindHasura: applied to an empty Hasura by our own command, examined by
// doctor, and asked through it for operations, joins, actions and events.
func TestBehindHasura(t *testing.T) {
	whole(t)
	url := database(t)
	n := startNode(t, url, "HASURA_WEBHOOK_SECRET="+hookSecret, "HASURA_GRAPHQL_UNAUTHORIZED_ROLE=anonymous")
	pool := pgtest.Pool(t, url)
	d := newDouble(t, n, pool)

	if out, err := d.tool(url, "doctor"); err == nil || !strings.Contains(out, "FAIL  metadata") {
		t.Errorf("doctor before: %v\n%s", err, out)
	}
	tellingTables(t, d, url)
	foreignType(t, d, url)
	if out, err := d.tool(url, "hasura", "apply", "--dry-run"); err != nil || !strings.Contains(out, "+ remote schema nchat_realtime") || !strings.Contains(out, "would be made") || d.resource() != 1 {
		t.Fatalf("dry run: %v\n%s", err, out)
	}
	d.locked(func() { d.busy = 2 }) // somebody else changes metadata meanwhile
	if out, err := d.tool(url, "hasura", "apply"); err != nil || d.resource() != 4 {
		t.Fatalf("apply: version %d %v\n%s", d.resource(), err, out)
	}
	if out, err := d.tool(url, "hasura", "apply"); err != nil || !strings.Contains(out, "nothing to change") || d.resource() != 4 {
		t.Errorf("apply again: %v\n%s", err, out)
	}
	if out, err := d.tool(url, "doctor"); err != nil {
		t.Errorf("doctor: %v\n%s", err, out)
	}

	// An upgrade: Hasura holds the permissions of new fields to the schema it remembers.
	d.locked(func() {
		old := *d.cache
		query := *old.Query
		query.Fields = query.Fields[:len(query.Fields)-3]
		old.Types = maps.Clone(old.Types)
		old.Query, old.Types["Query"] = &query, &query
		d.cache = &old
		objects(d.meta["remote_schemas"])[0]["comment"] = "of an older version"
	})
	if out, err := d.tool(url, "hasura", "apply"); err != nil || !strings.Contains(out, "~ remote schema") {
		t.Errorf("apply after an upgrade: %v\n%s", err, out)
	}

	n.dial(token(t, demo.Alice))
	for _, c := range []struct {
		user        uuid.UUID
		query, want string
	}{
		{demo.Bob, `query Named { a: presence(userId: "` + demo.Alice.String() + `") { ...p } b: myPresence { userId } } fragment p on Presence { userId status }`,
			`{"data":{"a":{"status":"online","userId":"` + demo.Alice.String() + `"},"b":{"userId":"` + demo.Bob.String() + `"}}}`},
		{demo.Bob, `mutation { setPresence(status: busy) { status } }`, `{"data":{"setPresence":{"status":"offline"}}}`},
		{demo.Bob, `{ sync(first: 1000) { hasMore } }`, `{"data":{"sync":{"hasMore":false}}}`},
		{demo.Bob, `{ sync(waitMs: 20000) { hasMore } }`, `has no argument named 'waitMs'`},
		{demo.Bob, `mutation { revokeSessions(userId: "` + demo.Alice.String() + `") }`, `not found in type`},
		{demo.Bob, `{ nchat_users { id presence { status } } }`, `{"id":"` + demo.Alice.String() + `","presence":{"status":"online"}}`},
		{demo.Bob, `{ nchat_messages { id delivery { status } } }`, `"delivery":null`},
		{demo.Bob, `{ nchat_channels { id presence_counts { online } read_state { unreadCount } } }`, `"presence_counts":{"online":1}`},
		{demo.Bob, `{ whoIsOnline(channelId: "` + demo.Team.String() + `") { userId status } }`, `{"data":{"whoIsOnline":[{"status":"online","userId":"` + demo.Alice.String() + `"}]}}`},
		{demo.Bob, `mutation { sendChatMessage(channelId: "` + demo.Team.String() + `", content: "by an action", clientMessageId: "a1") { id duplicate } }`, `"duplicate":false`},
		{demo.Bob, `mutation { sendChatMessage(channelId: "` + demo.Team.String() + `", content: "by an action", clientMessageId: "a1") { id duplicate } }`, `"duplicate":true`},
		{demo.Erin, `mutation { markChannelRead(channelId: "` + demo.Team.String() + `") { unreadCount } }`, `"code":"access-denied"`},
		{demo.Bob, `mutation { setUserStatus(status: "asleep") { status } }`, `"code":"validation-failed"`},
		{demo.Bob, `{ presence(userId: "x") { status } }`, `"errors":[`},
	} {
		if got := d.ask(c.user, c.query); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
	// Joined rows are one operation, and what is sent has no name.
	joins := 0
	var asked []string
	d.locked(func() { asked = d.asked })
	for _, q := range asked {
		if strings.Contains(q, "Named") || strings.Contains(q, "fragment") || strings.Contains(q, "...") {
			t.Errorf("not as Hasura sends: %s", q)
		}
		if strings.Contains(q, "f1:") || strings.Contains(q, "f1 :") {
			joins++
		}
	}
	if joins != 4 {
		t.Errorf("%d joins", joins)
	}
	// What a client without credentials says of itself is believed by nobody.
	if got := d.ask(uuid.Nil, `{ myPresence { userId } }`, "X-Hasura-User-Id", demo.Alice.String()); !strings.Contains(got, `"errors"`) {
		t.Errorf("nobody is told of alice's own: %s", got)
	}
	if got := d.ask(uuid.Nil, `{ presence(userId: "`+demo.Alice.String()+`") { status } }`, "X-Hasura-Admin-Secret", admin, "X-Hasura-Role", "user", "X-Hasura-User-Id", demo.Bob.String()); got != `{"data":{"presence":{"status":"online"}}}` {
		t.Errorf("an admin as bob: %s", got)
	}
	hooksOf(t, d)
	customized(t, d, url)
}

// tellingTables is a Hasura whose own permissions tell what is hidden here: apply
// names each and changes nothing, unless it is told to; doctor fails.
func tellingTables(t *testing.T, d *double, url string) {
	t.Helper()
	set := func(tables ...any) {
		d.locked(func() {
			d.meta = hasura.Tree{"version": json.Number("3"), "sources": []any{}}
			if len(tables) > 0 {
				d.meta["sources"] = []any{hasura.Tree{"name": "default", "kind": "postgres", "tables": tables}}
			}
			d.version = 1
		})
	}
	set(hasura.Tree{"table": hasura.Tree{"schema": "public", "name": "nchat_channel_members"}, "select_permissions": []any{
		hasura.Tree{"role": "user", "permission": hasura.Tree{"columns": "*", "filter": hasura.Tree{"source_account_id": hasura.Tree{"_eq": "primary"}}}}}})
	const named = "role user, select of nchat_channel_members in default: it tells how far others have read: last_read_message_id, last_read_at, unread_count, mention_count; to mend: "
	if out, err := d.tool(url, "hasura", "apply", "--dry-run"); err == nil || !strings.Contains(out, named) || !strings.Contains(out, "+ remote schema") || d.resource() != 1 {
		t.Errorf("dry run: version %d %v\n%s", d.resource(), err, out)
	}
	if out, err := d.tool(url, "hasura", "apply"); err == nil || !strings.Contains(out, named) || !strings.Contains(out, "nothing is changed") || d.resource() != 1 {
		t.Errorf("apply: version %d %v\n%s", d.resource(), err, out)
	}
	if out, err := d.tool(url, "doctor"); err == nil || !strings.Contains(out, "FAIL  access") || !strings.Contains(out, named) {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	if out, err := d.tool(url, "hasura", "apply", "--despite-permissions"); err != nil || !strings.Contains(out, named) || d.resource() == 1 {
		t.Errorf("despite them: version %d %v\n%s", d.resource(), err, out)
	}
	set()
}

// foreignType is a Hasura with a type by a name of ours: apply names it and changes
// nothing, also where an action of ours is there by now that answers it.
func foreignType(t *testing.T, d *double, url string) {
	t.Helper()
	var before, after string
	set := func(meta string) { d.locked(func() { d.meta, d.version = decode([]byte(meta)).(hasura.Tree), 1 }) }
	text := func() string {
		b, err := json.Marshal(d.meta)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	set(`{"version":3,"sources":[],"actions":[{"name":"markChannelRead","definition":{"handler":"{{NCHAT_REALTIME_URL}}/hasura/actions/markChannelRead","output_type":"NchatChannelRead"}}],
	  "custom_types":{"objects":[{"name":"NchatChannelRead","fields":[{"name":"theirs","type":"Int!"}]}]}}`)
	d.locked(func() { before = text() })
	out, err := d.tool(url, "hasura", "apply")
	d.locked(func() { after = text() })
	if err == nil || !strings.Contains(out, "nothing is changed") || !strings.Contains(out, "! type NchatChannelRead is none that apply wrote") || d.resource() != 1 || before != after {
		t.Errorf("apply: version %d %v\n%s\n%s", d.resource(), err, out, after)
	}
	set(`{"version":3,"sources":[]}`)
}

// hooksOf delivers events and runs crons as metadata say.
func hooksOf(t *testing.T, d *double) {
	t.Helper()
	event := fmt.Sprintf(`{"id":%q,"created_at":"2026-01-01T00:00:00Z","trigger":{"name":"nchat_realtime_member"},"table":{"schema":"public","name":"nchat_channel_members"},
	  "delivery_info":{"max_retries":10,"current_retry":0},"event":{"op":"INSERT","session_variables":null,"trace_context":null,
	  "data":{"old":null,"new":{"channel_id":%q,"user_id":%q}}}}`, uuid.NewString(), demo.Team, demo.Bob)
	if got := d.deliver("nchat_realtime_member", "nchat_channel_members", 2, event); fmt.Sprint(got) != "[200 200]" {
		t.Errorf("an event twice: %v", got)
	}
	var crons []hasura.Tree
	d.locked(func() { crons = objects(d.meta["cron_triggers"]) })
	for _, c := range crons {
		if status, body := d.post(d.fill(fmt.Sprint(c["webhook"])), d.headers(c["headers"]), hasura.Tree{"id": uuid.NewString(), "name": c["name"], "scheduled_time": "2026-01-01T00:00:00Z", "payload": hasura.Tree{}}); status != 200 {
			t.Errorf("cron %s: %d %s", c["name"], status, body)
		}
	}
}

// customized applies again with names of its own, breaks things for doctor to
// find, and takes everything out.
func customized(t *testing.T, d *double, url string) {
	t.Helper()
	space, left := "", -1
	if out, err := d.tool(url, "hasura", "apply", "--type-prefix", "Rt", "--namespace", "realtime"); err != nil || !strings.Contains(out, "~ remote schema") {
		t.Errorf("customized: %v\n%s", err, out)
	}
	d.locked(func() { space = hasura.Namespace(d.meta) })
	if space != "realtime" {
		t.Error("the namespace is not in the metadata")
	}
	d.locked(func() { d.env["HASURA_WEBHOOK_SECRET"] = "another secret altogether" })
	out, err := d.tool(url, "doctor")
	if err == nil || !strings.Contains(out, "FAIL  secrets") || !strings.Contains(out, "FAIL  consistent") || strings.Contains(out, hookSecret) {
		t.Errorf("doctor of secrets that differ: %v\n%s", err, out)
	}
	d.locked(func() { d.env["HASURA_WEBHOOK_SECRET"] = hookSecret })
	out, err = d.tool(url, "hasura", "apply", "--remove")
	d.locked(func() { left = len(objects(d.meta["remote_schemas"])) })
	if err != nil || !strings.Contains(out, "- remote schema nchat_realtime") || left != 0 {
		t.Errorf("removed: %v\n%s", err, out)
	}
}
