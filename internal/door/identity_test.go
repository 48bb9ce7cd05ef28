package door

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/door/double"
)

// TestOneSessionIsOneCaller: whatever headers a socket's upgrade and its
// connection_init bring, this server and Hasura take the caller for the same role
// and user, or one of them does not let it in. Hasura gets what the door sends.
func TestOneSessionIsOneCaller(t *testing.T) {
	t.Parallel()
	for _, bears := range []string{"", "X-Token", "X-Hasura-Token"} {
		t.Run("tokens in "+bears, func(t *testing.T) {
			t.Parallel()
			oneCaller(t, bears)
		})
	}
}

func oneCaller(t *testing.T, bears string) {
	config, names := `{"type":"HS256","key":"`+key+`"}`, []string{"Authorization"}
	if bears != "" {
		config, names = `{"type":"HS256","key":"`+key+`","header":{"type":"CustomHeader","name":"`+bears+`"}}`, []string{bears, "Authorization"}
	}
	j, err := auth.ParseJWTConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := uuid.New().String(), uuid.New().String()
	values := map[string][]string{
		"Authorization":          {"Bearer " + mint(t, alice, time.Hour), "Bearer " + mint(t, bob, time.Hour), "Bearer " + mint(t, alice, -time.Hour), "Bearer x", "Basic x", ""},
		"X-Hasura-Admin-Secret":  {admin, "wrong", ""},
		"X-Hasura-Access-Key":    {admin, "wrong"},
		"X-Hasura-Role":          {"user", "admin", "public", "me", ""},
		"x-hasura-user-id":       {alice, bob, "", "x"},
		"X-Hasura-Org":           {"1"},
		"x-nchat-webhook-secret": {"a-secret-of-hasura-and-this-server", "x"},
		"Connection":             {"Upgrade", "Upgrade, X-Hasura-Role", "Upgrade, Authorization", "x-hasura-admin-secret"},
		"X-Request-Id":           {"1"},
	}
	if bears != "" {
		values[bears] = []string{mint(t, alice, time.Hour), mint(t, bob, time.Hour), mint(t, alice, -time.Hour), "x", "Bearer " + mint(t, alice, time.Hour), ""}
	}
	names = append(names, "X-Hasura-Admin-Secret", "X-Hasura-Access-Key", "X-Hasura-Role", "x-hasura-user-id", "X-Hasura-Org", "x-nchat-webhook-secret", "Connection", "X-Request-Id")
	for _, anonymous := range []string{"public", ""} {
		a := auth.New(auth.Options{JWT: &j, AdminSecret: admin, WebhookSecret: "a-secret-of-hasura-and-this-server", UnauthorizedRole: anonymous})
		h := double.New(double.Options{Key: key, Admin: admin, Anonymous: anonymous, Bears: bears})
		t.Cleanup(h.Stop)
		agreed, refusedByBoth := map[string]int{}, 0
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		for range 10000 {
			upgrade, payload, inner := http.Header{}, map[string]any{}, map[string]any{}
			for _, name := range names {
				v := values[name][random.IntN(len(values[name]))]
				switch random.IntN(9) {
				case 0:
					upgrade.Set(name, v)
				case 4: // twice in one upgrade
					upgrade.Add(name, v)
					upgrade.Add(name, values[name][random.IntN(len(values[name]))])
				case 1:
					inner[name] = v
				case 2:
					payload[name] = v
				case 3:
					upgrade.Set(name, v)
					inner[name] = values[name][random.IntN(len(values[name]))]
				}
			}
			if random.IntN(3) > 0 {
				payload["headers"] = inner
			} else if random.IntN(2) == 0 {
				payload["Headers"] = inner // means nothing, here as there
			}
			headers, err := auth.InitHeaders(upgrade, payload)
			if err != nil {
				continue
			}
			id, err := a.Authenticate(context.Background(), headers)
			given, err2 := auth.InitHeaders(nil, payload)
			if err2 != nil {
				t.Fatal(err2)
			}
			admin := asAdmin(upgrade, given)
			vars, why := h.Session(forward(upgrade, admin, bears), payloadOf(given, admin, bears))
			if err != nil || why != "" {
				if err != nil && why != "" {
					refusedByBoth++
				}
				continue
			}
			user := ""
			if id.UserID != uuid.Nil {
				user = id.UserID.String()
			}
			theirs := vars["x-hasura-user-id"]
			if _, bad := uuid.Parse(theirs); bad != nil || id.Role != "user" && id.Role != "me" && !id.Admin {
				theirs = user // no user of anybody's, or a role that has none
			}
			if id.Via == auth.ViaAnonymous && vars["x-hasura-user-id"] != "" {
				t.Fatalf("seed %d: somebody without credentials is %s at Hasura\n%v\n%v", seed, vars["x-hasura-user-id"], upgrade, payload)
			}
			if id.Role != vars["x-hasura-role"] || user != theirs {
				t.Fatalf("seed %d: %s %s here, %v there\n%v\n%v", seed, id.Role, user, vars, upgrade, payload)
			}
			agreed[string(id.Via)]++
		}
		if agreed["jwt"] < 100 || agreed["admin-secret"] < 100 || anonymous != "" && agreed["anonymous"] < 100 || refusedByBoth < 100 {
			t.Errorf("hardly anything was compared: %v, %d refused by both", agreed, refusedByBoth)
		}
	}
}
