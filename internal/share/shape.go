package share

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// What is kept is bounded by whom it is kept for: however many shapes somebody's
// subscriptions are, together they hold no more than each of them may.
const (
	keptPieces = 256      // newest encoded events of a shape
	keptBytes  = 1 << 20  // of those, at most; the newest may have more
	keptEach   = 16 << 10 // of those, for each member; the newest too
	pieceBytes = 512      // besides its bytes: its class, and where it is kept
)

// encoded is an event as its class is told it: what stands between the holes.
// None: it could not be encoded for all, or is too large to be kept for them, and each
// viewer has it executed.
type encoded [][]byte

func encode(data []byte) encoded { return bytes.Split(data, []byte(Hole)) }

func (e encoded) size() (n int) {
	for _, part := range e {
		n += len(part)
	}
	return n
}

// holds is how many bytes it takes to keep it.
func (e encoded) holds() int { return pieceBytes + e.size() + len(e)*(len(Hole)+24) }

// appendTo appends it with what is the viewer's in its holes.
func (e encoded) appendTo(dst []byte, fill string) []byte {
	for i, part := range e {
		if i > 0 {
			dst = append(dst, fill...)
		}
		dst = append(dst, part...)
	}
	return dst
}

// claim is an event that somebody is about to have encoded.
type claim struct {
	by      *member
	waiting map[*member]func() // to be called when it is, or when nobody does it
}

// shape is one operation, as all who subscribe to it alike.
type shape struct {
	key     shapeKey
	members atomic.Int64 // changed under Sharing.mu

	turn   sync.Mutex // of who executes; taken before mu
	player *player    // guarded by turn

	mu     sync.Mutex
	alone  bool              // guarded by mu: it is to be executed for each
	kept   map[Class]encoded // guarded by mu
	order  []Class           // guarded by mu: of kept, the oldest first
	size   int               // guarded by mu: what kept holds
	claims map[Class]*claim  // guarded by mu
}

// find is an event that was encoded; sure: there is no sense in encoding it.
func (s *shape) find(c Class) (e encoded, sure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return nil, true
	}
	e, sure = s.kept[c]
	return e, sure
}

// ask is find for one who does not wait. Quiet: somebody else is about to have it
// encoded, and wake is called then. Ask: the member is to, or it is executed for each.
func (s *shape) ask(m *member, c Class, wake func()) (encoded, Readiness) {
	if s.members.Load() < 2 {
		return nil, Ask
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone || m.left { // who has left does nothing for others
		return nil, Ask
	}
	if e, ok := s.kept[c]; ok {
		if e == nil {
			return nil, Ask
		}
		return e, Ready
	}
	if x := s.claims[c]; x != nil {
		if x.by == m {
			return nil, Ask
		}
		x.waiting[m] = wake
		return nil, Quiet
	}
	if s.claims == nil {
		s.claims = map[Class]*claim{}
	}
	s.claims[c] = &claim{by: m, waiting: map[*member]func(){}}
	return nil, Ask
}

// bytes is a piece as its class is told it, encoded by whoever comes first;
// none: it is to be executed for the viewer itself. begin makes the player.
func (s *shape) bytes(p piece, begin func() *player) encoded {
	defer s.settle(p.class)   // also where nobody need encode it any more
	if s.members.Load() < 2 { // nobody to share with, and nothing to keep
		return nil
	}
	if e, sure := s.find(p.class); sure {
		return e
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if e, sure := s.find(p.class); sure {
		return e
	}
	if s.player == nil {
		s.player = begin()
	}
	if s.player == nil {
		s.apart()
		return nil
	}
	r := s.player.show(p)
	if r == nil || s.player.differs.Load() {
		s.player = nil
		s.apart()
		return nil
	}
	if len(r.Data) > keptEach {
		s.player = nil // which would hold as much for the next
	}
	var e encoded
	if len(r.Errors) == 0 && len(r.Extensions) == 0 {
		e = encode(r.Data)
	}
	s.keep(p.class, e)
	return e
}

// apart has the operation executed for each.
func (s *shape) apart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone, s.kept, s.order, s.size = true, nil, nil, 0
}

// keep keeps an event for those who come to it later; of one that is larger than they may
// hold together, that each has it executed.
func (s *shape) keep(c Class, e encoded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.holds() > s.most() {
		e = nil
	}
	if s.kept == nil {
		s.kept = map[Class]encoded{}
	}
	s.kept[c] = e
	s.order = append(s.order, c)
	s.size += e.holds()
	s.trimLocked()
}

// most is how many bytes the shape's members may hold.
func (s *shape) most() int { return int(s.members.Load()) * keptEach }

// trimLocked lets the oldest go that are too many.
func (s *shape) trimLocked() {
	for len(s.order) > 0 && (s.size > s.most() || len(s.order) > 1 && (len(s.order) > keptPieces || s.size > keptBytes)) {
		s.size -= s.kept[s.order[0]].holds()
		delete(s.kept, s.order[0])
		s.order = s.order[1:]
	}
}

// fewer lets go what is too much for those whom a member has left.
func (s *shape) fewer() {
	if s.members.Load() < 2 {
		s.end()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trimLocked()
}

// settle wakes those who wait for an event to be encoded: it is, or it is the
// next one's to do.
func (s *shape) settle(c Class) {
	s.mu.Lock()
	x := s.claims[c]
	delete(s.claims, c)
	s.mu.Unlock()
	if x != nil {
		for _, wake := range x.waiting {
			wake()
		}
	}
}

// disclaim is settle for whatever a member that leaves was to do. It waits for
// nothing any more, and takes nothing on.
func (s *shape) disclaim(m *member) {
	s.mu.Lock()
	m.left = true
	var left []Class
	for c, x := range s.claims {
		delete(x.waiting, m)
		if x.by == m {
			left = append(left, c)
		}
	}
	s.mu.Unlock()
	for _, c := range left {
		s.settle(c)
	}
}

// end frees what a shape holds for others, of whom there are none.
func (s *shape) end() {
	s.turn.Lock()
	s.player = nil
	s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.order, s.size = nil, nil, 0
}
