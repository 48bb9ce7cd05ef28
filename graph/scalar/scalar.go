// Package scalar reads and writes the contract's scalars, strictly: one spelling
// of each value and no other. What it refuses it names, shortened.
package scalar

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// MarshalUUID writes 8-4-4-4-12 lower-case digits.
func MarshalUUID(id uuid.UUID) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) { _, _ = io.WriteString(w, `"`+id.String()+`"`) })
}

// UnmarshalUUID takes 8-4-4-4-12 digits of either case, and neither braces,
// a URN prefix nor bare digits.
func UnmarshalUUID(v any) (uuid.UUID, error) {
	s, ok := v.(string)
	if ok && len(s) == 36 {
		if id, err := uuid.Parse(s); err == nil {
			return id, nil
		}
	}
	return uuid.Nil, fault.New(fault.Invalid, "invalid uuid %s: expected 8-4-4-4-12 hexadecimal digits", shown(v))
}

const (
	firstYear = 1
	lastYear  = 9999
)

// MarshalTime writes RFC 3339 in UTC, to the microsecond as Postgres keeps it;
// a time that it has no words for as the nearest it has.
func MarshalTime(t time.Time) graphql.Marshaler {
	if y := t.UTC().Year(); y < firstYear {
		t = time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
	} else if y > lastYear {
		t = time.Date(lastYear+1, 1, 1, 0, 0, 0, -1, time.UTC)
	}
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, strconv.Quote(t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)))
	})
}

// UnmarshalTime takes RFC 3339 with an offset, years 1 to 9999.
func UnmarshalTime(v any) (time.Time, error) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, badTime(v)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, badTime(v)
	}
	if y := t.UTC().Year(); y < firstYear || y > lastYear {
		return time.Time{}, fault.New(fault.Invalid, "invalid timestamptz %s: the year must be %d to %d", shown(v), firstYear, lastYear)
	}
	return t.UTC().Truncate(time.Microsecond), nil
}

func badTime(v any) error {
	return fault.New(fault.Invalid, "invalid timestamptz %s: expected RFC 3339 text such as 2026-01-31T12:00:00Z", shown(v))
}

// shown is a value as an error names it: its first 40 characters, quoted.
func shown(v any) string {
	switch x := v.(type) {
	case string:
		return fmt.Sprintf("%.40q", x)
	case nil:
		return "null"
	case []any:
		return "in a list"
	case map[string]any:
		return "in an object"
	}
	return fmt.Sprintf("%.40q", fmt.Sprint(v))
}
