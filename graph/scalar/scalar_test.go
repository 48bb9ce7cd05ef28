package scalar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/graph/scalar"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

func TestUUID(t *testing.T) {
	t.Parallel()
	const id = "00000000-0000-4000-8000-00000000000a"
	for _, bad := range []any{
		"", "x", 7, nil, true, []any{id},
		"00000000000040008000000000000001", "{" + id + "}", "urn:uuid:" + id, id + " ", "0000000000000-4000-8000-00000000000a",
	} {
		if got, err := scalar.UnmarshalUUID(bad); err == nil {
			t.Errorf("%v was taken as %v", bad, got)
		}
	}
	got, err := scalar.UnmarshalUUID("00000000-0000-4000-8000-00000000000A")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	scalar.MarshalUUID(got).MarshalGQL(&b)
	if b.String() != `"`+id+`"` {
		t.Errorf("written as %s", b.String())
	}
}

// What is refused is named, as much of it as helps and no more.
func TestRefusalsNameTheValue(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 100)
	for _, c := range []struct {
		v    any
		want string
	}{
		{"nobody", `"nobody"`}, {"", `""`}, {"a\x00\n\u202e\xff", `"a\x00\n\u202e\xff"`}, {long, `"` + strings.Repeat("é", 40) + `":`}, {7, `"7"`},
		{json.Number("1e400"), `"1e400"`}, {true, `"true"`}, {nil, "null"}, {[]any{"a"}, "in a list"}, {map[string]any{"a": long}, "in an object"},
	} {
		_, noID := scalar.UnmarshalUUID(c.v)
		_, noTime := scalar.UnmarshalTime(c.v)
		for kind, err := range map[string]error{"uuid": noID, "timestamptz": noTime} {
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Code != fault.Invalid || !strings.HasPrefix(f.Message, "invalid "+kind+" "+c.want) {
				t.Errorf("%q: %v", c.v, err)
			}
		}
	}
	if _, err := scalar.UnmarshalTime("0000-01-01T00:00:00Z"); !strings.Contains(err.Error(), `"0000-01-01T00:00:00Z": the year`) {
		t.Error(err)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for _, bad := range []any{
		"", "now", 1700000000, nil, "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31 12:00:00Z",
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z", "infinity",
	} {
		if got, err := scalar.UnmarshalTime(bad); err == nil {
			t.Errorf("%v was taken as %v", bad, got)
		}
	}
	got, err := scalar.UnmarshalTime("2026-01-31T12:00:00.123456789+02:00")
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 31, 10, 0, 0, 123456000, time.UTC); !got.Equal(want) {
		t.Errorf("read as %v, want %v", got, want)
	}
	var b bytes.Buffer
	scalar.MarshalTime(got).MarshalGQL(&b)
	if b.String() != `"2026-01-31T10:00:00.123456Z"` {
		t.Errorf("written as %s", b.String())
	}
}
