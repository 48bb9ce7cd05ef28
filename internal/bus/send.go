package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// send is the one NOTIFY in flight.
func (b *Bus) send(ctx context.Context) {
	again := retryFirst
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendLimit/3)
			defer cancel()
			_ = b.flush(last)
			return
		case <-b.wake:
		}
		if b.flush(ctx) == nil {
			again = retryFirst
			wait.For(ctx, sendEvery) // what is rung meanwhile goes together
			continue
		}
		if !wait.For(ctx, again) {
			continue
		}
		again = min(2*again, retryMost)
		b.wake.Raise()
	}
}

func (b *Bus) flush(ctx context.Context) error {
	b.mu.Lock()
	topics := b.pending.take()
	b.mu.Unlock()
	if len(topics) == 0 {
		return nil
	}
	if b.nats != nil && b.nats.send(topics) {
		b.hear(strings.Join(topics, "\n")) // what this node rings it hears without NATS
		b.o.Observer.Sent(len(topics))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	err := b.checkQueue(ctx)
	if err == nil && b.congested.Load() {
		return nil // the poll of every node carries it
	}
	if err == nil {
		err = b.notify(ctx, pack(topics))
	}
	if err != nil {
		b.mu.Lock()
		b.pending.again(topics)
		b.mu.Unlock()
		return err
	}
	b.o.Observer.Sent(len(topics))
	return nil
}

func (b *Bus) notify(ctx context.Context, payloads []string) error {
	_, err := b.o.Pool.Exec(ctx, `select pg_notify($1, p) from unnest($2::text[]) p`, Channel, payloads)
	if err != nil {
		return fmt.Errorf("notifying: %w", err)
	}
	return nil
}

// checkQueue reads the fill of the server's queue, at most once a second.
func (b *Bus) checkQueue(ctx context.Context) error {
	if time.Since(b.asked) < time.Second {
		return nil
	}
	var fill float64
	if err := b.o.Pool.QueryRow(ctx, `select pg_notification_queue_usage()`).Scan(&fill); err != nil {
		return fmt.Errorf("reading the notification queue: %w", err)
	}
	b.asked = time.Now()
	if full := fill > fullQueue; b.congested.Swap(full) != full {
		b.o.Observer.Full(full)
	}
	return nil
}

// pack puts topics into as few payloads as hold them.
func pack(topics []string) []string {
	var out []string
	var p strings.Builder
	for _, t := range topics {
		if p.Len()+1+len(t) > maxPayload {
			out = append(out, p.String())
			p.Reset()
		}
		if p.Len() > 0 {
			p.WriteByte('\n')
		}
		p.WriteString(t)
	}
	return append(out, p.String())
}
