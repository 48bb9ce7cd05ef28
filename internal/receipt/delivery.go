package receipt

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Deliveries is how far messages have come; those that are not the viewer's
// own, or stand where it may not read, are left out. Two statements for any
// number of messages.
func (s *Service) Deliveries(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]Delivery, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	own, moves, err := s.laid(ctx, v, ids)
	return count(own, moves), err
}

// laid reads the viewer's own messages and what it may know of moves over them.
func (s *Service) laid(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]mine, []move, error) {
	own, err := loadMine(ctx, s.o.Pool, v, ids)
	if err == nil && len(own) < len(distinct(ids)) { // some may not be numbered yet
		if err = s.o.Settle(ctx); err == nil {
			own, err = loadMine(ctx, s.o.Pool, v, ids)
		}
	}
	if err != nil || len(own) == 0 {
		return nil, nil, err
	}
	shares, err := s.shares(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	moves, err := loadMoves(ctx, s.o.Pool, v, shares, own)
	return own, moves, err
}

func (s *Service) shares(ctx context.Context, v viewer.Viewer) (bool, error) {
	if !s.o.Reciprocal {
		return true, nil
	}
	list, err := s.o.Privacy.Unshared(ctx, s.o.Pool, v.Tenant, []uuid.UUID{v.User})
	return len(list) == 0, err
}

// count lays moves over messages. Pure.
func count(own []mine, moves []move) []Delivery {
	out := make([]Delivery, len(own))
	byChannel := map[uuid.UUID][]int{} // of own, by number
	for i, m := range own {
		out[i] = Delivery{MessageID: m.id, ChannelID: m.channel, TotalRecipients: m.total}
		byChannel[m.channel] = append(byChannel[m.channel], i)
	}
	for _, list := range byChannel {
		slices.SortFunc(list, func(a, b int) int { return cmp.Compare(own[a].seq, own[b].seq) })
	}
	slices.SortFunc(moves, func(a, b move) int { return a.at.Compare(b.at) })
	had := map[uuid.UUID][]uint64{} // who has a message already, by user: a bit for each of own
	for _, mv := range moves {
		list := byChannel[mv.channel]
		first, _ := slices.BinarySearchFunc(list, mv.from+1, func(i int, seq int64) int { return cmp.Compare(own[i].seq, seq) })
		for _, i := range list[first:] {
			if own[i].seq > mv.to {
				break
			}
			if !mv.passes(own[i]) {
				continue
			}
			bits := had[mv.user]
			if bits == nil {
				bits = make([]uint64, (len(own)+63)/64)
				had[mv.user] = bits
			}
			out[i].note(mv, &bits[i/64], uint64(1)<<(i%64))
		}
	}
	return out
}

// note takes in that one recipient has the message. Moves come by time; those
// that read one message are one a user.
func (d *Delivery) note(mv move, had *uint64, bit uint64) {
	if *had&bit == 0 {
		*had |= bit
		d.DeliveredCount++
		if d.DeliveredAt == nil {
			at := mv.at.UTC().Truncate(time.Minute)
			d.DeliveredAt = &at
		}
	}
	if mv.read {
		d.ReadCount++
		if d.ReadAt == nil {
			at := mv.at.UTC()
			d.ReadAt = &at
		}
	}
}

// Delivery is how far one of the viewer's own messages has come. The counts are
// over those who let the viewer know; the total is fixed when the message is numbered.
type Delivery struct {
	MessageID       uuid.UUID
	ChannelID       uuid.UUID
	TotalRecipients int
	DeliveredCount  int
	ReadCount       int
	DeliveredAt     *time.Time // the first recipient's, to the minute
	ReadAt          *time.Time // the first reader's
}

// ID is the cache key: the message's id.
func (d Delivery) ID() string { return d.MessageID.String() }

// Status rises with the first recipient.
func (d Delivery) Status() Status {
	switch {
	case d.ReadCount > 0:
		return Read
	case d.DeliveredCount > 0:
		return Delivered
	}
	return Sent
}
