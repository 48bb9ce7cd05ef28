package events

import (
	"context"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
)

// How much there is to read is state: it is told after the entry that changes it, up
// to unreadEvery later. A cursor knows up to where that is done, so that a socket cut
// in between loses none of it.

func (s *story) counts() feed.Counts { return feed.CountsOf(s.st) }

// goesOn notes what was not told when the socket before was cut, and where it begins.
func (s *story) goesOn(ctx context.Context) error {
	s.read = s.counts().Pos()
	if s.unread != nil {
		items, err := s.counts().Untold(ctx)
		if err != nil {
			return err
		}
		for _, it := range items {
			switch own := it.Kind == feed.Mark; {
			case own && it.Thread != uuid.Nil:
				s.threads.changed(it.Thread, it.Pos)
			case own || affects(it, s.v.User):
				s.unread.changed(it.Channel, it.Pos)
			}
		}
		if ofThreads(items, s.v.User) {
			list, err := s.o.Receipts.Threads.Followed(ctx, s.v) // in the turn of the beginning, which waits for no other
			if err != nil {
				return err
			}
			s.threads.know(list)
		}
		if err := s.threads.heard(ctx, items, s.v.User); err != nil {
			return err
		}
	}
	s.moveOn()
	return nil
}

// counted has cursors know up to where, of what was read up to a position, it is told
// how much there is to read.
func (s *story) counted(pos int64) {
	if s.unread != nil {
		s.counts().Told(s.upTo(pos))
	}
}

func (s *story) upTo(pos int64) int64 { return s.threads.upTo(s.unread.upTo(pos)) }

// count sends how much there is to read somewhere, with a cursor that knows it. done takes
// it off what is untold: no cursor that others make may know it before it is sent.
func (s *story) count(ctx context.Context, done func(), p Payload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	done()
	if s.seal != nil {
		s.here = s.seal(s.upTo(s.pos))
	}
	return push(ctx, s.out, Event{Cursor: s.here, Payload: p})
}
