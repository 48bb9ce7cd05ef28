package scalar_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/graph/scalar"
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
