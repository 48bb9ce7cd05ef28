package typing

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// The pace of signals: one a second for a room, five over all rooms of a user.
const (
	perRoom      = 1
	burstPerRoom = 2
	perUser      = 5
	burstPerUser = 10
	mostKept     = 50_000
	rightsKept   = 10 * time.Second // and no longer than until the channel's members change
	readTimeout  = 5 * time.Second
)

// Gate decides whose typing one viewer may see. Presence has them.
type Gate interface {
	May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]bool, error)
	Changed(ctx context.Context) error
	Close()
}

// Privacy is presence, as far as typing asks it.
type Privacy interface {
	Gate(v viewer.Viewer) Gate
	Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]bool, error)
}

// Options are what the package stands on.
type Options struct {
	Pool    postgres.DB
	Clock   *clock.Clock
	Bell    hub.Doorbell
	Privacy Privacy
	Batch   time.Duration // further changes of a stream are told at most this often; default 100 ms
	Log     *slog.Logger
}

// Service is typing as the rest of the server sees it.
type Service struct {
	o       Options
	board   *board
	rights  *rights
	paces   *lru.Cache[pace, *rate.Limiter]
	kicked  wait.Flag
	mu      sync.Mutex
	changed map[uuid.UUID]struct{}             // guarded by mu: channels whose members changed
	streams map[uuid.UUID]map[*stream]struct{} // guarded by mu: by channel
}

type pace struct {
	typistKey
	all bool // over all rooms
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	if o.Batch == 0 {
		o.Batch = 100 * time.Millisecond
	}
	return &Service{o: o, board: newBoard(o.Clock), kicked: wait.NewFlag(), changed: map[uuid.UUID]struct{}{}, streams: map[uuid.UUID]map[*stream]struct{}{},
		rights: newRights(),
		paces:  newCache[pace, *rate.Limiter]()}
}

// newCache forgets what was longest unused. An evicted pace has long been full
// again, unless fifty thousand others typed within seconds.
func newCache[K comparable, V any]() *lru.Cache[K, V] {
	c, err := lru.New[K, V](mostKept)
	if err != nil {
		panic(err) // a size below one, which mostKept is not
	}
	return c
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
	if wait := s.tooSoon(typistKey{at, v.User}); wait > 0 {
		return s.ack(false, s.board.until(at, v.User), now.Add(wait)), nil
	}
	sig := signal{roomKey: at, user: v.User, session: v.Session, at: now}
	until := s.board.apply(sig)
	s.o.Bell.Ring(sig.topic())
	if !s.rights.current(typistKey{at, v.User}, granted) { // whoever looked for those to silence may have come too early for this one
		if _, _, err := s.writable(ctx, v, r); err != nil {
			sig.stop = true
			s.say(sig)
			return Ack{}, err
		}
	}
	return s.ack(true, until, now.Add(time.Second/perRoom)), nil
}

// Stop takes it back, for the device that asks.
func (s *Service) Stop(ctx context.Context, v viewer.Viewer, r Room) (Ack, error) {
	at, _, err := s.writable(ctx, v, r)
	if err != nil {
		return Ack{}, err
	}
	s.say(signal{roomKey: at, user: v.User, session: v.Session, at: s.o.Clock.Now().Truncate(time.Millisecond), stop: true})
	return Ack{Accepted: true}, nil
}

// StopAll takes back all that the device said, in every room.
func (s *Service) StopAll(v viewer.Viewer) error {
	if err := v.Denied(); err != nil {
		return err
	}
	for _, sig := range s.board.stopsOf(&v.User, v.Session) {
		s.say(sig)
	}
	return nil
}

// End is the end of a socket: what it said is over.
func (s *Service) End(session uuid.UUID) {
	for _, sig := range s.board.stopsOf(nil, session) {
		s.say(sig)
	}
}

func (s *Service) say(sig signal) {
	sig.at = sig.at.Truncate(time.Millisecond).Add(time.Millisecond) // after the word it takes back
	s.board.apply(sig)
	s.o.Bell.Ring(sig.topic())
}

func (s *Service) ack(accepted bool, until, next time.Time) Ack {
	a := Ack{Accepted: accepted, NextAllowedAt: &next}
	if !until.IsZero() {
		a.ExpiresAt = &until
	}
	return a
}

// tooSoon is how long to wait before the next signal; zero: take this one. What
// is refused costs nothing: whoever asks too often is not kept waiting for it.
func (s *Service) tooSoon(k typistKey) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	room := s.paceLocked(pace{typistKey: k}, perRoom, burstPerRoom)
	all := s.paceLocked(pace{typistKey: typistKey{roomKey: roomKey{Tenant: k.Tenant}, user: k.user}, all: true}, perUser, burstPerUser)
	if wait := max(until(room, now), until(all, now)); wait > 0 {
		return wait
	}
	room.AllowN(now, 1)
	all.AllowN(now, 1)
	return 0
}

// until is when a limiter has a token again.
func until(l *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

func (s *Service) paceLocked(p pace, each float64, burst int) *rate.Limiter {
	l, ok := s.paces.Get(p)
	if !ok {
		l = rate.NewLimiter(rate.Limit(each), burst)
	}
	if !ok {
		s.paces.Add(p, l)
	}
	return l
}

// Topics are the doorbells this package answers, by prefix.
var Topics = []string{"typing/", "members/"}

func (g signal) topic() string {
	stop := "0"
	if g.stop {
		stop = "1"
	}
	return strings.Join([]string{"typing", g.Channel.String(), g.Thread.String(), g.user.String(), g.session.String(),
		strconv.FormatInt(g.at.UnixMilli(), 10), stop, g.Tenant}, "/")
}

// Notify is one doorbell. What cannot be read is nobody's: it expires.
func (s *Service) Notify(topic string) {
	kind, rest, _ := strings.Cut(topic, "/")
	part := strings.SplitN(rest, "/", 7)
	switch {
	case kind == "typing" && len(part) == 7:
		if sig, err := readSignal(part); err == nil {
			s.board.apply(sig)
		}
	case kind == "members":
		if id, err := uuid.Parse(rest); err == nil {
			s.membersChanged(id)
		}
	}
}

func readSignal(part []string) (signal, error) {
	var ids [4]uuid.UUID
	for i := range ids {
		id, err := uuid.Parse(part[i])
		if err != nil {
			return signal{}, fmt.Errorf("reading a doorbell: %w", err)
		}
		ids[i] = id
	}
	ms, err := strconv.ParseInt(part[4], 10, 64)
	if err != nil {
		return signal{}, fmt.Errorf("reading a doorbell: %w", err)
	}
	return signal{roomKey: roomKey{part[6], ids[0], ids[1]}, user: ids[2], session: ids[3], at: time.UnixMilli(ms), stop: part[5] == "1"}, nil
}

// Spoke says that a user has sent a message at an instant: what it typed there
// until then is over. thread uuid.Nil: in the channel itself. It never blocks.
func (s *Service) Spoke(tenant string, channel, thread, user uuid.UUID, at time.Time) {
	s.board.silence(roomKey{tenant, channel, thread}, user, at)
}

// Resync says that doorbells may have been lost: nothing is kept of whose
// rights, and what typing was missed expires or is said again.
func (s *Service) Resync() {
	s.rights.purge()
	s.mu.Lock()
	for _, streams := range s.streams {
		for st := range streams {
			st.recheck()
		}
	}
	s.mu.Unlock()
	for _, c := range s.board.channels() {
		s.membersChanged(c)
	}
}

func (s *Service) membersChanged(channel uuid.UUID) {
	s.rights.stale(channel)
	s.mu.Lock()
	s.changed[channel] = struct{}{}
	for st := range s.streams[channel] {
		st.recheck()
	}
	s.mu.Unlock()
	s.kicked.Raise()
}

// checkMembers silences whoever may not write any more where it types, on
// every node: its last word may still be on its way to one.
func (s *Service) checkMembers(ctx context.Context) {
	s.mu.Lock()
	channels := s.changed
	s.changed = map[uuid.UUID]struct{}{}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for c := range channels {
		for at, users := range s.board.inChannel(c) {
			may, err := roster.Writers(ctx, s.o.Pool, at.Tenant, roster.Place{Channel: c, Thread: at.Thread}, users)
			for _, u := range users {
				switch {
				case err != nil: // on doubt hide; whoever still types says so within a second
					s.board.silence(at, u, s.o.Clock.Now())
				case !may[u]:
					for _, sig := range s.board.stopsIn(at, u) {
						s.say(sig)
					}
				}
			}
		}
	}
}
