package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Limits of a sync. Newest is how many messages of a channel a fresh start brings.
const (
	DefaultFirst = 200
	MaxFirst     = 1000
	Newest       = 50
	MaxWait      = 25 * time.Second
	PageBytes    = 2 << 20 // of a page's messages, but for a single one that is larger

	pageEntries = 2000 // entries one page covers at most, and channels of a fresh start, however few messages they are of
)

// Query asks for a page. Cursor "": a fresh start, or by Since where that is given.
type Query struct {
	Cursor   string
	Since    *time.Time
	Channels []uuid.UUID // only of these; nil: all of the viewer's
	First    int         // messages; 0: DefaultFirst
	Wait     time.Duration
}

// MemberChange is somebody else's membership that began or ended, or its
// rights that changed (Member). MemberCount is how many members there were after
// it, as the log counted them; nil: the viewer may not read the channel.
type MemberChange struct {
	ChannelID   uuid.UUID
	UserID      uuid.UUID
	Kind        Kind
	MemberCount *int
}

// change is what an entry tells of a membership.
func (gs grants) change(e Entry) MemberChange {
	c := MemberChange{ChannelID: e.Channel, UserID: e.User, Kind: e.Kind}
	if gs[e.Channel].readable {
		n := int(e.Ref)
		c.MemberCount = &n
	}
	return c
}

// Page is what a viewer missed, or a part of it.
type Page struct {
	Cursor      string
	More        bool
	Reset       Reason // "" but where the page begins anew although a cursor was given
	Done, Total int    // messages of this page, and with those that remain
	Channels    []ChannelState
	Left        []uuid.UUID
	Members     []MemberChange
	Messages    []Body
	Deleted     []uuid.UUID
	Read        []uuid.UUID // channels whose read state may have changed
	Threads     []uuid.UUID // where others wrote, changed or deleted something
	OwnThreads  []uuid.UUID // in which the viewer read on, or which it follows or does not since
	Moves       []int64     // of others' marks over the viewer's messages
}

func (p Page) empty() bool {
	return p.Reset == "" && len(p.Channels)+len(p.Left)+len(p.Members)+len(p.Messages)+len(p.Deleted)+len(p.Read)+len(p.Threads)+len(p.OwnThreads)+len(p.Moves) == 0
}

// Sync answers a page, once there is something in it or the time to wait is
// over. Everything committed before the call is covered. Errors:
// validation-failed for a cursor that is not the viewer's, and for limits.
func (s *Service) Sync(ctx context.Context, v viewer.Viewer, q Query) (Page, error) {
	if err := q.check(v); err != nil {
		return Page{}, err
	}
	if err := s.ToRead(ctx); err != nil {
		return Page{}, err
	}
	p, err := s.page(ctx, v, q)
	if err != nil || !p.empty() || q.Wait == 0 || q.Cursor == "" {
		return p, err
	}
	return s.await(ctx, v, q, p) // nothing yet: to wait is to read on
}

func (q *Query) check(v viewer.Viewer) error {
	if err := v.Denied(); err != nil {
		return err
	}
	if q.First == 0 {
		q.First = DefaultFirst
	}
	switch {
	case q.First < 1 || q.First > MaxFirst:
		return fault.Field("first", "first must be 1 to %d", MaxFirst)
	case q.Wait < 0 || q.Wait > MaxWait:
		return fault.Field("waitMs", "waitMs must be 0 to %d", MaxWait.Milliseconds())
	case q.Cursor != "" && q.Since != nil:
		return fault.Field("since", "since is for a client without a cursor")
	}
	if q.Channels != nil {
		q.Channels = sortedIDs(q.Channels)
	}
	return nil
}

// await listens where the page ended, without holding a connection.
func (s *Service) await(ctx context.Context, v viewer.Viewer, q Query, p Page) (Page, error) {
	waiting, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	sub := s.tail.hub.Subscribe(topicOf(v.User))
	defer sub.Close()
	gs, err := loadGrants(ctx, s.o.Pool, v, q.Channels, false)
	if err != nil {
		return p, err
	}
	sub.Add(gs.topics()...)
	for {
		q.Cursor = p.Cursor
		if p, err = s.page(ctx, v, q); err != nil || !p.empty() {
			return p, err
		}
		if p.More && waiting.Err() == nil {
			continue
		} else if p.More {
			return p, ctx.Err() // the next sync goes on from there
		}
		resume := wait.Pause(ctx) // others may work meanwhile
		_, _, over := sub.Next(waiting)
		if err := resume(ctx); err != nil {
			return p, err
		}
		if over != nil {
			return p, ctx.Err() // the time is over: nothing new is an answer
		}
	}
}

// page reads one page in one snapshot.
func (s *Service) page(ctx context.Context, v viewer.Viewer, q Query) (p Page, err error) {
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.o.Pool, opts, func(tx pgx.Tx) error {
		b := &builder{s: s, db: tx, v: v, q: q, places: map[uuid.UUID]int{}}
		if p, err = b.build(ctx); err == nil && b.fits > 0 { // in the same snapshot the same messages come in the same order
			q.First = b.fits
			b = &builder{s: s, db: tx, v: v, q: q, places: map[uuid.UUID]int{}}
			p, err = b.build(ctx)
		}
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("reading a page: %w", err)
	}
	return p, nil
}
