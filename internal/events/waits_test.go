package events

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// outage is how a connection that the server left looks.
var outage = io.ErrUnexpectedEOF

func logged() (*patience, *bytes.Buffer) {
	var b bytes.Buffer
	return &patience{log: slog.New(slog.NewTextHandler(&b, nil))}, &b
}

// TestAnOutageIsWaitedOut: ever more seldom, told of once by whoever meets it
// first and once when it is over, however often it was tried.
func TestAnOutageIsWaitedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, log := logged()
		var at []time.Duration
		began := time.Now()
		got, err := patiently(t.Context(), p, func(context.Context) (string, error) {
			if at = append(at, time.Since(began)); len(at) < 40 {
				return "", outage
			}
			return "there", nil
		})
		if got != "there" || err != nil {
			t.Fatal(got, err)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap > mostWait || gap < firstWait/2 || i > 8 && gap < mostWait/2 {
				t.Errorf("try %d comes after %v", i+1, gap)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "wait for Postgres") || !strings.Contains(log.String(), "go on") {
			t.Errorf("logged:\n%s", log)
		}
	})
}

// TestAWaitEndsWithItsSubscription at once.
func TestAWaitEndsWithItsSubscription(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := logged()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := patiently(ctx, p, func(context.Context) (int, error) { return 0, outage }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Error("after", took)
		}
	})
}

// TestWhatNoWaitMendsIsGivenUp: a refusal at once, and what fails though
// Postgres answers, as something that may be tried again.
func TestWhatNoWaitMendsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for what, c := range map[string]struct {
			err       error
			tries     int
			code      fault.Code
			retryable bool
		}{
			"a refusal":       {fault.Access(), 1, fault.Denied, false},
			"a broken read":   {errors.New("no such column"), tries, fault.Unexpected, true},
			"a slow one":      {context.DeadlineExceeded, tries, fault.Unexpected, true},
			"one that closed": {context.Canceled, tries, fault.Unexpected, true},
		} {
			p, log := logged()
			n := 0
			_, err := patiently(t.Context(), p, func(context.Context) (int, error) { n++; return 0, c.err })
			if f := fault.From(err); !errors.Is(err, c.err) || n != c.tries || f.Code != c.code || f.Retryable != c.retryable {
				t.Errorf("%s: %v after %d tries", what, err, n)
			}
			if log.Len() > 0 {
				t.Errorf("%s: logged here, and by the edge again: %s", what, log)
			}
		}
	})
}

// TestWhatWasHandedOverIsDelivered a second later, the newest of each channel;
// what was handed over within the last second of a subscription is not, and
// nothing of it is left.
func TestWhatWasHandedOverIsDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		acked := map[receipt.Mark]time.Duration{}
		began := time.Now()
		d := newDeliverer(func(_ context.Context, m receipt.Mark) error {
			acked[m] = time.Since(began)
			return receipt.Refusals{fault.Access()} // left meanwhile
		}, nil).stream()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.run(ctx); close(done) }()
		mark := func(channel, n byte) receipt.Mark {
			return receipt.Mark{Channel: uuid.UUID{channel}, Message: uuid.UUID{n}}
		}
		d.note(mark(1, 1), 1)
		d.note(mark(2, 2), 2)
		d.note(mark(1, 3), 3)
		wait.For(ctx, deliverLag+time.Millisecond)
		synctest.Wait()
		if len(acked) != 2 || acked[mark(1, 3)] != deliverLag || acked[mark(2, 2)] != deliverLag {
			t.Error("delivered:", acked)
		}
		d.note(mark(1, 4), 4)
		wait.For(ctx, deliverLag/2)
		cancel()
		<-done
		if len(acked) != 2 {
			t.Error("delivered after the end:", acked)
		}
	})
}

// TestADeliveryIsTriedAgain: what fails for now is acknowledged later, ever more seldom, by
// the newest of its channel; what is refused is not, and what comes meanwhile does not wait.
func TestADeliveryIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tried := map[byte]int{}
		answers := map[byte]error{1: outage, 2: receipt.Refusals{fault.Access()}, 3: receipt.Refusals{fault.Later(fault.Unexpected, 0, "not numbered yet")}}
		d := newDeliverer(func(_ context.Context, m receipt.Mark) error {
			mu.Lock()
			defer mu.Unlock()
			tried[m.Message[0]]++
			return answers[m.Message[0]]
		}, nil).stream()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.run(ctx); close(done) }()
		note := func(n byte) { d.note(receipt.Mark{Channel: uuid.UUID{n % 10}, Message: uuid.UUID{n}}, int64(n)) }
		after := func(pass time.Duration) (map[byte]int, int) { // how often each was tried, and how many are left
			<-time.After(pass)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			d.mu.Lock()
			defer d.mu.Unlock()
			return maps.Clone(tried), len(d.pending)
		}
		for n := range byte(4) {
			note(n)
		}
		if n, _ := after(deliverLag); !maps.Equal(n, map[byte]int{0: 1, 1: 1, 2: 1, 3: 1}) {
			t.Errorf("tried at first: %v", n)
		}
		hour := int(time.Hour / ackMost)
		if n, left := after(time.Hour); n[0] != 1 || n[2] != 1 || n[1] < hour || n[1] > 3*hour || n[3] != n[1] || left != 2 {
			t.Errorf("tried within an hour: %v, and %d are left", n, left)
		}
		note(11) // newer, of the same channel as 1
		before, left := after(deliverLag)
		if before[11] != 1 || left != 1 {
			t.Errorf("what comes meanwhile is tried %d times, and %d are left", before[11], left)
		}
		mu.Lock()
		answers[3] = nil
		mu.Unlock()
		now, left := after(deliverLag + ackMost)
		if now[1] != before[1] || now[3] != before[3]+1 || left != 0 {
			t.Errorf("tried %v, then %v, and %d are left", before, now, left)
		}
		if n, _ := after(time.Hour); !maps.Equal(n, now) {
			t.Errorf("what was acknowledged is tried on: %v, then %v", now, n)
		}
		cancel()
		<-done
	})
}

// TestManyStreamsDeliverOnce: what many streams of one viewer are handed is
// acknowledged once, the newest, in its turn; while one that acknowledged it ends
// another does, and what only a stream that ended was handed is not.
func TestManyStreamsDeliverOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var acked []byte
		turns, most := 0, 0
		free := make(chan struct{}, 1)
		d := newDeliverer(func(ctx context.Context, m receipt.Mark) error {
			if most = max(most, turns); turns != 1 {
				t.Error("without a turn")
			}
			acked = append(acked, m.Message[0])
			select {
			case <-free:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, func(context.Context) (func(), error) { turns++; return func() { turns-- }, nil })
		note := func(h *handed, channel, n byte) {
			h.note(receipt.Mark{Channel: uuid.UUID{channel}, Message: uuid.UUID{n}}, int64(n))
		}
		var streams []*handed
		var ends []func()
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			h, over := d.stream(), make(chan struct{})
			go func() { h.run(ctx); close(over) }()
			synctest.Wait() // the first of them leads
			streams, ends = append(streams, h), append(ends, func() { d.drop(h); cancel(); <-over })
		}
		for i, h := range streams {
			note(h, 1, byte(1+i%7))
		}
		<-time.After(deliverLag)
		synctest.Wait()
		if string(acked) != "\x07" {
			t.Fatalf("acknowledged are %v", acked)
		}
		ends[0]() // in the middle of it: the others' is not lost
		free <- struct{}{}
		<-time.After(deliverLag)
		synctest.Wait()
		if string(acked) != "\x07\x07" {
			t.Errorf("after its end acknowledged are %v", acked)
		}
		note(streams[5], 1, 9)
		note(streams[6], 1, 8)
		ends[5]()
		free <- struct{}{}
		<-time.After(2 * deliverLag)
		synctest.Wait()
		if string(acked) != "\x07\x07\x08" || most != 1 {
			t.Errorf("then acknowledged are %v, %d at a time", acked, most)
		}
		for i, end := range ends {
			if i != 0 && i != 5 {
				end()
			}
		}
		if len(d.streams) != 0 {
			t.Errorf("%d streams are left", len(d.streams))
		}
	})
}

// TestARefusalIsOfOneMessage: what another stream was handed before it is acknowledged.
func TestARefusalIsOfOneMessage(t *testing.T) {
	t.Parallel()
	channel, older, newer := uuid.New(), uuid.New(), uuid.New()
	var acked []uuid.UUID
	d := newDeliverer(func(_ context.Context, m receipt.Mark) error {
		if m.Message == newer {
			return fault.Access()
		}
		acked = append(acked, m.Message)
		return nil
	}, nil)
	d.stream().note(receipt.Mark{Channel: channel, Message: older}, 1)
	d.stream().note(receipt.Mark{Channel: channel, Message: newer}, 2)
	if d.flush(t.Context()) || !d.flush(t.Context()) || len(acked) != 1 || acked[0] != older {
		t.Errorf("%v is acknowledged, want the older", acked)
	}
}
