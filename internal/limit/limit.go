// Package limit keeps any one caller from costing the others: how often it may
// start an operation, and how large one may be. Who the caller is, it is told;
// it knows no users, no tokens and no addresses.
package limit

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	mostKeys   = 100_000 // callers remembered at a time
	minute     = time.Minute
	mostDebt   = 2 // minutes
	sweepBatch = 8 // paid debts forgotten at each call: more than a call can add
)

// Limiter is a token bucket for each key: a minute's worth at once, refilled
// evenly. A bucket is kept as the moment at which it will be full again, and
// forgotten at that moment, so that forgetting gives nobody anything.
//
// Memory is bounded. Where every remembered key still owes, a new one takes the
// place, and the debt, of the key that owes least (the space-saving algorithm
// of Metwally, Agrawal and El Abbadi): nobody gets a fresh bucket by bringing
// many keys, and who is heavy is never the one forgotten. To make newcomers
// feel it, somebody has to keep all remembered buckets near empty.
type Limiter struct {
	perMinute int
	each      time.Duration // to refill one
	most      int

	mu   sync.Mutex
	keys map[string]*debt // guarded by mu
	due  debts            // guarded by mu; the same, the least debt first
}

// New allows each key so many a minute, at least one.
func New(perMinute int) *Limiter {
	perMinute = max(perMinute, 1)
	return &Limiter{perMinute: perMinute, each: minute / time.Duration(perMinute), most: mostKeys, keys: map[string]*debt{}}
}

// Allow takes one from key's bucket; where it is empty, how long until it is not.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) { return l.AllowN(key, 1) }

// AllowN takes n at once or none; more than a minute's worth counts as that. A
// refusal costs nothing, and retryAfter is in whole milliseconds, rounded up.
func (l *Limiter) AllowN(key string, n int) (ok bool, retryAfter time.Duration) {
	return l.take(key, time.Duration(min(max(n, 0), l.perMinute))*l.each, false)
}

// Charge takes n for what was done and is known only now, also where the bucket has less:
// it is the debt that the next has to wait for, of two minutes' worth at most.
func (l *Limiter) Charge(key string, n int) {
	if n > 0 {
		l.take(key, time.Duration(min(n, mostDebt*l.perMinute))*l.each, true)
	}
}

func (l *Limiter) take(key string, cost time.Duration, owing bool) (ok bool, retryAfter time.Duration) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(now)
	d, known := l.keys[key]
	full := now
	switch {
	case known:
		full = later(now, d.full)
	case len(l.due) >= l.most:
		full = later(now, l.due[0].full)
	}
	full = full.Add(cost)
	if most := now.Add(mostDebt * minute); owing && full.After(most) {
		full = most
	}
	if over := full.Sub(now) - minute; over > 0 && !owing {
		return false, (over + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	if !known && len(l.due) >= l.most {
		d = l.due[0]
		delete(l.keys, d.key)
		d.key, l.keys[key], known = key, d, true
	}
	if known {
		d.full = full
		heap.Fix(&l.due, d.at)
		return true, 0
	}
	d = &debt{key: key, full: full}
	l.keys[key] = d
	heap.Push(&l.due, d)
	return true, 0
}

// GiveBack undoes an AllowN that was taken in vain.
func (l *Limiter) GiveBack(key string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d, known := l.keys[key]; known {
		d.full = d.full.Add(-time.Duration(min(max(n, 0), l.perMinute)) * l.each)
		heap.Fix(&l.due, d.at)
	}
}

// forget drops some of the keys that owe nothing any more.
func (l *Limiter) forget(now time.Time) {
	for range sweepBatch {
		if len(l.due) == 0 || l.due[0].full.After(now) {
			return
		}
		delete(l.keys, l.due[0].key)
		heap.Pop(&l.due)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// debt is one key's bucket: when it is full again, and its place in the heap.
type debt struct {
	key  string
	full time.Time
	at   int
}

// debts is a heap for container/heap.
type debts []*debt

func (d debts) Len() int           { return len(d) }
func (d debts) Less(i, j int) bool { return d[i].full.Before(d[j].full) }
func (d debts) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].at, d[j].at = i, j
}

// Push is heap.Interface's.
func (d *debts) Push(x any) {
	e, ok := x.(*debt)
	if !ok {
		return
	}
	e.at = len(*d)
	*d = append(*d, e)
}

// Pop is heap.Interface's.
func (d *debts) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return e
}

// Operations is a gqlgen extension: each operation asked for takes one from its
// caller's bucket, before it is parsed. What does not parse has cost something
// too, and what is refused shall cost nothing. Refusals are rate-limited faults
// with the time to wait.
type Operations struct {
	Limiter *Limiter
	Key     func(ctx context.Context) (key string, exempt bool)
}

var (
	_ graphql.HandlerExtension          = Operations{}
	_ graphql.OperationParameterMutator = Operations{}
)

// ExtensionName is gqlgen's.
func (Operations) ExtensionName() string { return "OperationRate" }

// Validate is gqlgen's.
func (Operations) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses what is one too many. Nothing is mutated:
// it is where gqlgen asks first.
func (o Operations) MutateOperationParameters(ctx context.Context, _ *graphql.RawParams) *gqlerror.Error {
	key, exempt := o.Key(ctx)
	if exempt {
		return nil
	}
	if f := o.Limiter.Take(key); f != nil {
		return refusal(f)
	}
	return nil
}

// Take counts an operation of a key, or says when there may be one again.
func (l *Limiter) Take(key string) *fault.Error { return l.TakeN(key, 1) }

// TakeN is AllowN, as a fault.
func (l *Limiter) TakeN(key string, n int) *fault.Error {
	if ok, after := l.AllowN(key, n); !ok {
		return fault.Later(fault.RateLimited, after, "more than %d operations a minute", l.perMinute)
	}
	return nil
}

func refusal(f *fault.Error) *gqlerror.Error {
	return &gqlerror.Error{Err: f, Message: f.Message, Extensions: f.Extensions()}
}
