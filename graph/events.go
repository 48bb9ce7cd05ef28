package graph

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

const (
	tellAgain  = time.Second // after a read that failed: an outage only delays
	deliverLag = time.Second // a message counts as delivered so long after it was handed to the socket
	ackLimit   = 10 * time.Second
	passedMost = 500 // deliveries read at once
)

// teller turns what a stream of the log has into what one viewer is told.
type teller struct {
	r  *Resolver
	v  viewer.Viewer
	st *feed.Stream
	// deliver counts what was written to the socket; nil: the client says so itself.
	deliver *deliverer
}

func (r *Resolver) open(ctx context.Context, cursor *string, channels []uuid.UUID) (*teller, error) {
	v, err := r.caller(ctx)
	if err != nil {
		return nil, err
	}
	from := ""
	if cursor != nil {
		from = *cursor
	}
	st, err := r.deps.Feed.Open(ctx, v, from, channels)
	if err != nil {
		return nil, err
	}
	t := &teller{r: r, v: v, st: st}
	if r.deps.AutoDeliver(ctx) {
		t.deliver = &deliverer{ack: func(ctx context.Context, marks []receipt.Mark) error {
			_, err := r.deps.Receipts.Acknowledge(ctx, v, marks, false)
			return err
		}}
	}
	return t, nil
}

// each calls tell with every batch until the stream or ctx ends, and leaves
// the error that ends it.
func (t *teller) each(ctx context.Context, tell func(feed.Batch) error) {
	defer t.st.Close()
	defer t.deliver.close()
	for {
		b, err := t.st.Next(ctx)
		if err == nil {
			err = tell(b)
		}
		if err != nil {
			if ctx.Err() == nil {
				failer(ctx)(err)
			}
			return
		}
	}
}

// patiently does a read again until it works: the log goes on after an outage.
func patiently[T any](ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	for {
		x, err := read(ctx)
		if err == nil {
			return x, nil
		}
		wait := time.NewTimer(tellAgain)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return x, ctx.Err()
		}
	}
}

// body is the message of an entry as its viewer may see it; of one that is no
// more, what the entry itself knows.
func (t *teller) body(it feed.Item) message.Message {
	now, there := it.Body.(message.Message)
	if there && !now.Gone {
		return now.For(t.v.User)
	}
	at := it.At
	m := message.Message{ID: it.Message, ChannelID: it.Channel, Number: it.Seq, Version: 1, Type: message.TypeText, CreatedAt: at, DeletedAt: &at, Gone: true}
	if there {
		m.Version = now.Version
	}
	return m
}

// written notes that somebody else's message went to the socket.
func (t *teller) written(it feed.Item, m message.Message) {
	if it.Kind == feed.Created && !m.Gone && it.User != t.v.User {
		t.deliver.note(m)
	}
}

// deliveries are the viewer's messages that others' marks passed, in parts.
func (t *teller) deliveries(ctx context.Context, moves []int64, tell func(receipt.Delivery) error) error {
	ids, err := patiently(ctx, func(ctx context.Context) ([]uuid.UUID, error) {
		return t.r.deps.Receipts.Passed(ctx, t.v, moves)
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(ids, passedMost) {
		list, err := patiently(ctx, func(ctx context.Context) ([]receipt.Delivery, error) {
			return t.r.deps.Receipts.Deliveries(ctx, t.v, part)
		})
		if err != nil {
			return err
		}
		for _, d := range list {
			if err := tell(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *teller) readState(ctx context.Context, channel uuid.UUID) ([]receipt.State, error) {
	return patiently(ctx, func(ctx context.Context) ([]receipt.State, error) {
		return t.r.deps.Receipts.States(ctx, t.v, []uuid.UUID{channel})
	})
}

// push hands x to a subscription; false: it has ended.
func push[T any](ctx context.Context, out chan<- T, x T) error {
	select {
	case out <- x:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// messages streams what happens to the messages of one channel.
func (t *teller) messages(ctx context.Context) <-chan model.MessageEvent {
	out := make(chan model.MessageEvent)
	go func() {
		defer close(out)
		t.each(ctx, func(b feed.Batch) error {
			for _, it := range b.Items {
				if it.Kind != feed.Created && it.Kind != feed.Updated && it.Kind != feed.Deleted {
					continue
				}
				m := t.body(it)
				if err := push(ctx, out, model.MessageEvent{Kind: it.Kind, Message: m, Cursor: t.st.Cursor(it.Pos)}); err != nil {
					return err
				}
				t.written(it, m)
			}
			return nil
		})
	}()
	return out
}

// delivered streams how far the viewer's messages come.
func (t *teller) delivered(ctx context.Context) <-chan receipt.Delivery {
	out := make(chan receipt.Delivery)
	go func() {
		defer close(out)
		t.each(ctx, func(b feed.Batch) error {
			var moves []int64
			for _, it := range b.Items {
				if it.Kind == feed.Mark && it.User != t.v.User {
					moves = append(moves, it.Ref)
				}
			}
			return t.deliveries(ctx, moves, func(d receipt.Delivery) error { return push(ctx, out, d) })
		})
	}()
	return out
}

// reading streams how far the viewer is, whichever of its devices says so.
func (t *teller) reading(ctx context.Context) <-chan receipt.State {
	out := make(chan receipt.State)
	go func() {
		defer close(out)
		t.each(ctx, func(b feed.Batch) error {
			moved := map[uuid.UUID]struct{}{}
			for _, it := range b.Items {
				if it.Kind == feed.Mark && it.User == t.v.User {
					moved[it.Channel] = struct{}{}
				}
			}
			for channel := range moved {
				list, err := t.readState(ctx, channel)
				if err != nil {
					return err
				}
				for _, s := range list {
					if err := push(ctx, out, s); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}()
	return out
}

// deliverer counts what was handed to a socket as delivered, for connections
// that ask for it.
type deliverer struct {
	ack func(context.Context, []receipt.Mark) error

	mu      sync.Mutex
	pending map[uuid.UUID]receipt.Mark // guarded by mu: the newest of each channel
	timer   *time.Timer                // guarded by mu
	closed  bool                       // guarded by mu
}

func (d *deliverer) note(m message.Message) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending == nil {
		d.pending = map[uuid.UUID]receipt.Mark{}
	}
	d.pending[m.ChannelID] = receipt.Mark{Channel: m.ChannelID, Message: m.ID}
	if d.timer == nil && !d.closed {
		d.timer = time.AfterFunc(deliverLag, d.flush)
	}
}

func (d *deliverer) flush() {
	d.mu.Lock()
	marks := make([]receipt.Mark, 0, len(d.pending))
	for _, m := range d.pending {
		marks = append(marks, m)
	}
	clear(d.pending)
	d.timer = nil
	closed := d.closed
	d.mu.Unlock()
	if closed || len(marks) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackLimit)
	defer cancel()
	for _, m := range marks { // each by itself: a channel left meanwhile is no reason against the others
		_ = d.ack(ctx, []receipt.Mark{m}) // the next message's mark covers it
	}
}

// close forgets what was handed over within the last moment: whether it
// arrived nobody knows, and the client comes back for it.
func (d *deliverer) close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
}
