package presence

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// FuzzPageCursor: a cursor of a list of people is read as what it was written of,
// in the one way that it is written.
func FuzzPageCursor(f *testing.F) {
	f.Add(position{2, uuid.UUID{1}}.String(), []byte{1}, byte(3))
	f.Add(position{2, uuid.UUID{1}}.String()+"\n", []byte{}, byte(0))
	f.Add("AAAAAAAAAAAAAAAAAAAAAB", []byte("sixteen"), byte(1)) // the bits that no byte has
	f.Add("", []byte{}, byte(9))
	f.Fuzz(func(t *testing.T, text string, id []byte, rank byte) {
		var p position
		p.rank = int(rank % 4)
		copy(p.id[:], id)
		written, contact := p.String(), Contact{UserID: p.id}.Cursor()
		if got, err := parsePosition(&written); err != nil || got != p {
			t.Fatalf("%+v is read as %+v, %v", p, got, err)
		}
		if got, err := parseContact(&contact); err != nil || got != p.id {
			t.Fatalf("%v is read as %v, %v", p.id, got, err)
		}
		read, err := parsePosition(&text)
		sameOrRefused(t, text, read.String(), err)
		user, err := parseContact(&text)
		sameOrRefused(t, text, Contact{UserID: user}.Cursor(), err)
	})
}

func sameOrRefused(t *testing.T, text, again string, err error) {
	t.Helper()
	switch f, ok := errors.AsType[*fault.Error](err); {
	case err == nil && again != text:
		t.Fatalf("%q is taken for %q", text, again)
	case err != nil && (!ok || f.Code != fault.Invalid):
		t.Fatalf("%q: %v", text, err)
	}
}
