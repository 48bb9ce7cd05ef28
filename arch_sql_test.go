package nchatrealtime

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// owns is whose a table is: the one package that may write it.
var owns = map[string]string{
	"internal/announce": "realtime.announced",
	"internal/auth":     "realtime.barred_users realtime.revoked_tokens realtime.revoked_users realtime.token_life",
	"internal/feed":     "realtime.backfill realtime.channels realtime.feed realtime.gates realtime.head realtime.inbox realtime.log realtime.message_versions realtime.messages realtime.rechecks realtime.revisions realtime.stints",
	"internal/lease":    "realtime.boot realtime.nodes",
	"internal/message":  "realtime.client_keys public.nchat_messages",
	"internal/postgres": "realtime.code",
	"internal/presence": "realtime.audience realtime.departed realtime.directs realtime.presence realtime.presence_settings realtime.sessions realtime.showing realtime.public_presence realtime.switches public.nchat_blocked_users public.nchat_contacts",
	"internal/push":     "realtime.push_again realtime.push_held realtime.push_jobs realtime.push_state realtime.push_told realtime.quiet_hours",
	"internal/receipt":  "realtime.ended_threads realtime.legacy realtime.legacy_head realtime.marks realtime.moves realtime.notifications realtime.thread_marks public.nchat_channel_members public.nchat_thread_members",
	"internal/roster":   "public.nchat_channels public.nchat_presence public.nchat_threads public.nchat_users",
	"internal/sweep":    "realtime.sweeps",
	"internal/webhook":  "realtime.hasura_events",
}

// shows is what of a package's SQL others may use: tables to read, functions to
// call (with parentheses), each with those who do. Whatever else a package has
// is its own. nchat's tables are read by way of roster's readers, but where a
// trigger or a lock needs the table itself.
var shows = map[string]map[string]string{
	"internal/bus": {"ring()": "internal/auth internal/feed internal/presence"},
	"internal/feed": {
		"realtime.channels": "internal/message internal/push internal/receipt", "realtime.log": "internal/push internal/receipt",
		"realtime.messages": "internal/message internal/push internal/receipt", "realtime.stints": "internal/push internal/receipt",
		"realtime.revisions": "internal/message", "realtime.message_versions": "internal/message",
		"actor()": "internal/message", "share()": "internal/message", "sign_edit()": "internal/message",
		"last_pos()": "internal/push internal/receipt", "log_floor()": "internal/push", "mark_at()": "internal/push internal/receipt", "forgotten()": "internal/receipt", "numbered()": "internal/receipt", "note_marks()": "internal/receipt", "note()": "internal/receipt",
		"reconcile()": "internal/app", "reconcile_member()": "internal/webhook", "reconcile_message()": "internal/webhook", "reconcile_user()": "internal/webhook",
	},
	"internal/lease":   {"realtime.boot": "internal/presence", "realtime.nodes": "internal/sweep"},
	"internal/push":    {"realtime.quiet_hours": "internal/presence"},
	"internal/message": {"message_rows()": "internal/push", "public.nchat_messages": "internal/feed internal/presence internal/receipt internal/roster"},
	"internal/presence": {
		"first_word()": "internal/feed", "hold_invisible()": "internal/receipt", "audience_version()": "internal/receipt", "departed_users()": "internal/push internal/receipt", "realtime.directs": "internal/roster", "realtime.public_presence": "internal/announce internal/roster", "touch()": "internal/feed internal/webhook",
		"public.nchat_blocked_users": "internal/feed internal/roster", "public.nchat_contacts": "internal/roster",
	},
	"internal/receipt": {"adopt_marks()": "internal/feed", "realtime.moves": "internal/feed", "shown()": "internal/feed", "reading_shown()": "internal/feed", "has_marks()": "internal/presence", "has_receipts()": "internal/feed", "notifications_of()": "internal/feed", "realtime.marks": "internal/presence internal/push", "realtime.thread_marks": "internal/push", "badge()": "internal/push", "public.nchat_channel_members": "internal/feed internal/presence internal/roster", "public.nchat_thread_members": "internal/roster"},
	"internal/roster": {
		"readable()": "internal/feed internal/presence internal/receipt", "readers()": "internal/feed internal/presence internal/push internal/receipt",
		"may_read()": "internal/message", "moderates()": "internal/message", "write_role()": "internal/feed internal/message",
		"nchat_blocks()": "internal/presence internal/push", "nchat_channels()": "internal/feed internal/message internal/push", "nchat_contacts()": "internal/presence",
		"direct_since()": "internal/presence", "hide_legacy()": "internal/presence", "tell_legacy()": "internal/presence", "nchat_dm_contacts()": "internal/presence", "nchat_members()": "internal/feed", "nchat_messages()": "internal/feed internal/message internal/push internal/receipt",
		"told_mentions()":  "internal/message internal/push",
		"nchat_switches()": "internal/presence", "nchat_threads()": "internal/receipt", "nchat_thread_members()": "internal/receipt", "nchat_users()": "internal/auth internal/presence internal/push",
		"public.nchat_channels": "internal/feed internal/presence internal/receipt", "public.nchat_threads": "internal/receipt", "public.nchat_users": "internal/auth internal/feed internal/presence",
	},
}

var (
	tableMade    = regexp.MustCompile(`(?m)^\s*create (?:unlogged )?table (?:if not exists )?((?:realtime|public)\.\w+)`)
	functionMade = regexp.MustCompile(`(?m)^create or replace function realtime\.(\w+)`)
	codeMade     = regexp.MustCompile(`(?i)create\s+(or\s+replace\s+)?(constraint\s+)?(function|procedure|trigger)\b`)
	sqlComment   = regexp.MustCompile(`(?m)--.*$`)
	named        = regexp.MustCompile(`(insert into |update |delete from |truncate |merge into )?\b((?:realtime|public)\.(\w+))(\s*\()?`)
)

// sqlOf is the SQL of each package of the server: its *.sql files and the
// strings in its Go.
func sqlOf(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	skip := []string{"internal/attack", "internal/bench", "internal/demo", "internal/demo/data", "internal/devpg", "internal/e2e", "internal/pgtest", "internal/pgtest/with"}
	files(t, func(path string, text []byte) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if slices.Contains(skip, dir) || strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(dir, "internal/") && !strings.HasPrefix(dir, "graph") && !strings.HasPrefix(dir, "cmd/") {
			return
		}
		switch filepath.Ext(path) {
		case ".sql":
			out[dir] = append(out[dir], sqlComment.ReplaceAllString(string(text), ""))
		case ".go":
			out[dir] = append(out[dir], goStrings(t, path, text)...)
		}
	})
	return out
}

func goStrings(t *testing.T, path string, text []byte) (list []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && strings.ContainsAny(s, " \n") { // a name alone is no SQL
				list = append(list, sqlComment.ReplaceAllString(s, ""))
			}
		}
		return true
	})
	return list
}

// TestTablesHaveOneOwner: a table is written by its owner alone; others read
// what the owner shows them, and call the functions it shows. What is shown and
// not used fails as well.
func TestTablesHaveOneOwner(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for pkg, list := range owns {
		for _, table := range strings.Fields(list) {
			if owner[table] != "" {
				t.Errorf("%s has two owners: %s and %s", table, owner[table], pkg)
			}
			owner[table] = pkg
		}
	}
	migrations, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatal("no migrations", err)
	}
	for _, path := range migrations {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if m := codeMade.FindString(sqlComment.ReplaceAllString(string(text), "")); m != "" {
			t.Errorf("%s makes code (%s): it belongs beside its package, which has it made anew whenever it changes", path, m)
		}
		for _, m := range tableMade.FindAllStringSubmatch(string(text), -1) {
			if owner[m[1]] == "" {
				t.Errorf("%s makes %s: say in arch_sql_test.go whose it is", path, m[1])
			}
		}
	}
	all := sqlOf(t)
	for pkg, texts := range all {
		for _, text := range texts {
			for _, m := range functionMade.FindAllStringSubmatch(text, -1) {
				owner[m[1]+"()"] = pkg
			}
		}
	}
	used := map[string]bool{}
	for pkg, texts := range all {
		for _, text := range texts {
			for _, problem := range foreign(pkg, text, owner, used) {
				t.Error(problem)
			}
		}
	}
	for pkg, list := range shows {
		for what, users := range list {
			if owner[what] != pkg {
				t.Errorf("%s does not own %s, which it is said to show", pkg, what)
			}
			for _, user := range strings.Fields(users) {
				if !used[user+" "+what] {
					t.Errorf("%s shows %s to %s, which does not use it", pkg, what, user)
				}
			}
		}
	}
}

// foreign is what a package's SQL does with what is another's and not shown.
func foreign(pkg, text string, owner map[string]string, used map[string]bool) (problems []string) {
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		writes, what := m[1], m[2]
		if owner[what] == "" {
			what = m[3] + "()"
		}
		of := owner[what]
		if of == "" || of == pkg {
			continue
		}
		if writes != "" && what == m[2] {
			problems = append(problems, fmt.Sprintf("%s writes %s, which is %s's", pkg, what, of))
			continue
		}
		used[pkg+" "+what] = true
		if !slices.Contains(strings.Fields(shows[of][what]), pkg) {
			problems = append(problems, fmt.Sprintf("%s uses %s, which is %s's and not shown to it", pkg, what, of))
		}
	}
	return problems
}

// TestOwnershipIsNoticed: what the test above is for, it sees.
func TestOwnershipIsNoticed(t *testing.T) {
	t.Parallel()
	owner := map[string]string{"realtime.inbox": "internal/feed", "realtime.log": "internal/feed", "note_marks()": "internal/feed", "revise()": "internal/feed"}
	for sql, want := range map[string]int{
		"insert into realtime.inbox (kind) values ('mark')":   1,
		"select from realtime.log l":                          0, // shown to receipt
		"delete from realtime.log":                            1,
		"update realtime.log set pos = 1":                     1,
		"select realtime.note_marks($1, $2, $3, $4)":          0,
		"select realtime.revise($1, true, null, false)":       1,
		"select from realtime.inbox i, realtime.revise(1) r":  2,
		"select set_config('realtime.quiet', 'on', true)":     0,
		"insert into realtime.marks select from realtime.log": 0,
	} {
		if got := foreign("internal/receipt", sql, owner, map[string]bool{}); len(got) != want {
			t.Errorf("%s: %v, want %d", sql, got, want)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(owns)) {
		if _, known := allowed[pkg]; !known {
			t.Errorf("%s owns tables and is no package", pkg)
		}
	}
}
