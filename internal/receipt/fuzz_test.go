package receipt

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// FuzzReceiptCursor: pages of who has a message are gone through by the cursors
// they end with, each receipt once, and by no other text.
func FuzzReceiptCursor(f *testing.F) {
	f.Add("", []byte{1, 2, 3}, 1)
	f.Add("{00000000-0000-4000-8000-000000000001}", []byte{}, 100)
	f.Add("urn:uuid:00000000-0000-4000-8000-000000000001", []byte{9, 9}, -1)
	f.Add("0000000000004000800000000000000A", []byte{9, 1, 8}, 2)
	f.Fuzz(func(t *testing.T, after string, users []byte, first int) {
		id := uuid.UUID{7}
		l := &Ledger{own: map[uuid.UUID]mine{id: {id: id, seq: 5}}, moves: map[uuid.UUID][]move{}}
		want := map[uuid.UUID]bool{}
		for _, u := range users {
			user := uuid.UUID{u, 1}
			want[user] = true
			l.moves[id] = append(l.moves[id], move{user: user, from: 4, to: 6})
		}
		page, more, _, err := l.Receipts(id, first, after)
		if bad := first < 1 || first > MaxReceipts; err != nil {
			at, wrong := uuid.Parse(after)
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Invalid || !bad && (after == "" || wrong == nil && at.String() == after) {
				t.Fatalf("%q: %v", after, err)
			}
			return
		} else if bad || len(page) > first || after != "" && uuid.MustParse(after).String() != after {
			t.Fatalf("%q, %d: %d receipts", after, first, len(page))
		}
		if after != "" {
			return
		}
		for {
			for _, r := range page {
				if !want[r.UserID] {
					t.Fatalf("%v is told twice, or was not there", r.UserID)
				}
				delete(want, r.UserID)
			}
			if !more {
				break
			}
			if page, more, _, err = l.Receipts(id, first, page[len(page)-1].Cursor()); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) > 0 {
			t.Fatalf("%d are left out", len(want))
		}
	})
}
