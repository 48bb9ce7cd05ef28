package typing

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// The pace of signals: one a second for a room, five over all rooms of a user.
const (
	perRoom      = 1
	burstPerRoom = 2
	perUser      = 5
	burstPerUser = 10
	mostKept     = 50_000
)

// paces hold back those who signal too often.
type paces struct {
	mu   sync.Mutex
	kept *lru.Cache[pace, *rate.Limiter] // guarded by mu: a limiter is asked and taken from in one step
}

// pace is whose it is.
type pace struct {
	typistKey
	all bool // over all rooms
}

func newPaces() *paces { return &paces{kept: newCache[pace, *rate.Limiter]()} }

// take is how long to wait before the next signal; zero: take this one. What
// is refused costs nothing: whoever asks too often is not kept waiting for it.
func (p *paces) take(k typistKey) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	room := p.ofLocked(pace{typistKey: k}, perRoom, burstPerRoom)
	all := p.ofLocked(pace{typistKey: typistKey{roomKey: roomKey{Tenant: k.Tenant}, user: k.user}, all: true}, perUser, burstPerUser)
	if wait := max(until(room, now), until(all, now)); wait > 0 {
		return wait
	}
	room.AllowN(now, 1)
	all.AllowN(now, 1)
	return 0
}

// until is when a limiter has a token again.
func until(l *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

func (p *paces) ofLocked(k pace, each float64, burst int) *rate.Limiter {
	l, ok := p.kept.Get(k)
	if !ok {
		l = rate.NewLimiter(rate.Limit(each), burst)
		p.kept.Add(k, l)
	}
	return l
}

// newCache forgets what was longest unused. An evicted pace has long been full
// again, unless fifty thousand others typed within seconds.
func newCache[K comparable, V any]() *lru.Cache[K, V] {
	c, err := lru.New[K, V](mostKept)
	if err != nil {
		panic(err) // a size below one, which mostKept is not
	}
	return c
}
