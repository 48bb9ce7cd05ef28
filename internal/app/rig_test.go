package app

import (
	"bytes"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const (
	testKey   = `{"type":"HS256","key":"a-key-of-the-tests-of-app-and-of-nobody-else"}`
	testAdmin = "the-admin-secret-of-the-tests-of-app"
	testHooks = "the-webhook-secret-of-the-tests-of-app"
)

// written is a log that may be read while it is written.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// configured is a serve's configuration, on a database and with more variables.
func configured(t *testing.T, url string, env map[string]string) config.Config {
	t.Helper()
	given := map[string]string{"DATABASE_URL": url, "HASURA_GRAPHQL_JWT_SECRET": testKey, "HASURA_GRAPHQL_ADMIN_SECRET": testAdmin,
		"HASURA_WEBHOOK_SECRET": testHooks, "HOST": "127.0.0.1", "PORT": "0", "ADMIN_ADDR": "off", "DRAIN_TIMEOUT": "0s"}
	maps.Copy(given, env)
	c, err := config.Load(func(name string) string { return given[name] }, config.Serve)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are what a server is started with.
func options(t *testing.T, url string, env map[string]string) (Options, *written) {
	t.Helper()
	c := configured(t, url, env)
	j, err := auth.ParseJWTConfig(c.JWTSecret)
	if err != nil {
		t.Fatal(err)
	}
	log := &written{}
	return Options{Config: c, JWT: j, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// built are the parts of a server of which nothing runs yet, on the demo world.
func built(t *testing.T, env map[string]string, change ...func(*Options)) *parts {
	t.Helper()
	url := pgtest.NewURL(t)
	if _, err := demo.Load(t.Context(), pgtest.Pool(t, url)); err != nil {
		t.Fatal(err)
	}
	o, _ := options(t, url, env)
	for _, f := range change {
		f(&o)
	}
	p, err := build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func token(t *testing.T, c auth.Claims) string {
	t.Helper()
	j, err := auth.ParseJWTConfig(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if c.Role == "" {
		c.Role = "user"
	}
	if c.User == uuid.Nil {
		c.User = demo.Alice
	}
	text, err := auth.Mint(j, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
