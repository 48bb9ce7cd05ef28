package share

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
)

func newHole() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return "hole-" + hex.EncodeToString(b[:])
}

// Tape hands values to a subscription's resolver instead of its stream.
type Tape interface {
	put(v any) bool
	channel() any
}

type tape[T any] struct{ ch chan T }

// NewTape is a tape of a subscription whose channel brings T.
func NewTape[T any]() Tape { return tape[T]{make(chan T, 1)} }

func (t tape[T]) put(v any) bool {
	x, ok := v.(T)
	if !ok {
		return false
	}
	select {
	case <-t.ch: // nobody took the last
	default:
	}
	t.ch <- x
	return true
}

func (t tape[T]) channel() any { return (<-chan T)(t.ch) }

type playingKey struct{}

type play struct {
	tape    Tape
	shared  bool        // for a class, and not for one viewer
	differs atomic.Bool // it asked what may be another viewer's
}

func playing(ctx context.Context) *play {
	p, _ := ctx.Value(playingKey{}).(*play)
	return p
}

// Played is the channel a resolver is to return where its values are played to
// it; false: it is to begin a stream.
func Played[T any](ctx context.Context) (<-chan T, bool) {
	p := playing(ctx)
	if p == nil {
		return nil, false
	}
	ch, ok := p.tape.channel().(<-chan T)
	return ch, ok
}

// player executes an operation for one value at a time. For one goroutine.
type player struct {
	tape    *play
	ctx     context.Context //nolint:containedctx // an execution's, that goes on
	respond graphql.ResponseHandler
}

func newPlayer(ctx context.Context, next graphql.OperationHandler, p *play) *player {
	ctx = context.WithValue(ctx, playingKey{}, p)
	return &player{tape: p, ctx: ctx, respond: next(ctx)}
}

// play is the response for a value; its bytes are the caller's.
func (p *player) play(v any) *graphql.Response {
	if !p.tape.tape.put(v) {
		return nil
	}
	r := p.respond(p.ctx)
	if r != nil {
		r.Data = bytes.Clone(r.Data) // the next writes over it
	}
	return r
}

const (
	keptPieces = 256     // newest encoded events of a shape
	keptBytes  = 1 << 20 // of those, at most; the newest stays whatever its size
)

// shape is one operation, as all who subscribe to it alike.
type shape struct {
	key     shapeKey
	members int // guarded by Sharing.mu

	mu     sync.Mutex
	player *player          // guarded by mu
	alone  bool             // guarded by mu: it is to be executed for each
	kept   map[Class][]byte // guarded by mu
	order  []Class          // guarded by mu: of kept, the oldest first
	size   int              // guarded by mu
}

// bytes is a piece as its class is told it, encoded by whoever comes first;
// false: it is to be executed for the viewer itself. begin makes the player.
func (s *shape) bytes(p Piece, begin func() *player) (data []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return nil, false
	}
	if data, ok = s.kept[p.Class]; ok {
		return data, true
	}
	if s.player == nil {
		if s.player = begin(); s.player == nil {
			s.alone = true
			return nil, false
		}
	}
	r := s.player.play(p.Value)
	switch {
	case r == nil || s.player.tape.differs.Load():
		s.alone, s.kept, s.order, s.size, s.player = true, nil, nil, 0, nil
		return nil, false
	case len(r.Errors) > 0 || len(r.Extensions) > 0:
		return nil, false
	}
	s.keepLocked(p.Class, r.Data)
	return r.Data, true
}

func (s *shape) keepLocked(c Class, data []byte) {
	if s.kept == nil {
		s.kept = map[Class][]byte{}
	}
	s.kept[c] = data
	s.order = append(s.order, c)
	s.size += len(data)
	for len(s.order) > 1 && (len(s.order) > keptPieces || s.size > keptBytes) {
		s.size -= len(s.kept[s.order[0]])
		delete(s.kept, s.order[0])
		s.order = s.order[1:]
	}
}

// end frees what a shape without members holds.
func (s *shape) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.player, s.kept, s.order = nil, nil, nil
}
