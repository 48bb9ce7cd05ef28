package pgtest

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Code is what app.Code embeds, read from the source tree: this package, which
// every domain's tests use, may import none of them. A test of internal/app
// holds that both are the same.
func Code() postgres.Code {
	_, here, _, _ := runtime.Caller(0)
	code := postgres.Code{}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(here), "..", "*", "*.sql")) //nolint:errcheck // the pattern is good
	for _, f := range files {
		dir := filepath.Dir(f)
		code[filepath.Base(dir)] = os.DirFS(dir)
	}
	return code
}

// Migrate brings pool's database to where a server wants it, again after
// whatever a test has done to nchat's tables.
func Migrate(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	if err := postgres.Migrate(t.Context(), pool.Config().ConnString(), slog.New(slog.DiscardHandler), Code()); err != nil {
		t.Fatal(err)
	}
}
