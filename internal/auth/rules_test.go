package auth

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rule is one option or rule of authentication with the test that proves it.
type rule struct {
	about string // an option of HASURA_GRAPHQL_JWT_SECRET, a type of key, or a way in
	text  string
	proof func(*testing.T)
}

// rules is all of them. What is not here is not promised.
func rules() []rule {
	return slices.Concat(configRules(), algorithmRules(), tokenRules(), claimRules(), mapRules(), headerRules(), jwksRules(), credentialRules(), hasuraRules(), initRules(), secretRules(), revokeRules())
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range rules() {
		if r.proof == nil {
			t.Errorf("%s: %q has no proof", r.about, r.text)
			continue
		}
		t.Run(r.about+"/"+r.text, func(t *testing.T) {
			t.Parallel()
			r.proof(t)
		})
	}
}

// Every option, type, way in and error text of the package has a rule, and no
// rule stands there twice.
func TestNothingIsWithoutARule(t *testing.T) {
	t.Parallel()
	seen, about := map[string]bool{}, map[string]bool{}
	for _, r := range rules() {
		if key := r.about + "/" + r.text; seen[key] || r.text == "" {
			t.Errorf("rule %q stands there twice, or says nothing", key)
		} else {
			seen[key] = true
		}
		about[r.about] = true
	}
	want := []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "Ed25519",
		string(ViaAdminSecret), string(ViaHasura), string(ViaJWT), string(ViaAnonymous), "cookie", "revocation", "secrecy", "socket", "user id", "tenant", "jwks"}
	for f := range reflect.TypeFor[rawConfig]().Fields() {
		want = append(want, f.Tag.Get("json"))
	}
	for _, name := range want {
		if !about[name] {
			t.Errorf("%s has no rule", name)
		}
	}
	for _, name := range knownKeys() {
		if !slices.Contains(want, name) {
			t.Errorf("the key %s is let in and not read", name)
		}
	}
	if n := reflect.TypeFor[rawConfig]().NumField(); n != len(knownKeys()) {
		t.Errorf("%d keys are read, %d let in", n, len(knownKeys()))
	}
}

// Every text that a client may see is expected by some test, word for word.
func TestEveryFaultIsExpected(t *testing.T) {
	t.Parallel()
	var code, tests strings.Builder
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || e.Name() == "rules_test.go" {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), "_test.go") {
			tests.Write(text)
		} else {
			code.Write(text)
		}
	}
	made := regexp.MustCompile("(?:fault\\.New\\(fault\\.\\w+, |badClaims\\(|jwtFault\\(|fault\\.Later\\([^\"]*|fault\\.Field\\(\"\\w+\", )([\"`])(.*?)[\"`][,)]")
	found := made.FindAllStringSubmatch(code.String(), -1)
	if len(found) < 20 {
		t.Fatalf("only %d faults found: the pattern is out of date", len(found))
	}
	for _, m := range found {
		for _, part := range regexp.MustCompile(`%[.\d]*[a-z]`).Split(m[2], -1) {
			if part = strings.TrimSpace(part); len(part) > 3 && !strings.Contains(tests.String(), part) {
				t.Errorf("no test expects %q", m[2])
			}
		}
	}
}
