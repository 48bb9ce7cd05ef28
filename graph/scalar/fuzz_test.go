package scalar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/graph/scalar"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

// FuzzScalars: an id, of a room or of anybody, and a time are what they are written
// as again; what is none is the client's error.
func FuzzScalars(f *testing.F) {
	for _, s := range []string{"00000000-0000-4000-8000-00000000000A", "{00000000-0000-4000-8000-00000000000}", "urn:uuid:00000000-0000-4000-8000-000000000001", "000000000000-4000-8000-0000-00000001",
		"2026-01-31T12:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9999999-00:01", "2026-01-31T12:00:00,5Z", "2026-02-30T00:00:00Z", ""} {
		f.Add(s)
	}
	written := func(t *testing.T, m graphql.Marshaler) (s string) {
		var b bytes.Buffer
		m.MarshalGQL(&b)
		if err := json.Unmarshal(b.Bytes(), &s); err != nil {
			t.Fatalf("%q: %v", b.Bytes(), err)
		}
		return s
	}
	clients := func(t *testing.T, err error) {
		if x, ok := errors.AsType[*fault.Error](err); !ok || x.Code != fault.Invalid {
			t.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := scalar.UnmarshalUUID(text); err != nil {
			clients(t, err)
		} else if again := written(t, scalar.MarshalUUID(id)); again != strings.ToLower(text) {
			t.Fatalf("%q is taken for %s", text, again)
		}
		at, err := scalar.UnmarshalTime(text)
		if err != nil {
			clients(t, err)
			return
		}
		again, err := scalar.UnmarshalTime(written(t, scalar.MarshalTime(at)))
		if err != nil || !again.Equal(at) || at != at.Truncate(time.Microsecond) {
			t.Fatalf("%q is %v, and then %v, %v", text, at, again, err)
		}
	})
}
