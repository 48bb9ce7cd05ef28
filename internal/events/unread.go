package events

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// unreadEvery is how often a viewer is told of a channel at most, of what others do
// and of what it does itself: at once, and while it goes on once in this time.
const unreadEvery = time.Second

// unread tells a viewer how far it is in the channels where that may have
// changed without it: somebody wrote, deleted, mentioned; a membership began or
// ended. What it did itself the log tells in its place. It costs one statement
// for all channels of a round, and at most one round a channel and unreadEvery.
//
// It is the same for threads, which S tells it from.
type unread[S counted[S]] struct {
	every time.Duration
	read  func(context.Context, []uuid.UUID) ([]S, error)
	tell  func(context.Context, S) error
	none  func(uuid.UUID) (S, bool) // what is told where nothing can be read any more; false: nothing
	wake  wait.Flag

	turn sync.Mutex // held from a reading until it is told: what was read last is told last

	mu   sync.Mutex
	due  map[uuid.UUID]int64     // guarded by mu: may have changed since it was read, by an entry at that position first
	now  map[uuid.UUID]int64     // guarded by mu: was due, and is being read and told
	last map[uuid.UUID]time.Time // guarded by mu: when it was read; only of those read within every
	own  map[uuid.UUID]ownTold   // guarded by mu: of what the viewer did itself; only of those told within every
	told map[uuid.UUID]S         // guarded by mu: of those it was told of
}

// ownTold is when a viewer was told of what it did itself, and whether it has done more.
type ownTold struct {
	at    time.Time
	waits bool
}

// counted is a state of unread messages.
type counted[S any] interface {
	Key() uuid.UUID
	Same(S) bool
}

func newUnread(every time.Duration, read func(context.Context, []uuid.UUID) ([]receipt.State, error), tell func(context.Context, receipt.State) error) *unread[receipt.State] {
	u := unreadOf(every, read, tell)
	u.none = func(channel uuid.UUID) (receipt.State, bool) { return receipt.State{ChannelID: channel}, true }
	return u
}

func unreadOf[S counted[S]](every time.Duration, read func(context.Context, []uuid.UUID) ([]S, error), tell func(context.Context, S) error) *unread[S] {
	return &unread[S]{every: every, read: read, tell: tell, none: func(uuid.UUID) (s S, _ bool) { return s, false }, wake: wait.NewFlag(),
		due: map[uuid.UUID]int64{}, now: map[uuid.UUID]int64{}, last: map[uuid.UUID]time.Time{}, own: map[uuid.UUID]ownTold{}, told: map[uuid.UUID]S{}}
}

// affects reports whether an entry may change how much a user has to read, and
// is not that user's own reading. Its own messages never are unread.
func affects(it feed.Item, user uuid.UUID) bool {
	switch it.Kind { //nolint:exhaustive // the rest changes no count
	case feed.Created:
		return it.User != user && it.Thread == uuid.Nil
	case feed.Updated, feed.Deleted:
		return it.User != user
	case feed.Joined, feed.Left:
		return it.User == user
	case feed.Opened: // all that was there may be no more
		return true
	}
	return false
}

// changed notes a channel that an entry at a position may have changed.
func (u *unread[S]) changed(channel uuid.UUID, pos int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changedLocked(channel, pos)
}

func (u *unread[S]) changedLocked(channel uuid.UUID, pos int64) {
	if first, is := u.due[channel]; !is || pos < first {
		u.due[channel] = pos
	}
	u.wake.Raise()
}

// upTo is the position up to which all is told that changes before and at another did.
func (u *unread[S]) upTo(pos int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, first := range u.due {
		pos = min(pos, first-1)
	}
	for _, first := range u.now {
		pos = min(pos, first-1)
	}
	return pos
}

// done says that a channel is told of as round read it.
func (u *unread[S]) done(channel uuid.UUID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.now, channel)
}

// atOnce tells of a channel where the viewer did something itself, in whichever way it
// is to be told, unless that was told already; soon after it was, run does.
func (u *unread[S]) atOnce(ctx context.Context, channel uuid.UUID, pos int64, tell func(S) error) error {
	if u.soon(channel, pos, time.Now()) {
		return nil
	}
	u.turn.Lock()
	defer u.turn.Unlock()
	list, err := u.read(ctx, []uuid.UUID{channel})
	for _, s := range list {
		if !u.differs(s) {
			continue
		}
		if err := tell(s); err != nil {
			return err
		}
	}
	return err
}

// soon leaves to run what the viewer did in a channel soon after it was told of that;
// false: it is to be told now.
func (u *unread[S]) soon(channel uuid.UUID, pos int64, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was, soon := u.own[channel]
	if !was.waits && now.Sub(was.at) >= u.every {
		soon = false
	}
	u.own[channel] = ownTold{now, false}
	if soon {
		u.own[channel] = ownTold{was.at, true}
		if u.last[channel].Before(was.at) {
			u.last[channel] = was.at
		}
		u.changedLocked(channel, pos)
	}
	return soon
}

// differs notes what is told, and reports whether it is anything new.
func (u *unread[S]) differs(s S) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was, known := u.told[s.Key()]
	u.told[s.Key()] = s
	return !known || !was.Same(s)
}

// anew says, by way of tell, that what was told may be of another history. What was read
// before is told before it, and nothing that was told is held against what is read after it.
func (u *unread[S]) anew(tell func() error) error {
	u.turn.Lock()
	defer u.turn.Unlock()
	u.mu.Lock()
	clear(u.told)
	u.mu.Unlock()
	return tell()
}

// run tells of what changes until ctx ends or reading is given up.
func (u *unread[S]) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-u.wake:
		case <-timer.C:
		}
		now, later := u.ripe(time.Now())
		if later > 0 {
			timer.Reset(later)
		}
		if len(now) == 0 {
			continue
		}
		rest, err := u.round(ctx, now)
		if err != nil || !wait.For(ctx, rest) {
			return err
		}
	}
}

// ripe takes the channels that may be told of at an instant, and says how long
// the first of the others has to wait; 0: there is none.
func (u *unread[S]) ripe(at time.Time) (now []uuid.UUID, later time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for channel, read := range u.last {
		if at.Sub(read) >= u.every {
			delete(u.last, channel)
		}
	}
	for channel, was := range u.own {
		if !was.waits && at.Sub(was.at) >= u.every {
			delete(u.own, channel)
		}
	}
	for channel, first := range u.due {
		if read, soon := u.last[channel]; soon {
			if left := u.every - at.Sub(read); later == 0 || left < later {
				later = left
			}
			continue
		}
		delete(u.due, channel)
		u.now[channel] = first
		u.last[channel] = at
		if u.own[channel].waits {
			u.own[channel] = ownTold{at, false}
		}
		now = append(now, channel)
	}
	return now, later
}

// round reads channels and tells of those that are not as was told last. In one
// the viewer has left there is nothing to read any more. It answers how long to rest.
func (u *unread[S]) round(ctx context.Context, channels []uuid.UUID) (rest time.Duration, err error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	asking, took := spending(ctx)
	list, err := u.read(asking, channels)
	rest = restAfter(took())
	if err != nil {
		return 0, err
	}
	for _, channel := range channels {
		if slices.ContainsFunc(list, func(s S) bool { return s.Key() == channel }) {
			continue
		}
		if s, ok := u.none(channel); ok {
			list = append(list, s)
		}
	}
	for _, s := range list {
		if !u.differs(s) {
			continue
		}
		if err := u.tell(ctx, s); err != nil {
			return 0, err
		}
	}
	for _, channel := range channels { // also those of which there was nothing to tell
		u.done(channel)
	}
	return rest, nil
}
