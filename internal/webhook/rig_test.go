package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/webhook"
)

const shared = "the-secret-shared-with-hasura-in-these-tests"

// rig is the webhooks on a database of their own; without one, for what never
// gets that far.
type rig struct {
	t         *testing.T
	pool      *pgxpool.Pool
	mux       *http.ServeMux
	handler   *webhook.Handler
	committed atomic.Int64
	log       bytes.Buffer
}

func newRig(t *testing.T, pool *pgxpool.Pool, change ...func(*webhook.Options)) *rig {
	t.Helper()
	r := &rig{t: t, pool: pool, mux: http.NewServeMux()}
	log := slog.New(slog.NewTextHandler(&r.log, nil))
	o := webhook.Options{Pool: pool, Auth: auth.New(auth.Options{WebhookSecret: shared}), Log: log, BodyLimit: 2000,
		Committed: func() { r.committed.Add(1) },
		Admit: func(context.Context, auth.Identity, string, json.RawMessage) (func(), error) {
			return func() {}, nil
		},
		Messages: message.New(message.Options{Pool: pool, Content: 1000, Batch: 10, Log: log, Committed: func() {},
			Settle: func(ctx context.Context) error {
				_, err := pool.Exec(ctx, `select realtime.sequence(10000, false, true)`)
				return err
			}})}
	for _, f := range change {
		f(&o)
	}
	r.handler = webhook.New(o)
	r.handler.Mount(r.mux)
	return r
}

func world(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

// post sends as Hasura does, changed as a test wants it.
func (r *rig) post(path, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("X-Nchat-Webhook-Secret", shared)
	for _, f := range change {
		f(req)
	}
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, req)
	if kind := w.Header().Get("Content-Type"); kind != "application/json" || !json.Valid(w.Body.Bytes()) || w.Header().Get("Cache-Control") != "private, no-store" {
		r.t.Errorf("%s answers %s, kept %q: %q", path, kind, w.Header().Get("Cache-Control"), w.Body)
	}
	return w
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
}

func (r *rig) count(q string, args ...any) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), q, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
	return n
}

func call(name string, user uuid.UUID, role, input string) string {
	return fmt.Sprintf(`{"action":{"name":%q},"input":%s,"session_variables":{"x-hasura-role":%q,"x-hasura-user-id":%q}}`, name, input, role, user)
}

// event is a delivery of a change of one of nchat's tables.
func event(id, table, row string) string {
	return fmt.Sprintf(`{"id":%q,"trigger":{"name":"t"},"table":{"schema":"public","name":%q},"event":{"op":"UPDATE","data":{"old":%s,"new":%s}}}`, id, table, row, row)
}
