package share

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
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

// value is what a piece tells.
type value interface {
	put()             // into the viewer's own execution
	to(tape any) bool // into the one of its class
}

// piece is a Piece, whatever its type.
type piece struct {
	value

	class Class
	fill  string
}

// offer is a stream that a resolver leaves to be shared.
type offer struct {
	next   func(context.Context) ([]piece, error)
	close  func()
	quick  *quick  // nil: it has to be waited for
	member *member // who takes it up
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
		return pieces(list, own), err
	}
	if q, ok := src.(Quick[T]); ok {
		o.quick = &quick{woken: q.Woken, now: func() ([]piece, bool) {
			list, ok := q.Now()
			return pieces(list, own), ok
		}, look: func(ctx context.Context) ([]piece, error) {
			list, err := q.Look(ctx)
			return pieces(list, own), err
		}}
	}
	return own, nil
}

// held is a Piece that waits to be told.
type held[T any] struct {
	x   *T
	own tape[T]
}

func (h *held[T]) put() { h.own.put(*h.x) }

func (h *held[T]) to(of any) bool {
	t, ok := of.(tape[T])
	if ok {
		t.put(*h.x)
	}
	return ok
}

func pieces[T any](list []Piece[T], own tape[T]) []piece {
	if len(list) == 0 {
		return nil
	}
	out, values := make([]piece, len(list)), make([]held[T], len(list))
	for i := range list {
		x := &list[i]
		values[i] = held[T]{x.Value, own}
		out[i] = piece{value: &values[i], class: x.Class, fill: x.Fill}
	}
	return out
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
