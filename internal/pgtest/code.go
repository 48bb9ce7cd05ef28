package pgtest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Code is what app.Code embeds, read from the source tree: this package, which
// every domain's tests use, may import none of them. A test of internal/app
// holds that both are the same.
//
// EnvOverlay names a file as go's -overlay takes it: what is replaced there is
// replaced here.
func Code() postgres.Code {
	_, here, _, _ := runtime.Caller(0)
	code := postgres.Code{}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(here), "..", "*", "*.sql")) //nolint:errcheck // the pattern is good
	instead := overlay()
	for _, f := range files {
		dir, pkg := filepath.Dir(f), filepath.Base(filepath.Dir(f))
		if code[pkg] == nil {
			code[pkg] = os.DirFS(dir)
		}
		if text, ok := instead[f]; ok {
			code[pkg] = replaced{code[pkg], filepath.Base(f), text}
		}
	}
	return code
}

// EnvOverlay is the variable that names an overlay.
const EnvOverlay = "TEST_SQL_OVERLAY"

// overlay is the text of each file that is replaced; one that cannot be read is a
// mistake of who set it.
func overlay() map[string][]byte {
	name := os.Getenv(EnvOverlay)
	if name == "" {
		return nil
	}
	var doc struct{ Replace map[string]string }
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	out := map[string][]byte{}
	for file, other := range doc.Replace {
		if err == nil {
			out[file], err = os.ReadFile(other)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("pgtest: %s: %v", EnvOverlay, err))
	}
	return out
}

// replaced is a directory with another text for one of its files.
type replaced struct {
	fs.FS
	name string
	text []byte
}

// Open is fs.FS's.
func (r replaced) Open(name string) (fs.File, error) {
	if name == r.name {
		return fstest.MapFS{name: {Data: r.text}}.Open(name) //nolint:wrapcheck // it is there
	}
	return r.FS.Open(name) //nolint:wrapcheck // a file system's errors are its own
}

// Migrate brings pool's database to where a server wants it, again after
// whatever a test has done to nchat's tables.
func Migrate(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	if err := postgres.Migrate(t.Context(), pool.Config().ConnString(), slog.New(slog.DiscardHandler), Code()); err != nil {
		t.Fatal(err)
	}
}
