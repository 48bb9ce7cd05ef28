package limit

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Turns has callers work a few things at a time, each its own few, and all
// together no more than there is room for. Who is waiting gets the next turn
// before who waits behind it, and callers take turns one after another: however
// much one of them asks at once, another waits for one of its things at most.
// Of one caller's things those of the operation that began first go first: else
// each of many would be half done, and hold what it has, until all are.
type Turns struct {
	each int
	last atomic.Uint64 // operation that began

	mu      sync.Mutex
	free    int                // guarded by mu
	callers map[string]*caller // guarded by mu: with something running or waiting
	ring    []*caller          // guarded by mu: that wait, who is next first
}

type caller struct {
	key     string
	running int
	queue   []waiter // whose operation began first is first
}

// waiter is a thing that waits, of the operation that began as the of-th.
type waiter struct {
	of   uint64
	come chan struct{} // closed when its turn has come
}

type operationKey struct{}

// operation is ctx for all things of one operation that begins now.
func (t *Turns) operation(ctx context.Context) context.Context {
	return context.WithValue(ctx, operationKey{}, t.last.Add(1))
}

// of is which operation a thing is of: one of its own, where nothing is said.
func (t *Turns) of(ctx context.Context) uint64 {
	if n, ok := ctx.Value(operationKey{}).(uint64); ok {
		return n
	}
	return t.last.Add(1)
}

// NewTurns has room for so many things, and so many of one caller.
func NewTurns(all, each int) *Turns {
	return &Turns{each: max(each, 1), free: max(all, 1), callers: map[string]*caller{}}
}

// Take waits for a turn; done gives it back. Errors: ctx's.
func (t *Turns) Take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	c := t.callers[key]
	if c == nil {
		c = &caller{key: key}
		t.callers[key] = c
	}
	mine := waiter{t.of(ctx), make(chan struct{})}
	at, _ := slices.BinarySearchFunc(c.queue, mine.of+1, func(w waiter, of uint64) int { return cmp.Compare(w.of, of) })
	c.queue = slices.Insert(c.queue, at, mine)
	if len(c.queue) == 1 {
		t.ring = append(t.ring, c)
	}
	t.nextLocked()
	t.mu.Unlock()
	select {
	case <-mine.come:
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if i := slices.Index(c.queue, mine); i >= 0 {
			c.queue = slices.Delete(c.queue, i, i+1)
			if len(c.queue) == 0 {
				t.ring = slices.DeleteFunc(t.ring, func(x *caller) bool { return x == c })
			}
		} else { // it had come in this very moment
			c.running--
			t.free++
			t.nextLocked()
		}
		t.dropLocked(c)
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		c.running--
		t.free++
		t.nextLocked()
		t.dropLocked(c)
	}), nil
}

// Waiting is how many things of a caller's wait for their turn.
func (t *Turns) Waiting(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.callers[key]; c != nil {
		return len(c.queue)
	}
	return 0
}

// nextLocked gives the turns that are free.
func (t *Turns) nextLocked() {
	for t.free > 0 {
		at := slices.IndexFunc(t.ring, func(c *caller) bool { return c.running < t.each })
		if at < 0 {
			return
		}
		c := t.ring[at]
		t.ring = slices.Delete(t.ring, at, at+1)
		close(c.queue[0].come)
		c.queue = c.queue[1:]
		c.running++
		t.free--
		if len(c.queue) > 0 {
			t.ring = append(t.ring, c)
		}
	}
}

func (t *Turns) dropLocked(c *caller) {
	if c.running == 0 && len(c.queue) == 0 {
		delete(t.callers, c.key)
	}
}

// Fair is a gqlgen extension: each root field of a query or a mutation, and the
// beginning of a subscription, waits for its caller's turn. What only waits
// meanwhile gives its turn back (package wait says how).
type Fair struct {
	Turns *Turns
	Key   func(ctx context.Context) (key string, exempt bool)
}

var (
	_ graphql.HandlerExtension     = Fair{}
	_ graphql.OperationInterceptor = Fair{}
	_ graphql.RootFieldInterceptor = Fair{}
)

// ExtensionName is gqlgen's.
func (Fair) ExtensionName() string { return "Turns" }

// Validate is gqlgen's.
func (Fair) Validate(graphql.ExecutableSchema) error { return nil }

// InterceptOperation has a subscription wait for its turn to begin, and what others
// do be of one operation.
func (f Fair) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if graphql.GetOperationContext(ctx).Operation.Operation != ast.Subscription {
		return next(f.Turns.operation(ctx))
	}
	key, exempt := f.Key(ctx)
	if exempt {
		return next(ctx)
	}
	done, err := f.Turns.Take(ctx, key)
	if err != nil {
		return func(context.Context) *graphql.Response { return nil } // nobody is left to answer
	}
	defer done()
	return next(ctx)
}

// InterceptRootField has a root field wait for its turn.
func (f Fair) InterceptRootField(ctx context.Context, next graphql.RootResolver) graphql.Marshaler {
	key, exempt := f.Key(ctx)
	if exempt || graphql.GetOperationContext(ctx).Operation.Operation == ast.Subscription {
		return next(ctx)
	}
	done, err := f.Turns.Take(ctx, key)
	if err != nil {
		return next(ctx) // its context has ended, and so it ends by itself
	}
	held := done
	defer func() { held() }()
	return next(wait.WithPause(ctx, func() func(context.Context) error {
		held()
		held = func() {}
		return func(ctx context.Context) error {
			again, err := f.Turns.Take(ctx, key)
			if err == nil {
				held = again
			}
			return err
		}
	}))
}
