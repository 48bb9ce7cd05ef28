package door

import (
	"encoding/json"
	"testing"
)

// TestFrames: a frame's parts, whatever their order; and what is none.
func TestFrames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]frame{
		`{"type":"ka"}`: {kind: "ka"},
		`{"payload":{"data":{"a":"}\"]","b":[1,{"c":null}]}},"id":"7","type":"data"}`:   {"data", "7", json.RawMessage(`{"data":{"a":"}\"]","b":[1,{"c":null}]}}`)},
		" {\n\t\"type\" : \"next\" , \"id\" : \"\\u0031\" , \"payload\" : [ 1 , 2 ] } ": {"next", "1", json.RawMessage(`[ 1 , 2 ]`)},
		`{"type":"error","id":"1","payload":"text","more":[{"type":"x"}],"n":-1.5e3}`:   {"error", "1", json.RawMessage(`"text"`)},
		`{"type":"complete","id":"1","payload":null}`:                                   {"complete", "1", nil},
		`{"id":true,"type":"next","payload":12}`:                                        {"next", "", json.RawMessage(`12`)},
	} {
		got, err := scan([]byte(text))
		if err != nil || got.kind != want.kind || got.id != want.id || string(got.payload) != string(want.payload) {
			t.Errorf("%s: %q %q %q %v", text, got.kind, got.id, got.payload, err)
		}
	}
	for _, text := range []string{``, ` `, `[]`, `"x"`, `{}`, `{"id":"1"}`, `{"type":1}`, `{"type":"next"`, `{"type":"next"}}`, `{"type":"next","payload":{"a":"` + "\xff" + `"}}`, `null`} {
		if got, err := scan([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestErrorsHaveMessages: whatever Hasura says an error is, a client of the newer
// protocol gets a list of which each has a message; one that is right is untouched.
func TestErrorsHaveMessages(t *testing.T) {
	t.Parallel()
	const some = "the upstream ended this operation with an error"
	for payload, want := range map[string]string{
		`[ {"message":"x","more":1e400} ]`: `[ {"message":"x","more":1e400} ]`,
		`{"message":"x"}`:                  `[{"message":"x"}]`,
		`{"errors":[{"message":"x"}]}`:     `[{"message":"x"}]`,
		`"x"`:                              `[{"message":"x"}]`,
		`{"path":"$","error":"an operation already exists","code":"start-failed"}`: `[{"extensions":{"code":"start-failed"},"message":"an operation already exists"}]`,
		`[{"error":"y"},{"message":"x"}]`:                                          `[{"message":"y"},{"message":"x"}]`,
		`[]`:                                                                       `[{"message":"` + some + `"}]`,
		`[12]`:                                                                     `[{"message":"` + some + `"}]`,
		`{"errors":[]}`:                                                            `[{"message":"` + some + `"}]`,
		`{"message":7}`:                                                            `[{"message":"` + some + `"}]`,
		`{"errors":"x"}`:                                                           `[{"message":"` + some + `"}]`,
		`7`:                                                                        `[{"message":"` + some + `"}]`,
	} {
		if got := string(errorsOf([]byte(payload), false)); got != want {
			t.Errorf("%s: %s, want %s", payload, got, want)
		}
	}
	if got := string(errorsOf(nil, false)); got != `[{"message":"`+some+`"}]` {
		t.Error(got)
	}
}

// FuzzFrame: what encoding/json reads of a frame is what is found in it.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(`{"type":"next","id":"1","payload":{"data":{"x":"\\\""}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := scan(data)
		if err != nil {
			return
		}
		var raw map[string]json.RawMessage
		if json.Unmarshal(data, &raw) != nil {
			t.Fatalf("%q was taken", data)
		}
		var kind string
		if json.Unmarshal(raw["type"], &kind) == nil && kind != got.kind && raw["type"][0] == '"' {
			t.Fatalf("%q: %q, want %q", data, got.kind, kind)
		}
		if got.payload != nil && !json.Valid(got.payload) {
			t.Fatalf("%q: payload %q", data, got.payload)
		}
	})
}
