package presence

import (
	"bytes"
	"encoding/base64"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// position is where a member stands in a list: by the status its viewer sees, then
// by id. A cursor is one and so tells nothing that its holder has not seen.
type position struct {
	rank int
	id   uuid.UUID
}

// start is before every member.
var start = position{rank: -1}

func positionOf(v View) position { return position{v.Status.rank(), v.UserID} }

func (p position) before(o position) bool {
	if p.rank != o.rank {
		return p.rank < o.rank
	}
	return bytes.Compare(p.id[:], o.id[:]) < 0
}

func (p position) String() string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(p.rank)}, p.id[:]...))
}

func parsePosition(cursor *string) (position, error) {
	if cursor == nil {
		return start, nil
	}
	b, ok := decodeCursor(*cursor, 17)
	if !ok || b[0] > 3 {
		return position{}, badCursor()
	}
	return position{int(b[0]), uuid.UUID(b[1:])}, nil
}

// decodeCursor are the n bytes of a cursor that is written as ours are: base64 has
// other ways to write the same.
func decodeCursor(cursor string, n int) ([]byte, bool) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	return b, err == nil && len(b) == n && base64.RawURLEncoding.EncodeToString(b) == cursor
}

func badCursor() error { return fault.Field("after", "after is no cursor of this list") }

// MaxPage is the most a page may hold, and DefaultPage what it holds unasked.
const (
	MaxPage     = 1000
	DefaultPage = 100
)

// PageSize is first as asked, DefaultPage if it was not.
func PageSize(first *int) (int, error) {
	if first == nil {
		return DefaultPage, nil
	}
	if *first < 1 || *first > MaxPage {
		return 0, fault.Field("first", "first must be 1 to %d", MaxPage)
	}
	return *first, nil
}
