package graph

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// batch answers one field for many ids with one load: those expected, by the
// aliases of the operation or by the list they stand in, are loaded with the
// first that is asked for. Hasura joins a table's rows as f0, f1, … in one
// operation, without a limit.
type batch[V any] struct {
	root, arg string // the root field whose aliases are expected, and its argument
	load      func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]V, error)

	mu      sync.Mutex
	looked  bool                // guarded by mu: at the operation's aliases
	known   map[uuid.UUID]V     // guarded by mu
	settled map[uuid.UUID]error // guarded by mu: asked for, and how that went
	waiting []uuid.UUID         // guarded by mu: expected
}

func newBatch[V any](root, arg string, load func(context.Context, []uuid.UUID) (map[uuid.UUID]V, error)) *batch[V] {
	return &batch[V]{root: root, arg: arg, load: load, known: map[uuid.UUID]V{}, settled: map[uuid.UUID]error{}}
}

func (b *batch[V]) expect(ids ...uuid.UUID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, ids...)
}

// get is the answer for one id; nil: there is none.
func (b *batch[V]) get(ctx context.Context, id uuid.UUID) (*V, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err, ok := b.settled[id]; ok {
		return b.answer(id, err)
	}
	if b.root != "" && !b.looked {
		b.looked = true
		b.waiting = append(b.waiting, aliased(ctx, b.root, b.arg)...)
	}
	ask := []uuid.UUID{id}
	asked := map[uuid.UUID]struct{}{id: {}}
	for _, x := range b.waiting {
		if _, twice := asked[x]; twice {
			continue
		}
		if _, done := b.settled[x]; !done {
			asked[x] = struct{}{}
			ask = append(ask, x)
		}
	}
	b.waiting = nil
	found, err := b.load(ctx, ask)
	for _, x := range ask {
		b.settled[x] = err
		if v, ok := found[x]; ok {
			b.known[x] = v
		}
	}
	return b.answer(id, err)
}

func (b *batch[V]) answer(id uuid.UUID, err error) (*V, error) {
	if v, ok := b.known[id]; ok && err == nil {
		return &v, nil
	}
	return nil, err
}

// aliased are the ids that the operation's root fields of a name are given.
func aliased(ctx context.Context, field, arg string) (ids []uuid.UUID) {
	oc := graphql.GetOperationContext(ctx)
	for _, f := range graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{"Query"}) {
		if f.Name != field {
			continue
		}
		text, _ := f.ArgumentMap(oc.Variables)[arg].(string)
		if id, err := uuid.Parse(text); err == nil { // what is none, its own resolver refuses
			ids = append(ids, id)
		}
	}
	return ids
}

// loaders are the batches of one response.
type loaders struct {
	presence   *batch[presence.View]
	disclosure *batch[presence.Disclosure]
	counts     *batch[presence.Counts]
	delivery   *batch[receipt.Delivery]
	receipts   *batch[*receipt.Ledger]
	states     *batch[receipt.State]
	threads    *batch[receipt.ThreadState]
	messages   *batch[message.Message]
	hidden     func() (bool, error) // whether the viewer is invisible; asked once
}

type loadersKey struct{}

// Batch is gqlgen's response middleware: fields of one response are answered together.
func (r *Resolver) Batch(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	return next(context.WithValue(ctx, loadersKey{}, r.newLoaders(ctx)))
}

func (r *Resolver) loaders(ctx context.Context) *loaders {
	if l, ok := ctx.Value(loadersKey{}).(*loaders); ok {
		return l
	}
	return r.newLoaders(ctx)
}

func (r *Resolver) newLoaders(ctx context.Context) *loaders {
	v := r.viewer(ctx)
	read := r.deps.Presence.Read
	l := &loaders{
		hidden: sync.OnceValues(func() (bool, error) {
			s, err := read.Settings(ctx, v)
			return s.InvisibleMode, err
		}),
		presence: newBatch("presence", "userId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]presence.View, error) {
			list, err := read.Presences(ctx, v, ids)
			return index(list, func(x presence.View) uuid.UUID { return x.UserID }), err
		}),
		disclosure: newBatch("presenceVisibility", "userId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]presence.Disclosure, error) {
			return read.Visibilities(ctx, v, ids)
		}),
		counts: newBatch("channelPresenceCounts", "channelId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]presence.Counts, error) {
			return read.ChannelCounts(ctx, v, ids)
		}),
	}
	l.messages = newBatch("message", "id", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]message.Message, error) {
		found, err := r.deps.Feed.Past.Visible(ctx, v, ids)
		out := make(map[uuid.UUID]message.Message, len(found))
		for id, body := range found {
			m, _ := events.MessageOf(body)
			out[id] = m.For(v.User)
			if m.SenderID != nil && *m.SenderID == v.User {
				l.delivery.expect(id)
			}
		}
		return out, err
	})
	if v.Denied() != nil { // has no messages and has read nothing: no error, for Hasura's joins
		l.threads = nothing[receipt.ThreadState]()
		l.delivery, l.states, l.receipts = nothing[receipt.Delivery](), nothing[receipt.State](), nothing[*receipt.Ledger]()
		return l
	}
	l.delivery = newBatch("messageDelivery", "messageId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]receipt.Delivery, error) {
		list, err := r.deps.Receipts.Deliveries(ctx, v, ids)
		for _, d := range list {
			l.receipts.expect(d.MessageID)
		}
		return index(list, func(x receipt.Delivery) uuid.UUID { return x.MessageID }), err
	})
	l.receipts = newBatch("", "", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*receipt.Ledger, error) {
		ledger, err := r.deps.Receipts.Ledger(ctx, v, ids)
		out := make(map[uuid.UUID]*receipt.Ledger, len(ids))
		for _, id := range ids {
			out[id] = ledger
		}
		return out, err
	})
	l.states = newBatch("readState", "channelId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]receipt.State, error) {
		list, err := r.deps.Receipts.Current(ctx, v, ids)
		return index(list, func(x receipt.State) uuid.UUID { return x.ChannelID }), err
	})
	l.threads = newBatch("threadReadState", "threadId", func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]receipt.ThreadState, error) {
		list, err := r.deps.Receipts.Threads.Current(ctx, v, ids)
		return index(list, func(x receipt.ThreadState) uuid.UUID { return x.ThreadID }), err
	})
	r.later(ctx, l)
	return l
}

// later has what a subscription's events ask for wait for its viewer's turn. The root
// fields of other operations have theirs, and would wait for themselves.
func (r *Resolver) later(ctx context.Context, l *loaders) {
	if !graphql.HasOperationContext(ctx) {
		return
	}
	if op := graphql.GetOperationContext(ctx).Operation; op == nil || op.Operation != ast.Subscription {
		return
	}
	l.delivery.load = inTurn(r.deps.Turn, l.delivery.load)
	l.receipts.load = inTurn(r.deps.Turn, l.receipts.load)
}

type load[V any] = func(context.Context, []uuid.UUID) (map[uuid.UUID]V, error)

func inTurn[V any](turn wait.Turn, read load[V]) load[V] {
	return func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]V, error) {
		return wait.InTurn(ctx, turn, func() (map[uuid.UUID]V, error) { return read(ctx, ids) })
	}
}

func (r *Resolver) expectReceipts(ctx context.Context, list []receipt.Delivery) {
	for _, d := range list {
		r.loaders(ctx).receipts.expect(d.MessageID)
	}
}

func nothing[V any]() *batch[V] {
	return newBatch("", "", func(context.Context, []uuid.UUID) (map[uuid.UUID]V, error) { return nil, nil })
}

func index[V any](list []V, key func(V) uuid.UUID) map[uuid.UUID]V {
	out := make(map[uuid.UUID]V, len(list))
	for _, x := range list {
		out[key(x)] = x
	}
	return out
}

// breaksCover is whether what the caller did shows that it is there, though it is
// invisible; on doubt it is said.
func (r *Resolver) breaksCover(ctx context.Context, done bool) (bool, error) {
	if !done {
		return false, nil
	}
	hidden, err := r.loaders(ctx).hidden()
	return hidden || err != nil, nil //nolint:nilerr // what was done is done: to say nothing of it would be worse
}
