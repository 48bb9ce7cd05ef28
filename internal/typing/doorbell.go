package typing

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/roster"
)

// Topics are the doorbells this package answers, by prefix.
var Topics = []string{RoomTopic, "members/", askTopic, hushTopic}

// Notify is one doorbell. What cannot be read is nobody's: it expires.
func (s *Service) Notify(topic string) {
	kind, rest, _ := strings.Cut(topic, "/")
	part := strings.SplitN(rest, "/", 7)
	switch {
	case kind == "typing" && len(part) == 7:
		if sig, err := readSignal(part); err == nil {
			s.board.apply(sig)
		}
	case kind == "typists":
		if id, err := uuid.Parse(rest); err == nil {
			s.sayAgain(id)
		}
	case kind == "hush":
		s.hushed(rest)
	case kind == "members":
		if id, err := uuid.Parse(rest); err == nil {
			s.membersChanged(id)
		}
	}
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
	s.interest.askAll()
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
