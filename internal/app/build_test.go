package app

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TestEveryDoorbellIsHeard: whatever SQL rings for, some part listens to, no
// part listens twice, and docs/architecture.md tells of each.
func TestEveryDoorbellIsHeard(t *testing.T) {
	t.Parallel()
	heard := doorbells(built(t, nil))
	rung := regexp.MustCompile(`realtime\.ring\('([a-z]+/?)`)
	topics := map[string]bool{}
	for pkg, files := range Code() {
		names, err := fs.Glob(files, "*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range rung.FindAllSubmatch(text, -1) {
				topics[string(m[1])] = true
				ok := false
				for _, d := range heard {
					ok = ok || strings.HasPrefix(string(m[1]), d.prefix)
				}
				if !ok {
					t.Errorf("%s/%s rings %s, and nobody hears it", pkg, name, m[1])
				}
			}
		}
	}
	if len(topics) < 5 {
		t.Errorf("only %v are rung for: is it still written realtime.ring('…')?", topics)
	}
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	twice := map[doorbell]bool{}
	for _, d := range heard {
		if !strings.Contains(string(doc), "\n| `"+d.prefix) {
			t.Errorf("docs/architecture.md does not tell of %s", d.prefix)
		}
		if twice[d] {
			t.Errorf("%s is heard twice by one", d.prefix)
		}
		twice[d] = true
	}
}

// TestASessionsBellIsReadWithCare: what names no session is nobody's.
func TestASessionsBellIsReadWithCare(t *testing.T) {
	t.Parallel()
	b := sessionBell{built(t, nil).presence}
	for _, topic := range []string{sessionTopic, sessionTopic + "x", sessionTopic + uuid.NewString()} {
		b.Notify(topic) // neither panics nor blocks
		b.Notify(topic)
	}
}

// TestWhatCannotBeBuiltSaysWhy, without a password in it.
func TestWhatCannotBeBuiltSaysWhy(t *testing.T) {
	t.Parallel()
	for variable, value := range map[string]string{"LISTEN_DATABASE_URL": "host=h port=none", "DATABASE_URL": "postgres://u:s3cret@h:port/d"} {
		o, _ := options(t, "postgres:///x", map[string]string{variable: value})
		p, err := build(t.Context(), o)
		if err == nil || p != nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", variable, err)
		}
		if variable == "LISTEN_DATABASE_URL" && !strings.Contains(err.Error(), variable) {
			t.Errorf("%s is not named: %v", variable, err)
		}
	}
}

// TestBehindAPooler no connection is taken for this server's alone, whichever it asks by.
func TestBehindAPooler(t *testing.T) {
	t.Parallel()
	p := built(t, nil, func(o *Options) { o.Config.ListenDatabaseURL = o.Config.DatabaseURL + "&application_name=listener" })
	for what, pool := range map[string]*pgxpool.Pool{"for callers": p.pool, "for what keeps the node alive": p.vital} {
		var timeout string
		var names int
		for range 2 {
			if err := pool.QueryRow(t.Context(), `select current_setting('statement_timeout'), (select count(*) from pg_prepared_statements where name <> '' and $1 > 0)`, 1).Scan(&timeout, &names); err != nil {
				t.Fatal(err)
			}
		}
		if timeout != "0" || names != 0 {
			t.Errorf("%s: statement_timeout is %s, %d statements have names", what, timeout, names)
		}
	}
}
