package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// Section is a part of a document of docs/, from its heading to the next of the
// same rank or a higher one: what is told there to be run is run by a test.
func Section(t testing.TB, document, heading string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/%s has no %q", document, heading)
	}
	rank := strings.Count(strings.Fields(heading)[0], "#")
	if next := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, rank)).FindStringIndex(rest); next != nil {
		rest = rest[:next[0]]
	}
	return rest
}

var sqlBlock = regexp.MustCompile("(?s)\n```sql\n(.*?)\n```")

// SQL is what stands in a section as SQL, block by block.
func SQL(t testing.TB, section string) (blocks []string) {
	t.Helper()
	for _, m := range sqlBlock.FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}
