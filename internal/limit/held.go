package limit

import (
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Held bounds what each caller has at a time, in whatever is counted: watched
// ids, polls that wait.
type Held struct {
	most int
	what string

	mu sync.Mutex
	of map[string]int // guarded by mu
}

// NewHeld allows each caller most; what they are is said where one is refused.
func NewHeld(most int, what string) *Held { return &Held{most: most, what: what, of: map[string]int{}} }

// Take holds n more, until back is called. What is too much alone is let in where
// the caller has nothing else and alone says so. Errors: rate-limited.
func (h *Held) Take(key string, n int, alone bool) (back func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	has := h.of[key]
	if has+n > h.most && !(alone && has == 0) {
		return nil, fault.Later(fault.RateLimited, time.Second, "more than %d %s at a time", h.most, h.what)
	}
	h.of[key] = has + n
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.of[key] -= n; h.of[key] <= 0 {
			delete(h.of, key)
		}
	}), nil
}

// Of is how much a caller has.
func (h *Held) Of(key string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[key]
}

// Len is how many callers hold anything.
func (h *Held) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.of)
}
