package limit

import (
	"encoding/json"
	"fmt"
	"runtime"
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

// FuzzElements: an array's are what decoding finds.
func FuzzElements(f *testing.F) {
	for _, s := range []string{`[1,{"a":[2,"]"]},"x\"",null]`, ` [ ] `, `[[],[]]`, `{}`, `[1]2`, `null`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const most = 3
		var want []json.RawMessage
		good := json.Unmarshal([]byte(text), &want) == nil && want != nil
		got, ok := Elements([]byte(text), most)
		if ok != good || len(got) != min(len(want), most+1) {
			t.Fatalf("%q: %v, %d", text, ok, len(got))
		}
		for i := range got {
			if string(got[i]) != string(want[i]) {
				t.Errorf("%q: %s, not %s", text, got[i], want[i])
			}
		}
	})
}

// TestWhatVariablesTake: as many as may be take no more than is said of them, by a half,
// whatever they are; and what takes fifty times its bytes is refused undecoded. Not
// parallel: it counts the bytes that live.
func TestWhatVariablesTake(t *testing.T) { //nolint:paralleltest // see above
	const sent = 1 << 20
	most := MostValues(sent)
	var keys strings.Builder
	for i := range most - 2*objectCounts - 2 {
		fmt.Fprintf(&keys, `"%d":0,`, i)
	}
	for name, inner := range map[string]string{
		"objects":     strings.Repeat(`{"":0},`, most/(objectCounts+1)-2),
		"one in one":  strings.Repeat(`{"":`, most/objectCounts-2) + "0" + strings.Repeat("}", most/objectCounts-2) + ",",
		"names":       "{" + strings.TrimSuffix(keys.String(), ",") + "},",
		"numbers":     strings.Repeat("0,", most-objectCounts-2),
		"lists":       strings.Repeat("[0],", most/2-objectCounts),
		"ids":         strings.Repeat(`"00000000-0000-0000-0000-000000000000",`, sent/39),
		"punctuation": `"` + strings.Repeat(`{[,\"`, 10000) + `",`,
	} {
		raw := json.RawMessage(`{"x":[` + inner + `0]}`)
		if name == "names" {
			raw = json.RawMessage(`{"x":` + strings.TrimSuffix(inner, ",") + `}`)
		}
		takes, err := Takes(raw, most)
		before := live()
		m, ok := Variables(raw)
		took := live() - before
		if err != nil || !ok || took > takes*3/2 || takes > 3*sent {
			t.Errorf("%s: %v, %v, take %d, said to take %d", name, err, ok, took, takes)
		}
		runtime.KeepAlive(m)
	}
	for name, raw := range map[string]string{"objects": `{"x":[` + strings.Repeat(`{"":0},`, 149_000) + `0]}`, "numbers": `{"x":[` + strings.Repeat(`0,`, most) + `0]}`} {
		if _, err := Takes(json.RawMessage(raw), most); err == nil || !strings.Contains(err.Error(), "more than 32768 values") {
			t.Errorf("too many %s: %v", name, err)
		}
	}
	if n := MostValues(1024); n != fewest {
		t.Errorf("%d of a kilobyte", n)
	}
}

// live is how many bytes are in use.
func live() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) //nolint:gosec // it is no more than there are
}
