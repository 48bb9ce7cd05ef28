package typing

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
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

// interest is which channels this node hears of, where it does not hear of all.
type interest struct {
	rooms Rooms // nil: it hears of all
	bell  hub.Doorbell

	mu   sync.Mutex
	held map[uuid.UUID]int // guarded by mu: by how many it is needed
}

// enter begins to hear of a channel, until as many leave.
func (i *interest) enter(channel uuid.UUID) {
	if i.rooms == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held[channel]++
	if i.held[channel] > 1 {
		return
	}
	i.rooms.Attend(RoomTopic+channel.String(), true)
	i.bell.Ring(askTopic + channel.String())
}

func (i *interest) leave(channel uuid.UUID) {
	if i.rooms == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held[channel]--; i.held[channel] == 0 {
		delete(i.held, channel)
		i.rooms.Attend(RoomTopic+channel.String(), false)
	}
}

// hear has the board know of a channel for one read: where this node did not
// hear of it, it asks, and gives the others a tenth of a second to answer. A read of
// what it hears anyway takes as long: whether somebody else has the channel open here
// is nobody's to measure. What it returns ends that.
func (i *interest) hear(ctx context.Context, channel uuid.UUID) (done func()) {
	i.enter(channel)
	if i.rooms != nil {
		resume := wait.Pause(ctx) // others may work meanwhile
		wait.For(ctx, answers)
		_ = resume(ctx) // its error is ctx's end, which the read is told
	}
	return func() { i.leave(channel) }
}

// askAll asks again: doorbells may have been lost.
func (i *interest) askAll() {
	i.mu.Lock()
	topics := make([]string, 0, min(len(i.held), mostAsked))
	for c := range i.held {
		if len(topics) == mostAsked {
			break
		}
		topics = append(topics, askTopic+c.String())
	}
	i.mu.Unlock()
	if len(topics) > 0 {
		i.bell.Ring(topics...)
	}
}

// sayAgain answers whoever asks for a channel: the last word of each device that
// spoke on this node, stops too, as long as they have not expired.
func (s *Service) sayAgain(channel uuid.UUID) {
	var topics []string
	for _, sig := range s.board.ownIn(channel) {
		topics = append(topics, sig.topic())
	}
	if len(topics) > 0 {
		s.o.Bell.Ring(topics...)
	}
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
		for _, sig := range s.board.stopsOf(user, uuid.Nil) {
			if by := time.UnixMilli(ms); sig.own && !s.board.said(sig).After(by) {
				sig.at = by
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
	for at := range b.index.channels[channel] {
		for user, t := range b.rooms[at] {
			for session, d := range t.devices {
				if d.own && d.ends().After(now) {
					out = append(out, signal{roomKey: at, user: user, session: session, at: d.at, stop: !d.typing})
				}
			}
		}
	}
	return out
}

// said is when the device of a signal spoke last in its room.
func (b *board) said(s signal) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.rooms[s.roomKey][s.user]; t != nil {
		return t.devices[s.session].at
	}
	return time.Time{}
}
