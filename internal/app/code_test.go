package app

import (
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestCodeIsWhole: what is embedded is every SQL file there is beside a
// package, which is also what all tests run on.
func TestCodeIsWhole(t *testing.T) {
	t.Parallel()
	embedded, found := Code(), pgtest.Code()
	if a, b := slices.Sorted(maps.Keys(embedded)), slices.Sorted(maps.Keys(found)); !slices.Equal(a, b) {
		t.Fatalf("embedded: %v; in the source tree: %v", a, b)
	}
	for pkg := range found {
		names, err := fs.Glob(found[pkg], "*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			want, err := fs.ReadFile(found[pkg], name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := fs.ReadFile(embedded[pkg], name); err != nil || string(got) != string(want) {
				t.Errorf("%s/%s is not what is embedded: %v", pkg, name, err)
			}
		}
	}
}
