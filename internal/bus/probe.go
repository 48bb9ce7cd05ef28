package bus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A probe is a doorbell to oneself. It goes out through the pool and comes
// back through LISTEN, and so proves the whole way; a link that is only
// silent would never say that it is dead.
const probePrefix = "probe/"

func (b *Bus) probe(ctx context.Context) {
	t := time.NewTicker(b.o.ProbeEvery)
	defer t.Stop()
	for n := int64(1); ; n++ {
		b.sendProbe(ctx, n)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		b.judge()
	}
}

func (b *Bus) sendProbe(ctx context.Context, n int64) {
	b.probeMu.Lock()
	b.sent[n] = time.Now()
	delete(b.sent, n-16)
	b.probeMu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*b.o.ProbeEvery)
	defer cancel()
	// A probe that cannot be sent is one that is not heard.
	_ = b.notify(ctx, []string{fmt.Sprintf("%s%s/%d", probePrefix, b.node, n)})
}

// answered is a probe heard; other nodes' are theirs.
func (b *Bus) answered(topic string) {
	node, num, _ := strings.Cut(strings.TrimPrefix(topic, probePrefix), "/")
	n, err := strconv.ParseInt(num, 10, 64)
	if node != b.node || err != nil {
		return
	}
	b.probeMu.Lock()
	at, ok := b.sent[n]
	delete(b.sent, n)
	b.heard = time.Now()
	b.probeMu.Unlock()
	if ok {
		b.o.Observer.Lag(time.Since(at))
	}
	if b.stale.Load() {
		// First everything is read again, then doorbells are trusted again.
		b.resync()
		b.setStale(false)
	}
}

// judge calls the bus stale when two probes in a row were not heard.
func (b *Bus) judge() {
	b.probeMu.Lock()
	silent := time.Since(b.heard)
	b.probeMu.Unlock()
	if silent > 5*b.o.ProbeEvery/2 {
		b.setStale(true)
	}
}

func (b *Bus) setStale(stale bool) {
	if b.stale.Swap(stale) != stale {
		b.o.Observer.Stale(stale)
	}
}
