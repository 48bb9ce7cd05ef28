package hasura_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestRemovingLeavesNothing: what docs/hasura.md has run in Postgres, for who had none
// of nchat's tables before, takes out all that migrate makes; the first of it alone
// leaves nchat's tables, and no trigger on them.
func TestRemovingLeavesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	text, err := os.ReadFile("../../docs/hasura.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Removing it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?ms)^ *```sql$(.*?)^ *```$").FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of SQL", len(blocks))
	}
	pool := pgtest.New(t)
	const left = `
select (select count(*) from pg_class where relnamespace = 'public'::regnamespace)
       + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace)
       + (select count(*) from pg_type where typnamespace = 'public'::regnamespace),
       (select count(*) from pg_trigger where not tgisinternal) + (select count(*) from pg_namespace where nspname = 'realtime')`
	for i, b := range blocks {
		if _, err := pool.Exec(t.Context(), b[1]); err != nil {
			t.Fatal(err)
		}
		var public, ours int
		if err := pool.QueryRow(t.Context(), left).Scan(&public, &ours); err != nil || ours > 0 || (public == 0) != (i == 1) {
			t.Errorf("after %s: %d in public, %d of ours, %v", b[1], public, ours, err)
		}
	}
}
