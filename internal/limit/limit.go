// Package limit keeps any one caller from costing the others: how often it may
// start an operation, and how large one may be. Who the caller is, it is told.
package limit

import (
	"context"
	"math"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/time/rate"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

const (
	mostKeys = 100_000 // callers remembered; a key beyond pushes out the one longest unused
	minute   = time.Minute
)

// Limiter is a token bucket for each key: a minute's worth at once, refilled
// evenly. A key not used for two minutes has a full bucket again anyhow, so
// that forgetting it gives nobody anything.
type Limiter struct {
	perMinute int
	buckets   *expirable.LRU[string, *rate.Limiter]
}

// New allows each key so many a minute.
func New(perMinute int) *Limiter {
	return &Limiter{perMinute: perMinute, buckets: expirable.NewLRU[string, *rate.Limiter](mostKeys, nil, 2*minute)}
}

// Allow takes one from key's bucket; where it is empty, when to come back.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) {
	b, found := l.buckets.Get(key)
	if !found {
		b = rate.NewLimiter(rate.Limit(float64(l.perMinute)/minute.Seconds()), l.perMinute)
		if old, raced := l.buckets.Peek(key); raced {
			b = old
		}
		l.buckets.Add(key, b)
	}
	r := b.Reserve()
	if d := r.Delay(); d > 0 {
		r.Cancel()
		return false, time.Duration(math.Ceil(d.Seconds()*1000)) * time.Millisecond
	}
	return true, 0
}

// Operations is a gqlgen extension: each operation started takes one from its
// caller's bucket.
type Operations struct {
	Limiter *Limiter
	Key     func(ctx context.Context) (key string, exempt bool)
	Present graphql.ErrorPresenterFunc
}

var (
	_ graphql.HandlerExtension     = Operations{}
	_ graphql.OperationInterceptor = Operations{}
)

// ExtensionName is gqlgen's.
func (Operations) ExtensionName() string { return "OperationRate" }

// Validate is gqlgen's.
func (Operations) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptOperation refuses what is one too many.
func (o Operations) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	key, exempt := o.Key(ctx)
	if exempt {
		return next(ctx)
	}
	if ok, after := o.Limiter.Allow(key); !ok {
		err := fault.Later(fault.RateLimited, after, "more than %d operations a minute", o.Limiter.perMinute)
		return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{o.Present(ctx, err)}})
	}
	return next(ctx)
}
