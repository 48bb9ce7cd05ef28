package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Postgres knows times that nobody else can write: infinity, and years of five
// digits and before Christ. An app may have them in its rows, so a connection
// of ours reads them as the nearest of these two, and never fails over one.
var (
	Earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	Latest   = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)
)

// Clamp is the nearest time that RFC 3339 can write; clamped: it is another one.
func Clamp(t time.Time) (at time.Time, clamped bool) {
	switch {
	case t.Before(Earliest):
		return Earliest, true
	case t.After(Latest):
		return Latest, true
	}
	return t, false
}

// instants reads timestamptz.
type instants struct {
	pgtype.TimestamptzCodec
	odd func() // told of each that was clamped; may be nil
}

// PlanScan is pgx's.
func (c *instants) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*time.Time); !ok {
		return c.TimestamptzCodec.PlanScan(m, oid, format, target)
	}
	return instantPlan{c.TimestamptzCodec.PlanScan(m, oid, format, &pgtype.Timestamptz{}), format, c.odd}
}

type instantPlan struct {
	plan   pgtype.ScanPlan
	format int16
	odd    func()
}

// Scan is pgx's.
func (p instantPlan) Scan(src []byte, target any) error {
	var ts pgtype.Timestamptz
	if err := p.plan.Scan(src, &ts); err != nil {
		if year := bytes.IndexByte(src, '-'); p.format != pgtype.TextFormatCode || year <= len("9999") {
			return fmt.Errorf("reading a time: %w", err)
		}
		ts = pgtype.Timestamptz{Valid: true, InfinityModifier: pgtype.Infinity} // pgx reads years of four digits in text
	}
	if !ts.Valid {
		return fmt.Errorf("cannot scan NULL into %T", target)
	}
	at, clamped := Clamp(ts.Time)
	switch ts.InfinityModifier {
	case pgtype.Infinity:
		at, clamped = Latest, true
	case pgtype.NegativeInfinity:
		at, clamped = Earliest, true
	case pgtype.Finite:
	}
	if clamped && p.odd != nil {
		p.odd()
	}
	*target.(*time.Time) = at //nolint:forcetypeassert // PlanScan has looked
	return nil
}

// readInstants makes a connection read times as said above.
func readInstants(c *pgx.Conn, odd func()) {
	one := &pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &instants{odd: odd}}
	c.TypeMap().RegisterType(one)
	c.TypeMap().RegisterType(&pgtype.Type{Name: "_timestamptz", OID: pgtype.TimestamptzArrayOID, Codec: &pgtype.ArrayCodec{ElementType: one}})
}

// Instant is a timestamptz within a jsonb, read as others are.
type Instant struct{ time.Time }

// UnmarshalJSON takes what Postgres writes.
func (i *Instant) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("reading a time: %w", err)
	}
	switch {
	case text == "-infinity", strings.HasSuffix(text, " BC"):
		i.Time = Earliest
		return nil
	case text == "infinity", strings.IndexByte(text, '-') > len("9999"):
		i.Time = Latest
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("reading a time: %w", err)
	}
	i.Time, _ = Clamp(t)
	return nil
}

// Ptr is the time, nil where there is none.
func (i *Instant) Ptr() *time.Time {
	if i == nil {
		return nil
	}
	return &i.Time
}
