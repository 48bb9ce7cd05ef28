package auth

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const revoked = "invalid-jwt: Could not verify JWT: JWTRevoked"

// issued is alice's token of that time, with more claims.
func issued(at time.Time, more ...string) string {
	return hs(append(more, session, fmt.Sprintf(`"iat":%.3f`, float64(at.UnixMilli())/1e3))...)
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func revokeRules() []rule {
	of := func(users map[revokedUser]time.Time, tokens ...revokedToken) *Revocations {
		r := NewRevocations(0)
		r.users = users
		for _, k := range tokens {
			r.tokens[k] = struct{}{}
		}
		return r
	}
	user := uuid.MustParse(alice)
	mark := map[revokedUser]time.Time{{"primary", user}: noon.Add(-time.Minute)}
	plain := "{" + hs256 + "}"
	return []rule{
		{"revocation", "a user's tokens issued up to the mark are refused, or that do not say when", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(mark)})
			refused(t, a, bearer(issued(noon.Add(-time.Hour))), revoked)
			refused(t, a, bearer(issued(noon.Add(-time.Minute))), revoked)
			accepted(t, a, bearer(issued(noon.Add(-time.Minute+time.Millisecond))))
			refused(t, a, bearer(hs(session)), revoked)
			refused(t, a, bearer(hs(session, `"iat":null`)), revoked)
			accepted(t, a, bearer(hs(strings.ReplaceAll(session, alice, bob))))
		}},
		{"revocation", "the role asked for does not matter", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(mark)})
			for _, role := range []string{"user", "guest", "admin"} {
				refused(t, a, bearer(issued(noon.Add(-time.Hour)), "x-hasura-role", role), revoked)
			}
		}},
		{"revocation", "is of one tenant", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(mark, revokedToken{"primary", "t1"})})
			acme := strings.Replace(session, `{"x-`, `{"x-hasura-source-account-id":"acme","x-`, 1)
			accepted(t, a, bearer(hs(acme, `"jti":"t1"`)))
		}},
		{"revocation", "of one token leaves the others", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(nil, revokedToken{"primary", "t1"})})
			refused(t, a, bearer(hs(session, `"jti":"t1"`)), revoked)
			accepted(t, a, bearer(hs(session, `"jti":"t2"`)))
			accepted(t, a, bearer(hs(session)))
		}},
		{"revocation", "holds for a token that Hasura passes on", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(mark), WebhookSecret: "s"})
			refused(t, a, bearer(issued(noon.Add(-time.Hour)), "x-nchat-webhook-secret", "s", "x-hasura-role", "user", "x-hasura-user-id", alice), revoked)
		}},
		{"revocation", "holds where Hasura keeps the token to itself, until the longest token has expired", func(t *testing.T) {
			for _, c := range []struct {
				after time.Duration
				said  string
			}{{-time.Minute, revoked}, {time.Hour - time.Minute - time.Second, revoked}, {time.Hour - time.Minute, ""}, {time.Hour, ""}} {
				r := of(mark)
				r.lifetime, r.now = time.Hour, func() time.Time { return noon.Add(c.after) }
				a := rig(t, plain, Options{Revocations: r, WebhookSecret: "s"})
				h := bearer("", "x-nchat-webhook-secret", "s", "x-hasura-role", "user", "x-hasura-user-id", alice)
				h.Del("Authorization")
				session := map[string]string{"x-hasura-role": "user", "x-hasura-user-id": alice}
				if _, err := a.Session(t.Context(), http.Header{}, session); said(err) != c.said {
					t.Errorf("an action %v after: %v", c.after, err)
				}
				if _, err := a.Authenticate(t.Context(), h); said(err) != c.said {
					t.Errorf("%v after: %v", c.after, err)
				}
				session["x-hasura-user-id"] = bob
				if _, err := a.Session(t.Context(), http.Header{}, session); err != nil {
					t.Errorf("another user: %v", err)
				}
			}
		}},
		{"revocation", "of a user lets a newer token in that Hasura passes on, to actions too", func(t *testing.T) {
			a := rig(t, plain, Options{Revocations: of(mark), WebhookSecret: "s"})
			accepted(t, a, bearer(issued(noon), "x-nchat-webhook-secret", "s", "x-hasura-role", "user", "x-hasura-user-id", alice))
			session := map[string]string{"x-hasura-role": "user", "x-hasura-user-id": alice}
			if id, err := a.Session(t.Context(), bearer(issued(noon)), session); err != nil || !id.Bearer || !id.IssuedAt.Equal(noon) {
				t.Error(id, err)
			}
			if _, err := a.Session(t.Context(), bearer(issued(noon.Add(-time.Hour))), session); said(err) != revoked {
				t.Error(err)
			}
			session["x-hasura-user-id"] = bob
			if _, err := a.Session(t.Context(), bearer(issued(noon)), session); said(err) != "access-denied: access denied" {
				t.Error("another user's token:", err)
			}
		}},
		{"revocation", "bars whoever is suspended, whenever its token was issued", func(t *testing.T) {
			r := of(nil)
			r.barred[revokedUser{"primary", user}] = struct{}{}
			a := rig(t, plain, Options{Revocations: r, WebhookSecret: "s"})
			refused(t, a, bearer(issued(noon)), revoked)
			refused(t, a, bearer(issued(noon), "x-nchat-webhook-secret", "s", "x-hasura-role", "user", "x-hasura-user-id", alice), revoked)
			accepted(t, a, bearer(hs(strings.ReplaceAll(session, alice, bob))))
		}},
		{"revocation", "is not for who holds the admin secret", func(t *testing.T) {
			r := of(mark)
			for _, via := range []Via{ViaAdminSecret, ViaAnonymous} {
				if r.Refused(Identity{Via: via, UserID: user, Tenant: "primary"}) {
					t.Errorf("refused %s", via)
				}
			}
			if !r.Refused(Identity{Via: ViaJWT, UserID: user, Tenant: "primary"}) {
				t.Error("let a token in")
			}
		}},
	}
}

func TestRevocationsAreStored(t *testing.T) { //nolint:tparallel // its parts are steps on one database
	t.Parallel()
	db := pgtest.New(t)
	s, r, user := Store{DB: db}, NewRevocations(0), uuid.MustParse(alice)
	load := func() {
		t.Helper()
		if err := s.Load(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	stamp := func() string { t.Helper(); return stamped(t, s) }
	revoke := func(tenant string, id *string) {
		t.Helper()
		if err := s.Revoke(t.Context(), tenant, user, id); err != nil {
			t.Fatal(err)
		}
	}
	old := Identity{Via: ViaJWT, UserID: user, Tenant: "primary", IssuedAt: time.Now().Add(-time.Minute), TokenID: "t1"}
	load()
	empty := stamp()
	if r.Refused(old) {
		t.Error("refused by nobody")
	}
	revoke("primary", new("t1"))
	if r.Refused(old) {
		t.Error("refused before it was read")
	}
	load()
	one := stamp()
	other := old
	other.TokenID = "t2"
	if !r.Refused(old) || r.Refused(other) || one == empty {
		t.Errorf("one token: %v %v %q", r.Refused(old), r.Refused(other), one)
	}
	revoke("primary", new("t1")) // again is no error
	revoke("acme", nil)
	load()
	if r.Refused(other) {
		t.Error("refused for another tenant")
	}
	revoke("primary", nil)
	load()
	fresh := other
	fresh.IssuedAt = time.Now().Add(time.Hour)
	if !r.Refused(other) || r.Refused(fresh) || stamp() == one {
		t.Error("a user's tokens")
	}
	first := r.users[revokedUser{"primary", user}]
	revoke("primary", nil)
	load()
	if again := r.users[revokedUser{"primary", user}]; !again.After(first) {
		t.Errorf("the mark went from %v to %v", first, again)
	}
	t.Run("the stamp knows what is committed late", func(t *testing.T) { lateStamps(t, db) })
}

// lateStamps: whatever Load would read anew has another stamp, in whichever order
// transactions end.
func lateStamps(t *testing.T, db *pgxpool.Pool) {
	s := Store{DB: db}
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := db.Exec(t.Context(), q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	stamp := func() string { t.Helper(); return stamped(t, s) }
	exec(`insert into realtime.revoked_users values ('primary', $1, now() - interval '1 hour')`, bob) // alice has one
	first, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Rollback(t.Context()) }()
	if err := (Store{DB: first}).Revoke(t.Context(), "primary", uuid.MustParse(alice), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), "primary", uuid.MustParse(bob), nil); err != nil {
		t.Fatal(err)
	}
	before := stamp()
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := stamp(); after == before {
		t.Errorf("a revocation that is committed late: %s as before", after)
	}
	for table, columns := range map[string]string{
		"revoked_users":  `tenant, user_id, not_before) values ('acme', gen_random_uuid()`,
		"revoked_tokens": `token_id, tenant, user_id, revoked_at) values (gen_random_uuid(), 'acme', gen_random_uuid()`,
		"barred_users":   `tenant, user_id, at) values ('acme', gen_random_uuid()`,
	} {
		add := `insert into realtime.` + table + ` (` + columns + `, now() - $1::interval)`
		for _, odd := range []string{"now()", "'infinity'", "'-infinity'"} { // an app may write any time
			exec(`delete from realtime.` + table + ` where tenant = 'acme'`)
			exec(add, time.Minute)
			exec(`insert into realtime.` + table + ` (` + columns + `, ` + odd + `)`)
			before := stamp()
			exec(`delete from realtime.` + table + ` where ctid = (select ctid from realtime.` + table + ` where tenant = 'acme' order by ctid limit 1)`)
			exec(add, 2*time.Minute)
			if after := stamp(); after == before {
				t.Errorf("%s, beside %s: another row in the place of one: %s as before", table, odd, after)
			}
		}
	}
}

// A token whose iat has fractions, issued before the mark in the same second,
// is one of those revoked.
func TestRevocationCountsWithinTheSecond(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	s, r, user := Store{DB: db}, NewRevocations(0), uuid.MustParse(alice)
	var before time.Time
	if err := db.QueryRow(t.Context(), "select clock_timestamp()").Scan(&before); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), "primary", user, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if !r.Refused(Identity{Via: ViaJWT, UserID: user, Tenant: "primary", IssuedAt: before}) {
		t.Error("a token from just before the revocation is let in")
	}
}

func TestRevokeRefusesWhatNamesNothing(t *testing.T) {
	t.Parallel()
	s := Store{} // its database is not reached
	for _, c := range []struct {
		user uuid.UUID
		id   *string
		want string
	}{
		{uuid.Nil, nil, "validation-failed: userId names nobody"},
		{uuid.MustParse(alice), new(""), "validation-failed: tokenId must be a text of 1 to 1024 bytes"},
		{uuid.MustParse(alice), new("a\x00"), "validation-failed: tokenId must be a text of 1 to 1024 bytes"},
		{uuid.MustParse(alice), new("\xff"), "validation-failed: tokenId must be a text of 1 to 1024 bytes"},
		{uuid.MustParse(alice), new(strings.Repeat("x", 1025)), "validation-failed: tokenId must be a text of 1 to 1024 bytes"},
	} {
		if err := s.Revoke(t.Context(), "primary", c.user, c.id); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestRevocationsOutliveAnOutage(t *testing.T) {
	t.Parallel()
	r, id := NewRevocations(0), Identity{Via: ViaJWT, Tenant: "primary", TokenID: "t1"}
	r.tokens[revokedToken{"primary", "t1"}] = struct{}{}
	pool := pgtest.New(t)
	pool.Close()
	s := Store{DB: pool}
	if err := s.Load(t.Context(), r); err == nil || !r.Refused(id) {
		t.Errorf("%v, refused %v", err, r.Refused(id))
	}
	if err := s.Revoke(t.Context(), "primary", uuid.MustParse(alice), nil); err == nil {
		t.Error("revoked without a database")
	}
	if _, err := s.Stamp(t.Context()); err == nil {
		t.Error("a stamp without a database")
	}
}

// stamped is a store's stamp.
func stamped(t *testing.T, s Store) string {
	t.Helper()
	v, err := s.Stamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}
