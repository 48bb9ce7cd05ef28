package receipt

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// MaxReceipts is the longest page of a message's receipts.
const (
	MaxReceipts     = 1000
	DefaultReceipts = 100
)

// Ledger is who has which of some of the viewer's messages. It may be asked by
// many at once.
type Ledger struct {
	own   map[uuid.UUID]mine
	moves map[uuid.UUID][]move // by message, by time
}

// Ledger reads, for any number of messages, who has them; those that are not
// the viewer's own are left out. Errors: validation-failed where more than
// Options.Moves passed several of them.
func (s *Service) Ledger(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) (*Ledger, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	own, shares, err := s.own(ctx, v, ids)
	if err != nil {
		return nil, err
	}
	asked := divide(own)
	most := s.o.Moves
	if len(own) == 1 { // which cannot be asked for in parts; each member's moves pass it once or twice
		most = math.MaxInt32
	}
	moves, err := loadMoves(ctx, s.o.Pool, v, shares, asked, most)
	if err != nil {
		return nil, err
	}
	l := &Ledger{map[uuid.UUID]mine{}, map[uuid.UUID][]move{}}
	for part, places := range asked.places {
		for _, i := range places {
			l.own[own[i].id], l.moves[own[i].id] = own[i], moves[part]
		}
	}
	return l, nil
}

// Receipts is a page of who has a message, by user id, and how many have it.
// Errors: validation-failed for a page too long and for a cursor that is none.
func (l *Ledger) Receipts(message uuid.UUID, first int, after string) (page []Receipt, more bool, total int, err error) {
	if first < 1 || first > MaxReceipts {
		return nil, false, 0, fault.Field("first", "first must be 1 to %d", MaxReceipts)
	}
	at := uuid.Nil
	if after != "" {
		if at, err = uuid.Parse(after); err != nil || at.String() != after {
			return nil, false, 0, fault.Field("after", "after is not a cursor of receipts")
		}
	}
	m, ok := l.own[message]
	if !ok {
		return nil, false, 0, nil
	}
	all := receipts(m, l.moves[m.id])
	total = len(all)
	from, found := slices.BinarySearchFunc(all, at, func(r Receipt, id uuid.UUID) int { return slices.Compare(r.UserID[:], id[:]) })
	if found {
		from++
	}
	all = all[from:]
	return all[:min(first, len(all))], len(all) > first, total, nil
}

// receipts lays moves, which come by time, over one message, by user. Pure.
func receipts(m mine, moves []move) []Receipt {
	by := map[uuid.UUID]*Receipt{}
	for _, mv := range moves {
		if m.seq <= mv.from || m.seq > mv.to {
			continue
		}
		r, ok := by[mv.user]
		if !ok {
			at := mv.at.UTC().Truncate(time.Minute)
			r = &Receipt{UserID: mv.user, MessageID: m.id, DeliveredAt: &at}
			by[mv.user] = r
		}
		if mv.read && r.ReadAt == nil {
			at := mv.at.UTC()
			r.ReadAt = &at
		}
	}
	out := make([]Receipt, 0, len(by))
	for _, r := range by {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Receipt) int { return slices.Compare(a.UserID[:], b.UserID[:]) })
	return out
}

// Receipt is one recipient's.
type Receipt struct {
	UserID      uuid.UUID
	MessageID   uuid.UUID
	DeliveredAt *time.Time // to the minute
	ReadAt      *time.Time
}

// Cursor is where a page ends after this receipt.
func (r Receipt) Cursor() string { return r.UserID.String() }
