package feed

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// A spot is a cursor of a channel's messages: a number there. It holds good as
// long as the channel, whatever becomes of the log.
const (
	spotVersion = 3 // never one of place's: the two are sealed under the same key
	spotBytes   = 1 + nonceBytes + 8 + 16
)

// boundSpot is what a spot holds good for.
func boundSpot(q HistoryQuery) []byte {
	sum := sha256.New()
	sum.Write([]byte("messages/"))
	sum.Write(q.Channel[:])
	sum.Write(q.Thread[:])
	return sum.Sum(nil)
}

func (s *sealer) spot(v viewer.Viewer, q HistoryQuery, seq int64) (string, error) {
	a, err := s.aead(v)
	if err != nil {
		return "", err
	}
	b := make([]byte, 1+nonceBytes, spotBytes)
	b[0] = spotVersion
	_, _ = rand.Read(b[1:])                                  // never fails
	plain := binary.BigEndian.AppendUint64(nil, uint64(seq)) //nolint:gosec // bits, not a number
	return base64.RawURLEncoding.EncodeToString(a.Seal(b, b[1:1+nonceBytes], plain, boundSpot(q))), nil
}

// openSpot reads the cursor of a query; the end of the channel without one. What was
// not sealed for this reader, channel and thread is validation-failed, whatever is
// wrong with it.
func (s *sealer) openSpot(v viewer.Viewer, q HistoryQuery) (int64, error) {
	field, cursor := "before", q.Before
	if q.After != "" {
		field, cursor = "after", q.After
	}
	if cursor == "" {
		return math.MaxInt64, nil
	}
	wrong := fault.Field(field, "%s is not a cursor of this channel's messages for this user", field)
	b, ok := sealed(cursor, spotVersion, spotBytes)
	if !ok {
		return 0, wrong
	}
	a, err := s.aead(v)
	if err != nil {
		return 0, err
	}
	plain, err := a.Open(nil, b[1:1+nonceBytes], b[1+nonceBytes:], boundSpot(q))
	if err != nil {
		return 0, wrong
	}
	return int64(binary.BigEndian.Uint64(plain)), nil //nolint:gosec // bits, not a number
}
