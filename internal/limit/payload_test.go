package limit

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMembers: whatever is found of a text is what decoding all of it finds.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[{"a":2},"]"],"a":"x\"\\"}`, ` { "\u0061" : -1.5e3 , "b" : null } `, `{}`, `[]`, `null`, `"{"`, `{"a":{}}{}`, ``, "\t", `{"a":tru}`, `{"aa":0,"":0,"A":0}`, `{"a":true}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want map[string]json.RawMessage
		good := json.Unmarshal([]byte(text), &want) == nil && want != nil
		got, ok := Members([]byte(text), "a", "b")
		if ok != good {
			t.Fatalf("%q: %v", text, ok)
		}
		for i, name := range []string{"a", "b"} {
			if x := want[name]; ok && utf8.ValidString(text) && (string(got[i]) != string(x) && string(x) != "null" || cap(got[i]) != len(got[i])) {
				t.Errorf("%q: %s is %s, not %s", text, name, got[i], x)
			}
		}
	})
}

// TestExtensionsAreNotKept: nothing of them but what a persisted query is found by, and
// nothing that is no such thing.
func TestExtensionsAreNotKept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("f", 1<<20)
	for raw, want := range map[string]string{
		"":                             `null`,
		`{}`:                           `null`,
		`{"x":[{"":0}]}`:               `null`,
		`{"persistedQuery":null}`:      `null`,
		`{"persistedQuery":7}`:         `{"persistedQuery":{}}`,
		`{"persistedQuery":[{"":0}]}`:  `{"persistedQuery":{}}`,
		`{"persistedQuery":{"x":[0]}}`: `{"persistedQuery":{}}`,
		`{"PersistedQuery":{}}`:        `null`,
		`{"x":0,"persistedQuery":{"version":1,"sha256Hash":"ab","x":[{"":0}]}}`:                           `{"persistedQuery":{"sha256Hash":"ab","version":1}}`,
		`{"persistedQuery":{"version":1.0,"sha256Hash":"\u0061` + strings.Repeat("b", 63) + `"}}`:         `{"persistedQuery":{"sha256Hash":"a` + strings.Repeat("b", 63) + `","version":1}}`,
		`{"persistedQuery":{"version":"1","sha256Hash":"` + long + `"}}`:                                  `{"persistedQuery":{}}`,
		`{"persistedQuery":{"version":[1],"sha256Hash":{"":0}}}`:                                          `{"persistedQuery":{}}`,
		`{"persistedQuery":{"version":1` + strings.Repeat("0", 1000) + `,"sha256Hash":null}}`:             `{"persistedQuery":{}}`,
		`{"persistedQuery":{"version":2},"persistedQuery":{"version":1,"sha256Hash":"x","version":null}}`: `{"persistedQuery":{"sha256Hash":"x"}}`,
	} {
		m, ok := Extensions(set(json.RawMessage(raw)[:len(raw):len(raw)]))
		if raw == "" {
			m, ok = Extensions(nil)
		}
		if got, err := json.Marshal(m); !ok || err != nil || string(got) != want {
			t.Errorf("%.100s: %s, %v, %v", raw, got, ok, err)
		}
	}
	for _, raw := range []string{`[]`, `0`, `"x"`, `false`, `{`} {
		if _, ok := Extensions(json.RawMessage(raw)); ok {
			t.Errorf("%s is taken", raw)
		}
	}
}
