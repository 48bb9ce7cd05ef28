package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const hookSecret = "the-secret-shared-with-hasura-in-these-tests"

// hook posts to a webhook as Hasura does: the status and the JSON it answers.
func (n *node) hook(path, body string, change ...func(*http.Request)) (int, map[string]any) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+"/hasura/"+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Nchat-Webhook-Secret", hookSecret)
	for _, f := range change {
		f(req)
	}
	status, header, text := n.ask(req)
	var out map[string]any
	if !bytes.HasPrefix(text, []byte("[")) {
		if err := json.Unmarshal(text, &out); err != nil {
			n.t.Fatalf("%s answers %d, and no JSON: %.200q", path, status, text)
		}
	} else {
		out = map[string]any{"list": string(text)}
	}
	if kind := header.Get("Content-Type"); kind != "application/json" {
		n.t.Errorf("%s answers %s", path, kind)
	}
	return status, out
}

func call(name string, user uuid.UUID, role, input string) string {
	return fmt.Sprintf(`{"action":{"name":%q},"input":%s,"session_variables":{"x-hasura-role":%q,"x-hasura-user-id":%q},"request_query":"mutation"}`, name, input, role, user)
}

func hooked(t *testing.T) (*node, *pgxpool.Pool) {
	t.Helper()
	url := database(t)
	return inside(t, url, map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret, "MAX_BODY_BYTES": "20000"}), pgtest.Pool(t, url)
}

// TestWebhooksLetInHasuraAlone: any secret that is wrong, and any request that
// is not Hasura's, is refused in JSON and does nothing.
func TestWebhooksLetInHasuraAlone(t *testing.T) {
	t.Parallel()
	n, _ := hooked(t)
	good := call("setUserStatus", demo.Alice, "user", `{"status":"busy"}`)
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	for what, c := range map[string]struct {
		path, body string
		change     func(*http.Request)
		status     int
	}{
		"no secret":         {"actions/setUserStatus", good, header("X-Nchat-Webhook-Secret"), 401},
		"a wrong secret":    {"actions/setUserStatus", good, header("X-Nchat-Webhook-Secret", hookSecret+"x"), 401},
		"two secrets":       {"actions/setUserStatus", good, header("X-Nchat-Webhook-Secret", hookSecret, hookSecret), 401},
		"events, no secret": {"events/x", `{}`, header("X-Nchat-Webhook-Secret"), 401},
		"cron, no secret":   {"cron/expiry", `{}`, header("X-Nchat-Webhook-Secret"), 401},
		"nowhere":           {"nothing", `{}`, header("X-Nchat-Webhook-Secret"), 401},
		"GET":               {"actions/setUserStatus", good, func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"a form":            {"actions/setUserStatus", good, header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"no JSON":           {"actions/setUserStatus", `{`, nil, 400},
		"too long":          {"actions/setUserStatus", `{"x":"` + strings.Repeat("x", 16*20000) + `"}`, nil, 413},
		"unknown action":    {"actions/other", call("other", demo.Alice, "user", `{}`), nil, 404},
		"another's name":    {"actions/setUserStatus", call("whoIsOnline", demo.Alice, "user", `{}`), nil, 404},
		"unknown cron":      {"cron/other", `{}`, nil, 404},
		"unknown path":      {"nothing", `{}`, nil, 404},
	} {
		change := []func(*http.Request){}
		if c.change != nil {
			change = append(change, c.change)
		}
		status, out := n.hook(c.path, c.body, change...)
		if status != c.status || out["message"] == "" || out["extensions"] == nil {
			t.Errorf("%s: %d %v, want %d", what, status, out, c.status)
		}
	}
	if r := n.post(`{ myPresence { manualStatus } }`, bearer(token(t, demo.Alice))); !strings.Contains(r.String(), `"manualStatus":null`) {
		t.Errorf("something was done: %s", r)
	}
}

// TestActions: what they do, and what Hasura may pass on when they do not.
// TestActionsCountAsOperations: a user is limited whichever way it asks.
func TestActionsCountAsOperations(t *testing.T) {
	t.Parallel()
	n := inside(t, database(t), map[string]string{"HASURA_WEBHOOK_SECRET": hookSecret, "OPERATIONS_PER_MINUTE": "10"})
	ask := func(who uuid.UUID) (int, map[string]any) {
		return n.hook("actions/whoIsOnline", call("whoIsOnline", who, "user", fmt.Sprintf(`{"channelId":%q}`, demo.Team)))
	}
	status, out := 200, map[string]any(nil)
	for i := 0; status == 200 && i < 100; i++ {
		status, out = ask(demo.Bob)
	}
	if ext, _ := out["extensions"].(map[string]any); status != 400 || ext["code"] != "rate-limited" || ext["retryAfterMs"] == nil {
		t.Errorf("%d %v", status, out)
	}
	if status, out := ask(demo.Carol); status != 200 {
		t.Errorf("one pays for another: %d %v", status, out)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	n, _ := hooked(t)
	for _, c := range []struct {
		name   string
		user   uuid.UUID
		role   string
		input  string
		status int
		want   string
	}{
		{"setUserStatus", demo.Alice, "user", `{"status":"busy","text":"in a meeting"}`, 200, `"status":"offline","text":"in a meeting"`},
		{"setUserStatus", demo.Alice, "user", `{"status":"asleep"}`, 400, `validation-failed`},
		{"setUserStatus", demo.Alice, "user", `{"status":"busy","more":1}`, 400, `validation-failed`},
		{"setUserStatus", demo.Alice, "anonymous", `{"status":"busy"}`, 400, `access-denied`},
		{"sendChatMessage", demo.Bob, "user", fmt.Sprintf(`{"channelId":%q,"content":"hello","clientMessageId":"k"}`, demo.Team), 200, `"duplicate":false`},
		{"sendChatMessage", demo.Bob, "user", fmt.Sprintf(`{"channelId":%q,"content":"hello","clientMessageId":"k"}`, demo.Team), 200, `"duplicate":true`},
		{"sendChatMessage", demo.Bob, "user", fmt.Sprintf(`{"channelId":%q,"content":"other","clientMessageId":"k"}`, demo.Team), 400, `conflict`},
		{"sendChatMessage", demo.Dave, "user", fmt.Sprintf(`{"channelId":%q,"content":"hello"}`, demo.Team), 400, `access-denied`},
		{"sendChatMessage", demo.Bob, "user", fmt.Sprintf(`{"channelId":%q,"content":""}`, demo.Team), 400, `validation-failed`},
		{"markChannelRead", demo.Carol, "user", fmt.Sprintf(`{"channelId":%q}`, demo.Team), 200, `"unreadCount":0`},
		{"markChannelRead", demo.Dave, "user", fmt.Sprintf(`{"channelId":%q}`, demo.Team), 400, `access-denied`},
		{"whoIsOnline", demo.Bob, "user", fmt.Sprintf(`{"channelId":%q}`, demo.Team), 200, `[]`},
		{"whoIsOnline", demo.Dave, "user", fmt.Sprintf(`{"channelId":%q}`, demo.Team), 400, `access-denied`},
	} {
		status, out := n.hook("actions/"+c.name, call(c.name, c.user, c.role, c.input))
		text, err := json.Marshal(out)
		if list, ok := out["list"].(string); ok {
			text = []byte(list)
		}
		got := string(text)
		if c.name == "setUserStatus" && status == 200 {
			got = fmt.Sprintf(`"status":%q,"text":%q`, out["status"], out["text"])
		}
		if err != nil || status != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.name, c.input, status, got, c.status, c.want)
		}
		if code, _ := out["extensions"].(map[string]any); status == 400 && (code["code"] == nil || code["retryable"] == nil) {
			t.Errorf("%s: an error without a code: %s", c.name, text)
		}
	}
	for _, name := range []string{"expiry", "retention"} {
		if status, out := n.hook("cron/"+name, `{"id":"x","name":"x","scheduled_time":"2026-01-01T00:00:00Z","payload":{}}`); status != 200 {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
}

// TestSetUserStatusIsAllOrNothing, and the line may run out by itself.
func TestSetUserStatusIsAllOrNothing(t *testing.T) {
	t.Parallel()
	n, _ := hooked(t)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	before := at.Add(-2 * time.Hour)
	set := func(input string) (int, map[string]any) {
		return n.hook("actions/setUserStatus", call("setUserStatus", demo.Alice, "user", input))
	}
	shown := func() string {
		r := n.post(`{ myPresence { manualStatus manualUntil customStatus { text emoji expiresAt } } }`, bearer(token(t, demo.Alice)))
		return string(r.Data)
	}
	clean := shown()
	for input, field := range map[string]string{
		`{"status":"away","emoji":"x"}`:                                                  "input.emoji",
		`{"status":"busy","text":"a\u202eb"}`:                                            "input.text",
		`{"status":"busy","text":"x","expiresAt":"` + before.Format(time.RFC3339) + `"}`: "input.expiresAt",
		`{"status":"busy","text":"","expiresAt":"` + before.Format(time.RFC3339) + `"}`:  "expiresAt",
		`{"status":"online","text":" ","expiresAt":"` + at.Format(time.RFC3339) + `"}`:   "expiresAt",
		`{"status":"online","expiresAt":"` + at.Format(time.RFC3339) + `"}`:              "expiresAt",
		`{"status":"busy","expiresAt":"tomorrow"}`:                                       "expiresAt",
		`{"status":"busy","expiresAt":7}`:                                                "expiresAt",
		`{"status":"busy","text":7}`:                                                     "text",
		`{"status":"asleep","text":"x"}`:                                                 "status",
	} {
		status, out := set(input)
		if ext, _ := out["extensions"].(map[string]any); status != 400 || ext["field"] != field || ext["code"] != "validation-failed" {
			t.Errorf("%s: %d %v, want %s", input, status, out, field)
		}
		if now := shown(); now != clean {
			t.Fatalf("%s: half of it is done: %s", input, now)
		}
	}
	written := at.Format(time.RFC3339)
	for _, c := range []struct{ input, want string }{
		{`{"status":"online","text":"Lunch","expiresAt":"` + written + `"}`, `{"manualStatus":null,"manualUntil":null,"customStatus":{"text":"Lunch","emoji":null,"expiresAt":"` + written + `"}}`},
		{`{"status":"busy","expiresAt":"` + at.Format("2006-01-02 15:04:05+00") + `"}`, `{"manualStatus":"busy","manualUntil":"` + written + `","customStatus":{"text":"Lunch","emoji":null,"expiresAt":"` + written + `"}}`},
		{`{"status":"away","text":"","expiresAt":"` + written + `"}`, `{"manualStatus":"away","manualUntil":"` + written + `","customStatus":null}`},
		{`{"status":"offline","emoji":"🎉"}`, `{"manualStatus":"away","manualUntil":"` + written + `","customStatus":{"text":null,"emoji":"🎉","expiresAt":null}}`},
	} {
		if status, out := set(c.input); status != 200 {
			t.Errorf("%s: %d %v", c.input, status, out)
		}
		if now := shown(); now != `{"myPresence":`+c.want+`}` {
			t.Errorf("%s: %s\nwant %s", c.input, now, c.want)
		}
	}
}

// past writes without any trigger, as a restore or a replication does.
func past(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `set session_replication_role = replica`); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), sql, args...)
	if _, back := conn.Exec(t.Context(), `reset session_replication_role`); err != nil || back != nil {
		t.Fatal(err, back)
	}
}

const messagesPast = 700 // more than one event brings

func eventBody(n int, table, op, old, fresh string) string {
	return fmt.Sprintf(`{"id":"event-%d","created_at":"2026-01-01T00:00:00Z","trigger":{"name":"t"},"table":{"schema":"public","name":%q},
	  "event":{"op":%q,"session_variables":null,"data":{"old":%s,"new":%s},"trace_context":null},"delivery_info":{"max_retries":5,"current_retry":0}}`, n, table, op, old, fresh)
}

// deliver writes messages and members past our triggers and has the events of
// that delivered, each times times, in an order; the state they lead to.
func deliver(t *testing.T, times int, shuffled bool) string {
	t.Helper()
	n, pool := hooked(t)
	past(t, pool, `insert into public.nchat_messages (id, channel_id, user_id, content, created_at)
	  select md5('past' || i)::uuid, $1, $2, 'past ' || i, '2026-01-01'::timestamptz + i * interval '1 second' from generate_series(1, $3) i`, demo.Team, demo.Bob, messagesPast)
	past(t, pool, `update public.nchat_messages set is_deleted = true, deleted_at = now() where channel_id = $1 and content like '%7'`, demo.Team)
	past(t, pool, `delete from public.nchat_messages where id = $1`, uuid.MustParse("00000000-0000-4000-b000-000000000005"))
	var bodies []string
	add := func(table, op, old, fresh string) {
		bodies = append(bodies, eventBody(len(bodies), table, op, old, fresh))
	}
	rows, err := pool.Query(t.Context(), `select row_to_json(m)::text from public.nchat_messages m where content like 'past%' order by created_at`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		add("nchat_messages", "INSERT", "null", text)
	}
	add("nchat_messages", "DELETE", `{"id":"00000000-0000-4000-b000-000000000005"}`, "null")
	var all []string
	for range times {
		all = append(all, bodies...)
	}
	lanes := 1
	if shuffled {
		lanes = 8
		rand.New(rand.NewPCG(7, 7)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // a test's dice
	}
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < len(all); i += lanes {
				if status, out := n.hook("events/t", all[i]); status != 200 {
					t.Errorf("an event answers %d %v", status, out)
				}
			}
		})
	}
	wg.Wait()
	return stateOf(t, pool)
}

func stateOf(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var out string
	const q = `
select string_agg(line, E'\n' order by line) from (
  select concat_ws(' ', 'message', message_id, channel_id, seq, version, countable, deleted, gone, members) as line from realtime.messages left join realtime.revisions using (message_id)
  union all select concat_ws(' ', 'stint', channel_id, user_id, from_seq, to_seq) from realtime.stints
  union all select concat_ws(' ', 'channel', channel_id, seq, members) from realtime.channels
  union all select concat_ws(' ', 'log', kind, channel_id, count(*)) from realtime.log group by kind, channel_id) x`
	eventually(t, "the inbox is empty", func() bool {
		var n int
		return pool.QueryRow(t.Context(), `select count(*) from realtime.inbox`).Scan(&n) == nil && n == 0
	})
	if err := pool.QueryRow(t.Context(), q).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEventsInAnyOrderAndOftenAreOnePass: ten thousand deliveries, repeated and
// shuffled over several connections, lead to the very state of one ordered pass.
func TestEventsInAnyOrderAndOftenAreOnePass(t *testing.T) {
	t.Parallel()
	once, often := deliver(t, 1, false), deliver(t, 15, true)
	if n := strings.Count(once, "message "); n < messagesPast {
		t.Fatalf("only %d messages", n)
	}
	if once != often {
		a, b := strings.Split(once, "\n"), strings.Split(often, "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("once: %s\noften: %s", a[i], b[i])
			}
		}
		t.Fatalf("%d lines of state against %d", len(a), len(b))
	}
}

// TestEventsMendMemberships: a member, and a user, written past our triggers
// are in the log after their event; what cannot be understood harms nobody.
func TestEventsMendMemberships(t *testing.T) {
	t.Parallel()
	n, pool := hooked(t)
	member := func(user uuid.UUID) bool {
		var open bool
		if _, err := pool.Exec(t.Context(), `select realtime.sequence(1000, false, true)`); err != nil {
			t.Fatal(err)
		}
		if err := pool.QueryRow(t.Context(), `select exists (select from realtime.stints where channel_id = $1 and user_id = $2 and to_seq is null)`, demo.Team, user).Scan(&open); err != nil {
			t.Fatal(err)
		}
		return open
	}
	send := func(n2 int, table, row string) {
		if status, out := n.hook("events/t", eventBody(n2, table, "UPDATE", row, row)); status != 200 || out["duplicate"] != false {
			t.Fatal(status, out)
		}
	}
	past(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Dave)
	send(1, "nchat_channel_members", fmt.Sprintf(`{"channel_id":%q,"user_id":%q}`, demo.Team, demo.Dave))
	if !member(demo.Dave) {
		t.Error("a member is not noticed")
	}
	past(t, pool, `update public.nchat_users set deleted_at = now() where id = $1`, demo.Carol)
	send(2, "nchat_users", fmt.Sprintf(`{"id":%q}`, demo.Carol))
	if member(demo.Carol) {
		t.Error("a deleted user is still a member")
	}
	for what, body := range map[string]string{"no JSON": `{`, "another trigger": strings.Replace(eventBody(3, "nchat_users", "INSERT", "null", `{"id":"x"}`), `"name":"t"`, `"name":"u"`, 1),
		"an id with NUL": strings.Replace(eventBody(6, "nchat_users", "INSERT", "null", fmt.Sprintf(`{"id":%q}`, demo.Carol)), `"id":"`, `"id":"\u0000`, 1),
		"no id":          `{"trigger":{"name":"t"}}`, "a bad row": eventBody(4, "nchat_users", "INSERT", "null", `{"id":7}`), "another table": eventBody(5, "other", "INSERT", "null", `{"id":null}`)} {
		if status, out := n.hook("events/t", body); status != 200 || out["ignored"] == nil {
			t.Errorf("%s: %d %v", what, status, out)
		}
	}
	if status, out := n.hook("events/t", eventBody(2, "nchat_users", "UPDATE", "null", fmt.Sprintf(`{"id":%q}`, demo.Carol))); status != 200 || out["duplicate"] != true {
		t.Errorf("a repeated event: %d %v", status, out)
	}
}
