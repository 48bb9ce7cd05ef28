package events

import (
	"cmp"
	"context"
	"hash/maphash"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// MessageReader is Messages for one who asks, instead of a channel. For one
// goroutine.
type MessageReader struct {
	t    *teller
	hole string
}

// ReadMessages begins what Messages streams. hole stands for the cursor in what is
// told many. Errors: as Messages.
func (s *Service) ReadMessages(ctx context.Context, v viewer.Viewer, channel uuid.UUID, hole string) (*MessageReader, error) {
	t, err := s.open(ctx, v, "", []uuid.UUID{channel}, false, func(error) {})
	if err != nil {
		return nil, err
	}
	return &MessageReader{t, hole}, nil
}

// Close ends it; a waiting Next returns.
func (r *MessageReader) Close() { r.t.st.Close() }

// Told is what happened to a message, as a viewer is told.
type Told struct {
	Event  *MessageEvent // with the hole for a cursor; others' too, and changed by nobody
	Cursor string
	// Class is the same for all viewers who are told the same, but for the
	// cursor; ok false: this is told the viewer alone.
	Class MessageClass
	Alike bool
}

// Next waits for more. Its error ends it: as of Messages, or ctx's.
func (r *MessageReader) Next(ctx context.Context) ([]Told, error) {
	for {
		out, _, err := r.read(ctx, r.t.st.Next)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
}

// Look is Next without waiting for news: nothing where there are none.
func (r *MessageReader) Look(ctx context.Context) ([]Told, error) {
	for {
		out, more, err := r.read(ctx, r.t.st.Look)
		if err != nil || len(out) > 0 || !more {
			return out, err
		}
	}
}

func (r *MessageReader) read(ctx context.Context, next func(context.Context) (feed.Batch, error)) (out []Told, more bool, err error) {
	b, err := next(ctx)
	if err != nil {
		return nil, false, cmp.Or(ctx.Err(), err)
	}
	if b.Reset != "" && b.Reset != feed.Started {
		return nil, false, errAnew
	}
	items := make([]*feed.Item, len(b.Items))
	for i := range b.Items {
		items[i] = &b.Items[i]
	}
	return r.told(items), b.Reset != "" || len(b.Items) > 0, nil
}

// Now is Next without waiting for anything; ok false: Look is to be asked.
// Neither: nothing has happened, and what does wakes.
func (r *MessageReader) Now() (list []Told, ok bool) {
	items, ok := r.t.st.Now()
	return r.told(items), ok
}

// Woken has f called whenever Now or Next may have more. f must not block.
func (r *MessageReader) Woken(f func()) { r.t.st.Woken(f) }

func (r *MessageReader) told(items []*feed.Item) (out []Told) {
	for _, it := range items {
		if !it.Kind.OfMessage() {
			continue
		}
		if out == nil {
			out = make([]Told, 0, len(items))
		}
		out = append(out, r.tell(it))
	}
	return out
}

// tell is what one viewer is told of an entry: what all are who did not send the
// message, made once for them, or its sender's own.
func (r *MessageReader) tell(it *feed.Item) Told {
	cursor := r.t.st.Cursor(it.Entry)
	others, made := it.Once(feed.ForMessages, func() any { return r.toldBy(it, viewer.Viewer{}) }).(*Told)
	if made && others.Alike {
		if sent := others.Event.Message.SenderID; sent == nil || *sent != r.t.v.User {
			return Told{Event: others.Event, Cursor: cursor, Class: others.Class, Alike: true}
		}
	}
	own := r.toldBy(it, r.t.v)
	own.Cursor = cursor
	return *own
}

func (r *MessageReader) toldBy(it *feed.Item, v viewer.Viewer) *Told {
	x := &Told{Event: &MessageEvent{Kind: it.Kind, Message: bodyFor(it, v.User), Cursor: r.hole}}
	x.Class, x.Alike = classOf(*x.Event, it.Entry, v)
	return x
}

// MessageClass is an event and all on which it depends what a viewer is told of
// it. Made by classOf alone, of what the viewer is told.
type MessageClass struct {
	pos  int64
	kind feed.Kind
	is   uint64 // of all of the message as it is told
}

var seed = maphash.MakeSeed()

// classOf is the class of an event. The sender of a message is told its key and
// how far it came: that is nobody else's.
func classOf(e MessageEvent, at feed.Entry, v viewer.Viewer) (MessageClass, bool) {
	m := e.Message
	if m.ClientMessageID != nil || m.SenderID != nil && *m.SenderID == v.User {
		return MessageClass{}, false
	}
	return MessageClass{pos: at.Pos, kind: e.Kind, is: sum(m)}, true
}

// sum stands for all a message says.
func sum(m message.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(s *string) {
		if s == nil {
			_ = h.WriteByte(0)
			return
		}
		maphash.WriteComparable(&h, len(*s))
		_, _ = h.WriteString(*s)
	}
	id := func(x *uuid.UUID) {
		if x == nil {
			x = &uuid.UUID{}
		}
		_, _ = h.Write(x[:])
	}
	instant := func(t *time.Time) {
		if t == nil {
			t = &time.Time{}
		}
		maphash.WriteComparable(&h, t.UnixNano())
	}
	for _, x := range []*uuid.UUID{&m.ID, &m.ChannelID, m.ThreadID, m.ParentMessageID, m.SenderID, m.EditedBy} {
		id(x)
	}
	text(m.Content)
	text((*string)(&m.Type))
	maphash.WriteComparable(&h, len(m.Metadata))
	_, _ = h.Write(m.Metadata)
	maphash.WriteComparable(&h, len(m.Mentions))
	for _, x := range m.Mentions {
		id(&x)
	}
	maphash.WriteComparable(&h, [3]int64{m.Number, int64(m.Version), int64(len(m.Type))})
	maphash.WriteComparable(&h, m.Gone)
	for _, x := range []*time.Time{&m.CreatedAt, m.EditedAt, m.DeletedAt} {
		instant(x)
	}
	return h.Sum64()
}
