package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(env(), Dev)
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 3101 || c.IdleAfter != 5*time.Minute || c.HiddenAfter != 150*time.Second || c.OfflineGrace != 5*time.Second ||
		c.Limits.OperationsPerSocket != 64 || c.Limits.IDs != 1000 || c.LogFormat != "text" || len(c.UserRoles) != 2 {
		t.Fatalf("%+v", c)
	}
}

func TestServeNeedsItsSecretsAndDatabase(t *testing.T) {
	t.Parallel()
	_, err := Load(env(), Serve)
	for _, name := range []string{"HASURA_GRAPHQL_JWT_SECRET", "DATABASE_URL"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not asked for: %v", name, err)
		}
	}
	if _, err := Load(env("DATABASE_URL", "postgres:///x", "HASURA_GRAPHQL_JWT_SECRET", "{}"), Serve); err != nil {
		t.Error(err)
	}
}

func TestEveryWrongValueIsNamedAtOnceAndNotRepeated(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-hunter"
	wrong := map[string]string{
		"PORT": "99999", "ADMIN_ADDR": "nowhere", "ALLOWED_ORIGINS": "example.com", "TRUSTED_PROXIES": "10.0.0.0/99",
		"IDLE_AFTER": "5", "HIDDEN_AFTER": "-1s", "OFFLINE_GRACE": "2h", "RECIPROCITY": "some", "BUS_URL": "nats://x",
		"HASURA_UPSTREAM_URL": "hasura:8080", "FRONT_DOOR_DIRECT": "yes", "RETENTION": "1s", "EDIT_POLICY": "best",
		"LEGACY_READ_COLUMNS": "1", "LEGACY_PRESENCE": "true", "PUSH_WEBHOOK_URL": "ftp://x", "LOG_LEVEL": "loud", "LOG_FORMAT": "xml",
		"HASURA_WEBHOOK_SECRET": secret, "MAX_IDS": "0", "WRITE_TIMEOUT": "0s", "MAX_STATUS_CHARS": "256",
	}
	_, err := Load(func(n string) string { return wrong[n] }, Dev)
	if err == nil {
		t.Fatal("taken")
	}
	for name := range wrong {
		if !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%s is not named", name)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Error("the error repeats a secret")
	}
}

func TestEveryRowIsReadAndDescribed(t *testing.T) {
	t.Parallel()
	read := map[string]bool{}
	if _, err := Load(func(n string) string { read[n] = true; return "" }, Dev); err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, r := range Table() {
		if rows[r.Name] || r.Meaning == "" {
			t.Errorf("%s is listed twice or without a meaning", r.Name)
		}
		rows[r.Name] = true
	}
	if len(rows) != len(read) {
		t.Errorf("%d rows, %d variables read", len(rows), len(read))
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const secret = "do-not-print-me-please"
	c, err := Load(env("HASURA_GRAPHQL_ADMIN_SECRET", secret, "HASURA_WEBHOOK_SECRET", secret, "HASURA_GRAPHQL_JWT_SECRET", secret,
		"DATABASE_URL", "postgres://u:"+secret+"@h/d"), Serve)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %s", c, c); strings.Contains(s, secret) {
		t.Error(s)
	}
}
