package typing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const readTimeout = 5 * time.Second

// Gate decides whose typing one viewer may see. Presence has them. Its methods are
// for one goroutine at a time, but for Woken.
type Gate interface {
	// May is whose typing the viewer may see, with until when what each typed is not
	// the viewer's to know of; zero: all of it is.
	May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]time.Time, error)
	// Peek is May where that needs nobody to wait; ok false: May is to be asked.
	Peek(users []uuid.UUID) (may map[uuid.UUID]time.Time, ok bool)
	// Stale is of whom the answer may have changed since it was asked last; all: of anybody.
	Stale() (users []uuid.UUID, all bool)
	// Woken has f called whenever it may be. f does not block.
	Woken(f func())
	// Keep says who is shown, or types where they would be, of whom every change is to be
	// noticed.
	Keep(f func() []uuid.UUID)
	Close()
}

// Privacy is presence, as far as typing asks it.
type Privacy interface {
	Gate(v viewer.Viewer) Gate
	Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]time.Time, error)
}

// Rooms has this node hear of a channel's typing, by RoomTopic and its id, until
// on is false. It never blocks.
type Rooms interface{ Attend(room string, on bool) }

// Options are what the package stands on.
type Options struct {
	Pool    postgres.DB
	Clock   *clock.Clock
	Bell    hub.Doorbell
	Rooms   Rooms // nil: every node hears of every room
	Privacy Privacy
	Batch   time.Duration // further changes of a stream are told at most this often; default 100 ms
	Log     *slog.Logger
}

// Service is typing as the rest of the server sees it.
type Service struct {
	o        Options
	board    *board
	rights   *rights
	paces    *paces
	interest interest
	kicked   wait.Flag
	mu       sync.Mutex
	changed  map[uuid.UUID]struct{}             // guarded by mu: channels whose members changed
	streams  map[uuid.UUID]map[*stream]struct{} // guarded by mu: by channel
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	if o.Batch == 0 {
		o.Batch = 100 * time.Millisecond
	}
	return &Service{o: o, board: newBoard(o.Clock), kicked: wait.NewFlag(), changed: map[uuid.UUID]struct{}{}, streams: map[uuid.UUID]map[*stream]struct{}{},
		rights:   newRights(),
		interest: interest{rooms: o.Rooms, bell: o.Bell, held: map[uuid.UUID]int{}},
		paces:    newPaces()}
}

// Run ends typing that is over, and that of members who are none any more,
// until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.board.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kicked:
			s.checkMembers(ctx)
		}
	}
}

// Ack answers a signal.
type Ack struct {
	Accepted      bool
	ExpiresAt     *time.Time
	NextAllowedAt *time.Time
}

// Start takes note that the viewer types. One signal too many is acknowledged
// and changes nothing. Errors: access-denied for a room one may not write in,
// or that does not exist.
func (s *Service) Start(ctx context.Context, v viewer.Viewer, r Room) (Ack, error) {
	at, granted, err := s.writable(ctx, v, r)
	if err != nil {
		return Ack{}, err
	}
	now := s.o.Clock.Now().Truncate(time.Millisecond)
	if early := s.paces.take(typistKey{at, v.User}); early > 0 {
		return ackOf(false, s.board.until(at, v.User), now.Add(early)), nil
	}
	sig, until := s.board.say(signal{roomKey: at, user: v.User, session: v.Session, at: now, own: true})
	s.o.Bell.Ring(sig.topic())
	if !s.rights.current(typistKey{at, v.User}, granted) { // whoever looked for those to silence may have come too early for this one
		if _, _, err := s.writable(ctx, v, r); err != nil {
			sig.stop = true
			s.say(sig)
			return Ack{}, err
		}
	}
	return ackOf(true, until, now.Add(time.Second/perRoom)), nil
}

// Stop takes it back, for the device that asks. A socket that types nothing there rings
// nobody; what was said over HTTP another node may know, or nobody yet.
func (s *Service) Stop(ctx context.Context, v viewer.Viewer, r Room) (Ack, error) {
	at, _, err := s.writable(ctx, v, r)
	if err != nil {
		return Ack{}, err
	}
	if v.Session != uuid.Nil && !s.board.types(at, v.User, v.Session) {
		return Ack{Accepted: true}, nil
	}
	s.say(signal{roomKey: at, user: v.User, session: v.Session, at: s.o.Clock.Now().Truncate(time.Millisecond), stop: true})
	return Ack{Accepted: true}, nil
}

// StopAll takes back all that the device said, in every room.
func (s *Service) StopAll(v viewer.Viewer) error {
	if err := v.Denied(); err != nil {
		return err
	}
	for _, sig := range s.board.stopsOf(v.User, v.Session) {
		s.say(sig)
	}
	if s.o.Rooms != nil && v.Session == uuid.Nil { // over HTTP, which other nodes answer too
		s.o.Bell.Ring(hush(v.User, s.o.Clock.Now()))
	}
	return nil
}

// End is the end of a socket: what it said is over.
func (s *Service) End(session uuid.UUID) {
	for _, sig := range s.board.stopsOf(uuid.Nil, session) {
		s.say(sig)
	}
}

func (s *Service) say(sig signal) {
	sig.own = true
	sig.at = sig.at.Truncate(time.Millisecond).Add(time.Millisecond) // after the word it takes back
	sig, _ = s.board.say(sig)
	s.o.Bell.Ring(sig.topic())
}

func ackOf(accepted bool, until, next time.Time) Ack {
	a := Ack{Accepted: accepted, NextAllowedAt: &next}
	if !until.IsZero() {
		a.ExpiresAt = &until
	}
	return a
}
