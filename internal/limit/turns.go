package limit

import (
	"context"
	"slices"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Turns has callers work a few things at a time, each its own few, and all
// together no more than there is room for. Who is waiting gets the next turn
// before who waits behind it, and callers take turns one after another: however
// much one of them asks at once, another waits for one of its things at most.
type Turns struct {
	each int

	mu      sync.Mutex
	free    int                // guarded by mu
	callers map[string]*caller // guarded by mu: with something running or waiting
	ring    []*caller          // guarded by mu: that wait, who is next first
}

type caller struct {
	key     string
	running int
	queue   []chan struct{} // each closed when its turn has come
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
	mine := make(chan struct{})
	c.queue = append(c.queue, mine)
	if len(c.queue) == 1 {
		t.ring = append(t.ring, c)
	}
	t.nextLocked()
	t.mu.Unlock()
	select {
	case <-mine:
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

// nextLocked gives the turns that are free.
func (t *Turns) nextLocked() {
	for t.free > 0 {
		at := slices.IndexFunc(t.ring, func(c *caller) bool { return c.running < t.each })
		if at < 0 {
			return
		}
		c := t.ring[at]
		t.ring = slices.Delete(t.ring, at, at+1)
		close(c.queue[0])
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

// InterceptOperation has a subscription wait for its turn to begin.
func (f Fair) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	if graphql.GetOperationContext(ctx).Operation.Operation != ast.Subscription {
		return next(ctx)
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
