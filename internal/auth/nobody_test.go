package auth

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestATokenThatIsNobodys is taken, and its reason logged: once an hour, and nothing of what it says.
func TestATokenThatIsNobodys(t *testing.T) {
	t.Parallel()
	claims := func(role, more string) string {
		return hs(`"https://hasura.io/jwt/claims":{"x-hasura-allowed-roles":["user","staff","guest","admin"],"x-hasura-default-role":"` + role + `"` + more + `}`)
	}
	const notUUID, somebody = `,"x-hasura-user-id":"auth0|5f7c8e"`, `,"x-hasura-user-id":"` + alice + `"`
	var log bytes.Buffer
	now := noon
	a := rig(t, "{"+hs256+"}", Options{WebhookSecret: "of-hasura", UnauthorizedRole: "guest", Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, step := range []struct {
		what, token string
		after       time.Duration
		why         string // "": nothing is said
	}{
		{"a user", claims("user", somebody), 0, ""},
		{"an admin", claims("admin", ""), 0, ""},
		{"a program", claims("staff", ""), 0, ""},
		{"the unauthorized role", claims("guest", notUUID), 0, ""},
		{"another kind of id", claims("user", notUUID), 0, "x-hasura-user-id is no uuid"},
		{"the same again", claims("user", notUUID), 59 * time.Minute, ""},
		{"another reason", claims("user", ""), 0, "there is no x-hasura-user-id"},
		{"another role", claims("staff", somebody), 0, "the role is none of USER_ROLES"},
		{"an hour later", claims("user", notUUID), time.Minute, "x-hasura-user-id is no uuid"},
	} {
		now = now.Add(step.after)
		log.Reset()
		accepted(t, a, bearer(step.token))
		if said := log.String(); step.why == "" && said != "" || !strings.Contains(said, step.why) || strings.Count(said, "\n") > 1 ||
			strings.Contains(said, "auth0") || strings.Contains(said, alice) || strings.Contains(said, "staff") {
			t.Errorf("%s: it says %q, want %q", step.what, said, step.why)
		}
	}
	// By way of Hasura the role counts that Hasura says, not the token's default.
	now = now.Add(2 * time.Hour)
	log.Reset()
	accepted(t, a, bearer(claims("staff", somebody), "x-nchat-webhook-secret", "of-hasura", "x-hasura-role", "user", "x-hasura-user-id", alice))
	if log.Len() > 0 {
		t.Errorf("of a user by way of Hasura: %s", &log)
	}
	accepted(t, a, bearer(claims("user", notUUID), "x-nchat-webhook-secret", "of-hasura", "x-hasura-role", "user", "x-hasura-user-id", "auth0|5f7c8e"))
	if !strings.Contains(log.String(), "is no uuid") {
		t.Error("by way of Hasura nothing is said")
	}
}
