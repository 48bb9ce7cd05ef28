package limit

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Length is a gqlgen extension: a document of more bytes is refused before it is
// looked for, counted, parsed or kept anywhere. It comes first of all extensions.
type Length struct{ Bytes int }

var (
	_ graphql.HandlerExtension          = Length{}
	_ graphql.OperationParameterMutator = Length{}
)

// ExtensionName is gqlgen's.
func (Length) ExtensionName() string { return "DocumentLength" }

// Validate is gqlgen's.
func (Length) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters refuses; nothing is mutated.
func (l Length) MutateOperationParameters(_ context.Context, p *graphql.RawParams) *gqlerror.Error {
	if len(p.Query) > l.Bytes {
		return tooLarge("the document has more than %d bytes; values belong into variables", l.Bytes)
	}
	return nil
}

// Cache keeps what was used last, up to some bytes of text. It is gqlgen's cache.
type Cache[T any] struct {
	most int
	size func(key string, v T) int

	mu    sync.Mutex
	bytes int                      // guarded by mu
	byKey map[string]*list.Element // guarded by mu
	used  *list.List               // guarded by mu: the last used first
}

type cached[T any] struct {
	key   string
	value T
	bytes int
}

// NewCache keeps at most so many bytes, as size counts them.
func NewCache[T any](most int, size func(key string, v T) int) *Cache[T] {
	return &Cache[T]{most: most, size: size, byKey: map[string]*list.Element{}, used: list.New()}
}

// Get is gqlgen's.
func (c *Cache[T]) Get(_ context.Context, key string) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return value, false
	}
	c.used.MoveToFront(e)
	return c.of(e).value, true
}

// Add is gqlgen's. What is larger than all there is room for is not kept.
func (c *Cache[T]) Add(_ context.Context, key string, value T) {
	n := c.size(key, value)
	if n > c.most {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		c.dropLocked(e)
	}
	for c.bytes+n > c.most {
		c.dropLocked(c.used.Back())
	}
	c.byKey[key] = c.used.PushFront(&cached[T]{key, value, n})
	c.bytes += n
}

func (c *Cache[T]) of(e *list.Element) *cached[T] {
	x, ok := e.Value.(*cached[T])
	if !ok {
		return &cached[T]{}
	}
	return x
}

func (c *Cache[T]) dropLocked(e *list.Element) {
	x := c.of(e)
	delete(c.byKey, x.key)
	c.used.Remove(e)
	c.bytes -= x.bytes
}

// Bytes is how much is kept.
func (c *Cache[T]) Bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Persisted is Apollo's automatic persisted queries, as two gqlgen extensions:
// Find comes before what looks at documents, and Keep after all that may refuse
// one. Nothing else is ever kept.
type Persisted struct{ Cache *Cache[string] }

// Find finds the document of a hash.
func (p Persisted) Find() graphql.HandlerExtension { return found{p.Cache} }

// Keep keeps a document under its hash.
func (p Persisted) Keep() graphql.HandlerExtension { return kept{p.Cache} }

type (
	found struct{ cache *Cache[string] }
	kept  struct{ cache *Cache[string] }
)

var (
	_ graphql.OperationParameterMutator = found{}
	_ graphql.OperationContextMutator   = kept{}
)

// ExtensionName is gqlgen's.
func (found) ExtensionName() string { return "PersistedQueries" }

// Validate is gqlgen's.
func (found) Validate(graphql.ExecutableSchema) error { return nil }

// ExtensionName is gqlgen's.
func (kept) ExtensionName() string { return "PersistingQueries" }

// Validate is gqlgen's.
func (kept) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters finds the document of a hash that comes alone.
func (p found) MutateOperationParameters(ctx context.Context, raw *graphql.RawParams) *gqlerror.Error {
	asked := raw.Extensions["persistedQuery"]
	if asked == nil {
		return nil
	}
	hash, f := hashOf(asked)
	switch {
	case f != nil:
		return refusal(f)
	case raw.Query != "" && digest(raw.Query) != hash:
		return refusal(fault.New(fault.Invalid, "provided APQ hash does not match query"))
	case raw.Query != "":
		return nil // kept once it has turned out to be good
	}
	query, ok := p.cache.Get(ctx, hash)
	if !ok {
		err := gqlerror.Errorf("PersistedQueryNotFound")
		errcode.Set(err, "PERSISTED_QUERY_NOT_FOUND")
		return err
	}
	raw.Query = query
	return nil
}

// MutateOperationContext keeps a document that came with its hash.
func (p kept) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	if asked := oc.Extensions["persistedQuery"]; asked != nil {
		p.cache.Add(ctx, digest(oc.RawQuery), oc.RawQuery)
	}
	return nil
}

func hashOf(asked any) (string, *fault.Error) {
	m, _ := asked.(map[string]any)
	hash, ok := m["sha256Hash"].(string)
	if !ok {
		return "", fault.New(fault.Invalid, "invalid APQ extension data")
	}
	if !isOne(m["version"]) {
		return "", fault.New(fault.Invalid, "unsupported APQ version")
	}
	return hash, nil
}

func isOne(v any) bool {
	switch x := v.(type) {
	case float64:
		return x == 1
	case interface{ String() string }: // a number kept as it was written
		return x.String() == "1"
	}
	return false
}

func digest(query string) string {
	sum := sha256.Sum256([]byte(query))
	return hex.EncodeToString(sum[:])
}
