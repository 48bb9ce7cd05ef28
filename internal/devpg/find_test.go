//go:build unix

package devpg

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]int{
		"postgres (PostgreSQL) 16.4 (Debian 16.4-1.pgdg120+1)": 16,
		"postgres (PostgreSQL) 18beta1":                        18,
		"postgres (PostgreSQL) 9.6.24":                         9,
		"something else 17":                                    0,
	} {
		dir := t.TempDir()
		for name, script := range map[string]string{"postgres": "echo '" + said + "'", "initdb": ":"} {
			if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "#!/bin/sh\n%s\n", script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b, ok := inspect(t.Context(), dir)
		if b.major != want && ok || ok != (want != 0) {
			t.Errorf("%q: version %d, %v; want %d", said, b.major, ok, want)
		}
	}
}

// /usr/local/bin often holds a lone link to postgres; its companions are where it points.
func TestInspectFollowsALink(t *testing.T) {
	t.Parallel()
	real, links := t.TempDir(), t.TempDir()
	for name, script := range map[string]string{"postgres": "echo 'postgres (PostgreSQL) 16.1'", "initdb": ":"} {
		if err := os.WriteFile(filepath.Join(real, name), fmt.Appendf(nil, "#!/bin/sh\n%s\n", script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(real, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	if b, ok := inspect(t.Context(), links); !ok || b.dir != real {
		t.Errorf("inspect = %+v, %v; want the directory %s", b, ok, real)
	}
	if err := os.Remove(filepath.Join(real, "initdb")); err != nil {
		t.Fatal(err)
	}
	if b, ok := inspect(t.Context(), links); ok {
		t.Errorf("inspect = %+v without initdb", b)
	}
}
