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

// tape hands values to a subscription's execution instead of its stream.
type tape[T any] chan T

func (t tape[T]) put(v T) {
	select {
	case <-t: // nobody took the last
	default:
	}
	t <- v
}

// piece is a Piece, whatever its type.
type piece struct {
	class Class
	fill  string
	put   func()              // into the viewer's own execution
	to    func(tape any) bool // into the one of its class
}

// offer is a stream that a resolver leaves to be shared.
type offer struct {
	next  func(context.Context) ([]piece, error)
	close func()
}

type (
	offerKey struct{}
	playKey  struct{}
)

// play is an execution for a class.
type play struct {
	tape    any         // of its resolver
	differs atomic.Bool // it asked what may be another viewer's
}

func playing(ctx context.Context) *play {
	p, _ := ctx.Value(playKey{}).(*play)
	return p
}

// Offer is a resolver's channel. Where the operation can be shared it is fed
// with what is to be executed; else it is what stream begins. source begins the
// same as what is to be shared; its error is the resolver's.
func Offer[T any](ctx context.Context, source func() (Source[T], error), stream func() (<-chan T, error)) (<-chan T, error) {
	if p := playing(ctx); p != nil {
		t := make(tape[T], 1)
		p.tape = t
		return t, nil
	}
	o, ok := ctx.Value(offerKey{}).(*offer)
	if !ok || o.next != nil { // nobody shares, or it is not the only field
		return stream()
	}
	src, err := source()
	if err != nil {
		return nil, err
	}
	own := make(tape[T], 1)
	o.close = src.Close
	o.next = func(ctx context.Context) ([]piece, error) {
		list, err := src.Next(ctx)
		out := make([]piece, len(list))
		for i, x := range list {
			out[i] = piece{class: x.Class, fill: x.Fill, put: func() { own.put(x.Value) }, to: func(of any) bool {
				t, ok := of.(tape[T])
				if ok {
					t.put(x.Value)
				}
				return ok
			}}
		}
		return out, err
	}
	return own, nil
}

// Channel is a Source of what a channel brings. as says what each is; cancel
// ends the stream.
func Channel[T any](ch <-chan T, as func(T) Piece[T], cancel func()) Source[T] {
	return channel[T]{ch, as, cancel}
}

type channel[T any] struct {
	ch     <-chan T
	as     func(T) Piece[T]
	cancel func()
}

func (c channel[T]) Close() { c.cancel() }

func (c channel[T]) Next(ctx context.Context) ([]Piece[T], error) {
	select {
	case x, open := <-c.ch:
		if !open {
			return nil, nil
		}
		return []Piece[T]{c.as(x)}, nil
	case <-ctx.Done():
		return nil, ctx.Err() //nolint:wrapcheck // the caller's own
	}
}

// player executes an operation for one value at a time. For one goroutine.
type player struct {
	*play

	ctx     context.Context //nolint:containedctx // an execution's, that goes on
	respond graphql.ResponseHandler
}

// show is the response for a piece; nil: it is not one of its class.
func (p *player) show(x piece) *graphql.Response {
	if !x.to(p.tape) {
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
	members atomic.Int64 // changed under Sharing.mu

	mu     sync.Mutex
	player *player          // guarded by mu
	alone  bool             // guarded by mu: it is to be executed for each
	kept   map[Class][]byte // guarded by mu
	order  []Class          // guarded by mu: of kept, the oldest first
	size   int              // guarded by mu
}

// bytes is a piece as its class is told it, encoded by whoever comes first;
// false: it is to be executed for the viewer itself. begin makes the player.
func (s *shape) bytes(p piece, begin func() *player) (data []byte, ok bool) {
	if s.members.Load() < 2 { // nobody to share with, and nothing to keep
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone {
		return nil, false
	}
	if data, ok = s.kept[p.class]; ok {
		return data, true
	}
	if s.player == nil {
		if s.player = begin(); s.player == nil {
			s.alone = true
			return nil, false
		}
	}
	r := s.player.show(p)
	switch {
	case r == nil || s.player.differs.Load():
		s.alone, s.kept, s.order, s.size, s.player = true, nil, nil, 0, nil
		return nil, false
	case len(r.Errors) > 0 || len(r.Extensions) > 0:
		return nil, false
	}
	s.keepLocked(p.class, r.Data)
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
