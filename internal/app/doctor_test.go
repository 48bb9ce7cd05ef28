package app

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func examined(t *testing.T, url string, env map[string]string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Examine(t.Context(), &out, configured(t, url, env))
	for _, s := range []string{testAdmin, testHooks, "nobody-else"} {
		if strings.Contains(out.String(), s) {
			t.Errorf("it prints a secret: %s", &out)
		}
	}
	return out.String(), err
}

// verdict is what is said of one check.
func verdict(t *testing.T, said, check string) string {
	t.Helper()
	for line := range strings.Lines(said) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == check {
			return f[0]
		}
	}
	t.Errorf("nothing is said of %s:\n%s", check, said)
	return ""
}

// TestAHealthyServer has nothing to mend.
func TestAHealthyServer(t *testing.T) {
	t.Parallel()
	url := pgtest.NewURL(t)
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, url)); err != nil {
		t.Fatal(err)
	}
	said, err := examined(t, url, nil)
	if err != nil || strings.Contains(said, "FAIL") || strings.Contains(said, "WARNING") || !strings.Contains(said, "HASURA_UPSTREAM_URL is not set") {
		t.Errorf("%v\n%s", err, said)
	}
	for _, check := range []string{"postgres", "migrations", "rows", "indexes", "users", "numbering", "noted", "forgetting", "listen", "jwt", "secret", "hasura"} {
		if got := verdict(t, said, check); got != "ok" {
			t.Errorf("%s: %s", check, got)
		}
	}
}

// changed is a database after some SQL, on one connection.
func changed(t *testing.T, url string, sql ...string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range sql {
		if _, err := c.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return url
}

// TestWhatIsWrongIsNamed: each thing by itself, with how to mend it, and the
// error counts them.
func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	healthy, past := pgtest.NewURL(t), pgtest.NewURL(t)
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, past)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		url   string
		env   map[string]string
		wrong []string
		mend  string
	}{
		"no migrations":      {pgtest.Empty(t), nil, []string{"migrations", "users", "numbering", "noted", "forgetting"}, "nchat-realtime migrate"},
		"a column that came": {changed(t, pgtest.NewURL(t), `alter table public.nchat_channel_members add column muted_until timestamptz`), nil, []string{"migrations"}, "have changed since"},
		"a trigger disabled": {changed(t, pgtest.NewURL(t), `alter table public.nchat_messages disable trigger "!realtime_feed_insert"`), nil, []string{"noted"}, `"!realtime_feed_insert" on nchat_messages`},
		"a replica's write": {changed(t, past, `set session_replication_role = replica`, `insert into public.nchat_messages (channel_id, content) values ('`+demo.Team.String()+`', 'x')`),
			nil, []string{"noted"}, "1 messages without a number"},
		"the published key":  {healthy, map[string]string{"HASURA_GRAPHQL_JWT_SECRET": auth.DevSecret}, []string{"jwt"}, "HASURA_GRAPHQL_JWT_SECRET"},
		"a key that is none": {healthy, map[string]string{"HASURA_GRAPHQL_JWT_SECRET": "{}"}, []string{"jwt"}, "HASURA_GRAPHQL_JWT_SECRET"},
		"no shared secret":   {healthy, map[string]string{"HASURA_WEBHOOK_SECRET": ""}, []string{"secret"}, "HASURA_WEBHOOK_SECRET"},
		"LISTEN elsewhere":   {healthy, map[string]string{"LISTEN_DATABASE_URL": "postgres://127.0.0.1:1/none"}, []string{"listen"}, "LISTEN_DATABASE_URL"},
		"no Hasura there": {healthy, map[string]string{"HASURA_UPSTREAM_URL": "http://127.0.0.1:1"},
			[]string{"hasura", "metadata", "consistent", "permission", "secrets", "schema", "tokens", "retries", "access", "tenants"}, "HASURA_UPSTREAM_URL"},
	} {
		said, err := examined(t, c.url, c.env)
		if err == nil || err.Error() != fmt.Sprintf("%d of the checks failed", len(c.wrong)) || !strings.Contains(said, c.mend) {
			t.Errorf("%s: %v\n%s", what, err, said)
		}
		for _, check := range c.wrong {
			if verdict(t, said, check) != "FAIL" {
				t.Errorf("%s: %s is said to be well", what, check)
			}
		}
		if n := strings.Count(said, "to mend: "); n != len(c.wrong) {
			t.Errorf("%s: %d ways to mend %d things", what, n, len(c.wrong))
		}
	}
}

// TestWarnings are of what works, and not well: nothing fails for them.
func TestWarnings(t *testing.T) {
	t.Parallel()
	url := changed(t, pgtest.NewURL(t), `drop index nchat_messages_channel_idx`)
	said, err := examined(t, url, nil)
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	for check, want := range map[string]string{"indexes": "create index concurrently on public.nchat_messages (channel_id, created_at)", "users": "has no user"} {
		if verdict(t, said, check) != "ok" || !strings.Contains(said, want) {
			t.Errorf("%s: want a warning that has %q\n%s", check, want, said)
		}
	}
}

// TestWhatIsNoHasura: something else answers at its address.
func TestWhatIsNoHasura(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) }))
	t.Cleanup(web.Close)
	said, err := examined(t, pgtest.NewURL(t), map[string]string{"HASURA_UPSTREAM_URL": web.URL})
	if err == nil || verdict(t, said, "hasura") != "FAIL" || !strings.Contains(said, "no Hasura") || verdict(t, said, "postgres") != "ok" {
		t.Errorf("%v\n%s", err, said)
	}
}
