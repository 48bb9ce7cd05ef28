package receipt

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Deliveries is how far messages have come; those that are not the viewer's
// own, or stand where it may not read, are left out. Two statements for any
// number of messages, which read about as many moves as passed them.
func (s *Service) Deliveries(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]Delivery, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	own, shares, err := s.own(ctx, v, ids)
	if err != nil || len(own) == 0 {
		return []Delivery{}, err
	}
	out := make([]Delivery, len(own))
	for i, m := range own {
		out[i] = Delivery{MessageID: m.id, ChannelID: m.channel, TotalRecipients: m.total}
	}
	asked := divide(own)
	stretches, err := loadStretches(ctx, s.o.Pool, v, shares, asked)
	if err != nil {
		return nil, err
	}
	for _, st := range stretches {
		for _, i := range asked.places[st.part][st.low-1 : st.high] {
			out[i].note(st)
		}
	}
	return out, nil
}

// own reads the viewer's own messages, and whether it is told who has read them.
func (s *Service) own(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) (own []mine, shares bool, err error) {
	own, err = loadMine(ctx, s.o.Pool, v, ids)
	if err == nil && len(own) < len(distinct(ids)) { // some may not be numbered yet
		if err = s.o.toRead(ctx); err == nil {
			own, err = loadMine(ctx, s.o.Pool, v, ids)
		}
	}
	if err != nil || len(own) == 0 {
		return nil, false, err
	}
	shares, err = s.shares(ctx, v)
	return own, shares, err
}

func (s *Service) shares(ctx context.Context, v viewer.Viewer) (bool, error) {
	if !s.o.Reciprocal {
		return true, nil
	}
	list, err := s.o.Privacy.Unshared(ctx, s.o.Pool, v.Tenant, []uuid.UUID{v.User})
	return len(list) == 0, err
}

// note takes in that recipients have the message.
func (d *Delivery) note(st stretch) {
	switch st.what {
	case had:
		d.DeliveredCount += st.n
	case first:
		if at := st.at.UTC().Truncate(time.Minute); d.DeliveredAt == nil || at.Before(*d.DeliveredAt) {
			d.DeliveredAt = &at
		}
	case more:
		d.ReadCount += st.n
	case read:
		d.ReadCount += st.n
		if at := st.at.UTC(); d.ReadAt == nil || at.Before(*d.ReadAt) {
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
	// The first recipient's, to the minute, and the first reader's. After the log's
	// retention they are known to the month, as the last moment they can have been; after a
	// year as a year ago or less.
	DeliveredAt, ReadAt *time.Time
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
