package feed

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// notOurs fails unless an error is the client's, of this field.
func notOurs(t *testing.T, cursor string, err error) {
	t.Helper()
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Invalid {
		t.Fatalf("%q: %v", cursor, err)
	}
}

// FuzzCursor: whatever stands in a cursor comes out of it again, for its reader
// alone; no other text is one, also where it reads as the same bytes; and one of a
// sync is none of a channel's messages, and the other way round.
func FuzzCursor(f *testing.F) {
	s := &sealer{[]byte("a secret of this test")}
	v, q := viewer.Of("primary", uuid.UUID{1}), HistoryQuery{Channel: uuid.UUID{2}}
	k, err := s.keyring(v, nil)
	if err != nil {
		f.Fatal(err)
	}
	raw := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	for _, n := range []int{cursorBytes, spotBytes} {
		length := base64.RawURLEncoding.EncodedLen(n)
		for _, text := range []string{raw(n), strings.Repeat("\n", length), "Ag" + strings.Repeat("\r", length-2), raw(n)[:length-1] + "_"} {
			f.Add(text, []byte{1, 2, 3}, int64(5), int64(-7), byte(1))
		}
	}
	f.Add("", []byte{}, int64(0), int64(0), byte(0))
	other, err := s.keyring(viewer.Of("primary", uuid.UUID{9}), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(other.seal(place{}), []byte("sixteen bytes, or"), int64(1)<<62, int64(-1)<<63, byte(255))
	f.Fuzz(func(t *testing.T, text string, ids []byte, pos, seq int64, small byte) {
		p := place{pos: pos, mark: seq ^ pos, mode: mode(small), seq: seq, left: small}
		copy(p.epoch[:], ids)
		copy(p.channel[:], ids)
		cursor := k.seal(p)
		if got, err := k.open(cursor); err != nil || got != p {
			t.Fatalf("%+v is opened as %+v, %v", p, got, err)
		}
		at, err := s.spot(v, q, seq)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.openSpot(v, HistoryQuery{Channel: q.Channel, After: at}); err != nil || got != seq {
			t.Fatalf("%d is opened as %d, %v", seq, got, err)
		}
		other := append([]byte(cursor), text...)
		if i := int(small) % len(cursor); len(text) > 0 { // a part of a good one is another text
			other = []byte(cursor[:i] + text + cursor[min(len(cursor), i+len(text)):])
		}
		for _, bad := range []string{text, at, string(other)} {
			if bad == cursor {
				continue
			}
			_, err := k.open(bad)
			notOurs(t, bad, err)
		}
		for _, bad := range []string{text, cursor, at[:len(at)-1] + "!", at + text + "A"} {
			if bad == "" {
				continue // none
			}
			_, err := s.openSpot(v, HistoryQuery{Channel: q.Channel, Before: bad})
			notOurs(t, bad, err)
		}
		_, err = s.openSpot(v, HistoryQuery{Channel: q.Channel, Thread: uuid.UUID{3}, Before: at})
		notOurs(t, at, err)
	})
}
