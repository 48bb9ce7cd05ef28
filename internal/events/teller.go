package events

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

const passedMost = 500 // deliveries read at once

// teller turns what a stream of the log has into what one viewer is told.
type teller struct {
	o        Options
	patience *patience
	v        viewer.Viewer
	st       *feed.Stream
	fail     func(error)
	// join has what is handed over counted as delivered; nil: the client says so itself.
	join    func(viewer.Viewer) *handed
	handed  *handed                       // what was, once join was called
	unread  *unread[receipt.State]        // nil: nobody asks
	threads *threads                      // nil: nobody asks
	aside   []func(context.Context) error // run beside, and end the stream with their error
}

// open begins a stream of the log. deliver: what is handed over counts as delivered.
func (s *Service) open(ctx context.Context, v viewer.Viewer, cursor string, channels []uuid.UUID, deliver bool, fail func(error)) (*teller, error) {
	st, err := s.o.Feed.Open(ctx, v, cursor, channels)
	if err != nil {
		return nil, err
	}
	t := &teller{o: s.o, patience: s.patience, v: v, st: st, fail: fail}
	if deliver {
		t.join = s.delivering
	}
	return t, nil
}

// each calls tell with every batch until the stream or ctx ends, and leaves
// the error that ends it.
func (t *teller) each(ctx context.Context, tell func(context.Context, feed.Batch) error) {
	defer t.st.Close()
	within, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	if t.join != nil {
		t.handed = t.join(t.v)
		defer t.handed.leave()
		wg.Go(func() { t.handed.run(within) })
	}
	for _, run := range t.aside {
		wg.Go(func() {
			if err := run(within); err != nil {
				cancel(err)
			}
		})
	}
	for {
		b, err := t.st.Next(within)
		if err == nil {
			err = tell(within, b)
		}
		if err != nil {
			if ctx.Err() == nil {
				t.fail(cmp.Or(context.Cause(within), err))
			}
			return
		}
	}
}

// stream is the channel of what tell makes of each batch. It ends where the log
// begins anew.
func stream[T any](ctx context.Context, t *teller, out chan T, tell func(context.Context, chan<- T, feed.Batch) error) <-chan T {
	go func() {
		defer close(out)
		t.each(ctx, func(ctx context.Context, b feed.Batch) error {
			if b.Reset != "" && b.Reset != feed.Started {
				return errAnew
			}
			return tell(ctx, out, b)
		})
	}()
	return out
}

// push hands x to a subscription. The error is ctx's: it has ended.
func push[T any](ctx context.Context, out chan<- T, x T) error {
	select {
	case out <- x:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// messages tells what happens to messages.
func (t *teller) messages(ctx context.Context, out chan<- MessageEvent, b feed.Batch) error {
	for _, it := range b.Items {
		if !it.Kind.OfMessage() {
			continue
		}
		m := t.body(it)
		if err := push(ctx, out, MessageEvent{Kind: it.Kind, Message: m, Cursor: t.st.Cursor(it.Entry)}); err != nil {
			return err
		}
		t.written(it, m)
	}
	return nil
}

// delivered tells how far the viewer's messages come.
func (t *teller) delivered(ctx context.Context, out chan<- receipt.Delivery, b feed.Batch) error {
	var moves []int64
	for _, it := range b.Items {
		if it.Kind == feed.Mark && it.User != t.v.User {
			moves = append(moves, it.Ref)
		}
	}
	return t.deliveries(ctx, moves, func(d receipt.Delivery) error { return push(ctx, out, d) })
}

// reading tells how far the viewer is: what it read itself at once, what others
// did to it by way of unread.
func (t *teller) reading(ctx context.Context, out chan<- receipt.State, b feed.Batch) error {
	var moved []uuid.UUID
	for _, it := range b.Items {
		if affects(it, t.v.User) {
			t.unread.changed(it.Channel, it.Pos)
		}
		if it.Kind == feed.Mark && it.User == t.v.User && it.Thread == uuid.Nil && !slices.Contains(moved, it.Channel) {
			moved = append(moved, it.Channel)
		}
	}
	for _, channel := range moved {
		if err := t.unread.atOnce(ctx, channel, 0, func(s receipt.State) error { return push(ctx, out, s) }); err != nil {
			return err
		}
	}
	return nil
}

// readingThreads tells how far the viewer is in threads: what it did itself at once,
// what others did in those it follows by way of threads.
func (t *teller) readingThreads(ctx context.Context, out chan<- receipt.ThreadState, b feed.Batch) error {
	var moved []uuid.UUID
	for _, it := range b.Items {
		if it.Kind == feed.Mark && it.User == t.v.User && it.Thread != uuid.Nil && !slices.Contains(moved, it.Thread) {
			moved = append(moved, it.Thread)
		}
	}
	for _, thread := range moved {
		if err := t.threads.atOnce(ctx, thread, 0, func(s receipt.ThreadState) error { return push(ctx, out, s) }); err != nil {
			return err
		}
	}
	return t.threads.heard(ctx, b.Items, t.v.User)
}

// watchThreads has tell hear of the threads that the viewer follows, beside the stream.
func (t *teller) watchThreads(every time.Duration, tell func(context.Context, receipt.ThreadState) error) {
	t.threads = newThreads(every,
		func(ctx context.Context, ids []uuid.UUID) ([]receipt.ThreadState, error) {
			return patiently(ctx, t.patience, func(ctx context.Context) ([]receipt.ThreadState, error) {
				return t.o.Receipts.Threads.States(ctx, t.v, ids)
			})
		},
		func(ctx context.Context) ([]uuid.UUID, error) {
			return patiently(ctx, t.patience, func(ctx context.Context) ([]uuid.UUID, error) { return t.o.Receipts.Threads.Followed(ctx, t.v) })
		}, tell)
	t.aside = append(t.aside, t.threads.run)
}

// body is the message of an entry as its viewer may see it; of one that is no
// more, what the entry itself knows.
func (t *teller) body(it feed.Item) message.Message { return bodyFor(&it, t.v.User) }

func bodyFor(it *feed.Item, user uuid.UUID) message.Message {
	now, there := MessageOf(it.Body)
	if there && !now.Gone {
		return now.For(user)
	}
	at := it.At
	m := message.Message{ID: it.Message, ChannelID: it.Channel, Number: it.Seq, Version: 1, Type: message.TypeText, CreatedAt: at, DeletedAt: &at, Gone: true}
	if there {
		m.Version = now.Version
	}
	return m
}

// MessageOf is what the log reads for a message; false: there is none any more.
func MessageOf(b feed.Body) (message.Message, bool) {
	m, there := b.(message.Message)
	return m, there
}

// written notes that somebody else's message was handed over.
func (t *teller) written(it feed.Item, m message.Message) {
	if t.handed != nil && it.Kind == feed.Created && !m.Gone && it.User != t.v.User {
		t.handed.note(receipt.Mark{Channel: m.ChannelID, Message: m.ID}, it.Seq)
	}
}

// deliveries are the viewer's messages that others' marks passed, in parts.
func (t *teller) deliveries(ctx context.Context, moves []int64, tell func(receipt.Delivery) error) error {
	if len(moves) == 0 {
		return nil
	}
	ids, err := patiently(ctx, t.patience, func(ctx context.Context) ([]uuid.UUID, error) {
		return t.o.Receipts.Passed(ctx, t.v, moves)
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(ids, passedMost) {
		list, err := patiently(ctx, t.patience, func(ctx context.Context) ([]receipt.Delivery, error) {
			return t.o.Receipts.Deliveries(ctx, t.v, part)
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

func (t *teller) readStates(ctx context.Context, channels []uuid.UUID) ([]receipt.State, error) {
	return patiently(ctx, t.patience, func(ctx context.Context) ([]receipt.State, error) {
		return t.o.Receipts.States(ctx, t.v, channels)
	})
}
