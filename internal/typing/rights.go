package typing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// rightsKept is how long a right is believed, and no longer than until the
// channel's members change.
const rightsKept = 10 * time.Second

// rights remembers who may write where: no longer than rightsKept, and not
// past a change of the channel's members, even one that was told while the
// right was being read.
type rights struct {
	known   *lru.Cache[typistKey, grant]
	changed *lru.Cache[uuid.UUID, time.Time] // channels, and when that was told
	purged  atomic.Pointer[time.Time]        // nothing older is believed
}

// grant is what one user may do in a room, as a read found it that began at
// an instant.
type grant struct {
	roster.Access
	began time.Time
}

func newRights() *rights {
	r := &rights{known: newCache[typistKey, grant]()}
	changed, err := lru.NewWithEvict(mostKept, func(uuid.UUID, time.Time) { r.purge() })
	if err != nil {
		panic(err) // a size below one, which mostKept is not
	}
	r.changed = changed
	return r
}

func (r *rights) current(k typistKey, a grant) bool {
	if p := r.purged.Load(); p != nil && !a.began.After(*p) {
		return false
	}
	told, ok := r.changed.Peek(k.Channel)
	return time.Since(a.began) <= rightsKept && (!ok || a.began.After(told))
}

// stale says that the members of a channel changed.
func (r *rights) stale(channel uuid.UUID) { r.changed.Add(channel, time.Now()) }

// purge forgets everything.
func (r *rights) purge() {
	now := time.Now()
	r.purged.Store(&now)
	r.known.Purge()
}

// writable is the room as somebody who may write in it knows it, and the grant
// that says so.
func (s *Service) writable(ctx context.Context, v viewer.Viewer, r Room) (roomKey, grant, error) {
	if err := v.Denied(); err != nil {
		return roomKey{}, grant{}, err
	}
	at := roomKey{v.Tenant, r.Channel, r.Thread}
	k := typistKey{at, v.User}
	a, ok := s.rights.known.Get(k)
	if !ok || !s.rights.current(k, a) {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		began := time.Now()
		may, err := roster.Writable(ctx, s.o.Pool, v.Tenant, v.User, r.place())
		if err != nil {
			return at, grant{}, err
		}
		a = grant{may, began}
		s.rights.known.Add(k, a)
	}
	if !a.Allowed || r.Direct && !a.Direct {
		return at, a, fault.Access()
	}
	return at, a, nil
}
