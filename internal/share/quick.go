package share

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
)

// Quick is a Source that says what there is without waiting, so that nobody need
// wait for it.
type Quick[T any] interface {
	Source[T]
	// Now is Next without waiting, for anybody or anything. Nothing: there is
	// nothing, and what comes wakes. ok false: Look is to be asked, which loses
	// nothing by it.
	Now() (list []Piece[T], ok bool)
	// Look is Next without waiting for news: nothing where there are none.
	Look(ctx context.Context) ([]Piece[T], error)
	// Woken has f called whenever there may be more. f does not block.
	Woken(f func())
}

// Readiness is whether a subscription has something to send.
type Readiness int

// Quiet: it has nothing, and wakes. Ready: it has. Ask: its response is to be asked
// for, with Looking, by somebody who may wait: it is executed, or an error, or
// the end.
const (
	Quiet Readiness = iota
	Ready
	Ask
)

// Stream is a subscription that need not be waited for. For one goroutine at a time.
type Stream struct {
	m    *member
	wake func()
	data encoded
	fill string
}

// Of is the stream of an operation, by the context it was begun with; nil: what
// it answers has to be waited for.
func Of(ctx context.Context) *Stream {
	o, ok := ctx.Value(offerKey{}).(*offer)
	if !ok || o.member == nil || o.quick == nil {
		return nil
	}
	return &Stream{m: o.member}
}

// Woken has f called whenever Next may have more. f does not block.
func (s *Stream) Woken(f func()) {
	s.wake = f
	s.m.src.quick.woken(f)
}

// Next takes the data of the next response, if that needs nobody to wait; Len and
// AppendTo are of what it took.
func (s *Stream) Next() Readiness {
	m := s.m
	if len(m.queue) == 0 {
		list, ok := m.src.quick.now()
		if !ok {
			return Ask
		}
		if len(list) == 0 {
			return Quiet
		}
		m.queue = list
	}
	p := m.queue[0]
	if p.class == nil {
		return Ask
	}
	e, r := m.shape.ask(m, p.class, s.wake)
	if r == Ready {
		m.shift()
		s.data, s.fill = e, p.fill
	}
	return r
}

// Len is the number of bytes that Next took.
func (s *Stream) Len() int { return s.data.size() + max(0, len(s.data)-1)*len(s.fill) }

// AppendTo appends what Next took, and lets it go.
func (s *Stream) AppendTo(dst []byte) []byte {
	dst = s.data.appendTo(dst, s.fill)
	s.data, s.fill = nil, ""
	return dst
}

// Nothing is the response of a Stream that was asked with Looking and has none.
var Nothing = &graphql.Response{}

type lookingKey struct{}

// Looking is a context in which a Stream's response is not waited for.
func Looking(ctx context.Context) context.Context { return context.WithValue(ctx, lookingKey{}, true) }

func looking(ctx context.Context) bool { return ctx.Value(lookingKey{}) != nil }

// quick is what an offer has of a Quick source.
type quick struct {
	now   func() ([]piece, bool)
	look  func(context.Context) ([]piece, error)
	woken func(func())
}
