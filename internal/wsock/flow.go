package wsock

import (
	"bytes"
	"context"
	"unicode/utf8"

	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/share"
)

// flow is an operation that has no goroutine while it only tells what others are
// told too: the runner takes what is ready, whenever there is more. What has to be
// executed, or asked of the database, is done by a goroutine of its own, one
// response long.
type flow struct {
	task

	o          *operation
	s          *share.Stream
	head, tail []byte // around the data of a response
}

// framesAtOnce is how many frames of one operation are taken in turn.
const framesAtOnce = 16

// begins has the operation go on as a flow.
func (o *operation) begins(s *share.Stream) {
	head, tail := o.around(o.kind())
	f := &flow{o: o, s: s, head: append(head, `{"data":`...), tail: []byte("}" + tail)}
	f.r, f.do = &o.c.t.runner, f.step
	o.flow = f
	s.Woken(f.wake)
	context.AfterFunc(o.ctx, f.wake)
	f.r.step(&f.task)
}

// step queues what is ready, without waiting for anything.
func (f *flow) step() {
	o := f.o
	defer func() {
		if p := recover(); p != nil {
			go o.end(o.failed(o.ctx, p))
		}
	}()
	for range framesAtOnce {
		if o.ctx.Err() != nil {
			o.end(nil)
			return
		}
		quiet := !o.c.queue.space(&f.task)
		if !quiet {
			switch f.s.Next() {
			case share.Quiet:
				quiet = true
			case share.Ask:
				go o.goOn(f.ask)
				return
			case share.Ready:
				out := frame{op: o}
				if size := len(f.head) + f.s.Len() + len(f.tail); size > limit.Roomy { // its bytes are shared, but for this copy
					var err error
					if out.done, err = o.room(o.in, size); err != nil {
						go o.end(o.errorFrame(told(err)))
						return
					}
				}
				out.data = f.frame()
				o.c.say(out)
			}
		}
		if quiet && f.rest() {
			return
		}
	}
	f.r.step(&f.task)
}

// frame is the message of what is ready.
func (f *flow) frame() []byte {
	b := make([]byte, 0, len(f.head)+f.s.Len()+len(f.tail))
	b = f.s.AppendTo(append(b, f.head...))
	if data := b[len(f.head):]; !utf8.Valid(data) { // a text frame that is not UTF-8 would cost the socket
		b = append(b[:len(f.head)], bytes.ToValidUTF8(bytes.Clone(data), []byte("\uFFFD"))...)
	}
	return append(b, f.tail...)
}

// ask is one response that has to be waited for.
func (f *flow) ask() (last []byte, rests bool) {
	last, more := f.o.respond(share.Looking(f.o.in))
	if more {
		f.r.step(&f.task)
	}
	return last, more
}
