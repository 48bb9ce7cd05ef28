package typing

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Where a node hears only of the channels it attends, it asks once when it
// begins to: whoever said something there, on whatever node, is told again.

// RoomTopic begins every topic of a channel's typing; the channel follows.
const RoomTopic = "typing/"

const (
	askTopic  = "typists/" // a channel follows: say again what was said here
	hushTopic = "hush/"    // a user and an instant: what it said over HTTP by then is over
	answers   = 100 * time.Millisecond
	mostAsked = 1000 // channels asked for at once, after doorbells were lost; others are said again within seconds
)

// attendLocked begins to hear of a channel, unless that is so already.
func (s *Service) attendLocked(channel uuid.UUID) {
	if s.o.Rooms == nil || s.streams[channel] != nil || s.asking[channel] > 0 {
		return
	}
	s.o.Rooms.Attend(RoomTopic+channel.String(), true)
	s.o.Bell.Ring(askTopic + channel.String())
}

// departLocked ends it where nobody needs it any more.
func (s *Service) departLocked(channel uuid.UUID) {
	if s.o.Rooms != nil && s.streams[channel] == nil && s.asking[channel] == 0 {
		s.o.Rooms.Attend(RoomTopic+channel.String(), false)
	}
}

// hearOf has the board know of a channel for one read: where this node did not
// hear of it, it asks, and gives the others a tenth of a second to answer. What
// it returns ends that.
func (s *Service) hearOf(ctx context.Context, channel uuid.UUID) (done func()) {
	if s.o.Rooms == nil {
		return func() {}
	}
	s.mu.Lock()
	known := s.streams[channel] != nil
	s.attendLocked(channel)
	s.asking[channel]++
	s.mu.Unlock()
	if !known {
		wait.For(ctx, answers)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asking[channel]--; s.asking[channel] == 0 {
			delete(s.asking, channel)
		}
		s.departLocked(channel)
	}
}

// askAll asks for the channels watched here.
func (s *Service) askAll() {
	if s.o.Rooms == nil {
		return
	}
	s.mu.Lock()
	topics := make([]string, 0, min(len(s.streams), mostAsked))
	for c := range s.streams {
		if len(topics) == mostAsked {
			break
		}
		topics = append(topics, askTopic+c.String())
	}
	s.mu.Unlock()
	s.o.Bell.Ring(topics...)
}

// sayAgain answers whoever asks for a channel: the last word of each device that
// spoke on this node, stops too, as long as they have not expired.
func (s *Service) sayAgain(channel uuid.UUID) {
	var topics []string
	for _, sig := range s.board.ownIn(channel) {
		topics = append(topics, sig.topic())
	}
	s.o.Bell.Ring(topics...)
}

// hush is the doorbell that takes back what a user said over HTTP, on whatever node.
func hush(user uuid.UUID, by time.Time) string {
	return hushTopic + user.String() + "/" + strconv.FormatInt(by.UnixMilli(), 10)
}

func (s *Service) hushed(rest string) {
	who, when, _ := strings.Cut(rest, "/")
	user, err := uuid.Parse(who)
	ms, merr := strconv.ParseInt(when, 10, 64)
	if err == nil && merr == nil {
		for _, sig := range s.board.stopsOf(&user, uuid.Nil) {
			if sig.own {
				sig.at = time.UnixMilli(ms)
				s.say(sig)
			}
		}
	}
}

// ownIn are the last words said on this node in a channel and its threads.
func (b *board) ownIn(channel uuid.UUID) (out []signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	for at, room := range b.rooms {
		if at.Channel != channel {
			continue
		}
		for user, t := range room {
			for session, d := range t.devices {
				if d.own && d.ends().After(now) {
					out = append(out, signal{roomKey: at, user: user, session: session, at: d.at, stop: !d.typing})
				}
			}
		}
	}
	return out
}
