package wsock

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"
)

// Drain refuses new sockets and closes the live ones with 1012, spread at
// random over a period so that they do not all return at once. It returns when
// every goroutine of every socket has ended; past ctx those left are cut off.
// Only operations that outlive their context are not waited for; that is logged.
func (t *Transport) Drain(ctx context.Context, over time.Duration) {
	t.mu.Lock()
	t.draining = true
	t.mu.Unlock()
	var timers []*time.Timer
	for _, c := range t.list() {
		wait := time.Duration(0)
		if over > 0 {
			wait = rand.N(over)
		}
		timers = append(timers, time.AfterFunc(wait, func() { c.Close(websocket.CloseServiceRestart, "Service restart") }))
	}
	if !t.await(ctx, &t.serving) {
		for _, timer := range timers {
			timer.Stop()
		}
		for _, c := range t.list() {
			c.abort(websocket.CloseServiceRestart)
		}
	}
	t.mu.Lock()
	t.drained = true
	t.mu.Unlock()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if !t.await(late, &t.sockets) {
		t.o.Log.ErrorContext(ctx, "operations do not end with their sockets", "sockets", t.Len())
	}
}

// await waits until a count of sockets is zero; false: ctx ended first.
func (t *Transport) await(ctx context.Context, count *int) bool {
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.left.Broadcast()
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for *count > 0 && ctx.Err() == nil {
		t.left.Wait()
	}
	return *count == 0
}
