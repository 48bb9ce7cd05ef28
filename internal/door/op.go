package door

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// op is an operation of a client's that runs upstream, under an id of its own
// there: whatever comes late for an id that its client uses again is nobody's.
type op struct {
	f     wsock.Foreign
	kind  kind
	sent  json.RawMessage
	done  chan wsock.End           // holds one
	up    atomic.Pointer[upstream] // where it runs; nil: it waits
	wrote atomic.Bool              // it has been sent there, or is being
	has   atomic.Bool              // it has had a result
	fresh atomic.Bool              // and one since it was last lost

	// Guarded by the link's mu.
	id    string
	serie int64
	since time.Time // it began, or was lost
	again bool      // it has been asked twice

	mu   sync.Mutex
	from *upstream         // guarded by mu: of the last result
	last [sha256.Size]byte // guarded by mu: the last result's
}

func byAge(a, b *op) int { return cmp.Compare(a.serie, b.serie) }

func (o *op) end(e wsock.End) {
	select {
	case o.done <- e:
	default: // it has ended already
	}
}

// next passes a result on, unless it is the first from another upstream and is
// what the client has, or the operation has gone elsewhere meanwhile. A fault is what it
// has to end with: there is no room for the result.
func (o *op) next(up *upstream, result json.RawMessage) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.up.Load() != up {
		return nil
	}
	o.fresh.Store(true)
	if o.kind == live {
		sum := sha256.Sum256(result)
		same := o.from != nil && o.from != up && sum == o.last
		o.from, o.last = up, sum
		if same {
			if up.l.d.o.Observer.Unchanged != nil {
				up.l.d.o.Observer.Unchanged()
			}
			return nil
		}
	}
	o.has.Store(true)
	err := o.f.Next(result)
	if err != nil {
		o.from = nil // the client has not got it
		return o.unread(err)
	}
	return nil
}
