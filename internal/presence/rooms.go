package presence

import (
	"sync"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
)

// subject is what a stream can be told about: a user's record, or (channel) a
// channel's list of members, whose id stands in User.
type subject struct {
	Key
	channel bool
}

func members(channel uuid.UUID) subject { return subject{Key{User: channel}, true} }

// rooms are the channels whose lists of members somebody watches.
type rooms struct {
	hub *hub.Hub[subject]

	mu      sync.Mutex
	windows map[uuid.UUID]int // guarded by mu: on each channel
}

func (r *rooms) open(channel uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows[channel]++
}

func (r *rooms) close(channel uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.windows[channel]--; r.windows[channel] == 0 {
		delete(r.windows, channel)
	}
}

// tell says that a channel's list of members is to be read again.
func (r *rooms) tell(channel uuid.UUID) { r.hub.Mark(members(channel)) }

// tellAll is tell for every channel that is watched.
func (r *rooms) tellAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for channel := range r.windows {
		r.tell(channel)
	}
}
