package presence

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Typists are those of users whose typing the viewer may see, once: each with
// until when what it typed is not the viewer's to know of (zero: all of it is).
func (r *Reader) Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	seen, err := r.look(ctx, v.Key, users)
	if err != nil {
		return nil, err
	}
	out := make(map[uuid.UUID]time.Time, len(seen))
	for i, s := range seen {
		if mayType(s.rec, s.rel) {
			out[users[i]] = typedBefore(s.rec)
		}
	}
	return out, nil
}

// Gate decides for one viewer, and goes on deciding: it notices when the
// answer may have changed. May is for one goroutine, Changed for another.
type Gate struct {
	t    *tracker
	sub  *hub.Sub[subject]
	seen map[uuid.UUID]time.Time // whose typing may be seen, as last asked, and what before is not told
}

// mostGated is how many typists a gate remembers that no longer type.
const mostGated = 200

// Gate opens one for a viewer; it is to be closed.
func (wa *Watcher) Gate(v viewer.Viewer) *Gate {
	t := wa.mirror.track(v, nil)
	return &Gate{t, t.sub, map[uuid.UUID]time.Time{}}
}

// Changed waits until what the viewer may see may have changed.
func (g *Gate) Changed(ctx context.Context) error {
	_, _, err := g.sub.Next(ctx)
	return err
}

// May is which of users the viewer may see typing, as Typists says it, by records
// that know of every change this node answered or heard of before: what was typed
// after a hiding is not told by one from before it. Of one whom it has seen all
// along, a change that left that as it was hides nothing anew. Errors also where a
// record could not be read.
func (g *Gate) May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	out := make(map[uuid.UUID]time.Time, len(users))
	if len(users) == 0 {
		return out, nil
	}
	g.remember(users)
	m := g.t.mirror
	keys := []Key{g.t.v.Key}
	for _, u := range users {
		keys = append(keys, Key{Tenant: g.t.v.Tenant, User: u})
	}
	if err := m.fresh(ctx, keys...); err != nil {
		return nil, err
	}
	if err := g.t.relate(ctx, users); err != nil {
		return nil, err
	}
	viewer, err := m.get(ctx, g.t.v.Key)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		rec, err := m.get(ctx, Key{Tenant: g.t.v.Tenant, User: u})
		if err != nil {
			return nil, err
		}
		rel := g.t.rels[u]
		if rel.at != rec.audience {
			m.mark(Key{Tenant: g.t.v.Tenant, User: u}) // changed this instant: hidden until it has been read again
			continue
		}
		rel.viewer = rel.viewer && viewer.known
		before, seen := g.seen[u]
		if !mayType(rec, rel) {
			delete(g.seen, u)
			continue
		}
		if !seen {
			before = typedBefore(rec)
		}
		g.seen[u] = latest(&before, rec.settings.typingSharedSince)
		out[u] = g.seen[u]
	}
	return out, nil
}

// remember watches users besides those watched already.
func (g *Gate) remember(users []uuid.UUID) {
	known := make(map[uuid.UUID]struct{}, len(g.t.users))
	for _, u := range g.t.users {
		known[u] = struct{}{}
	}
	all := g.t.users
	if len(all) > mostGated {
		all, known = nil, map[uuid.UUID]struct{}{}
		clear(g.seen)
	}
	grown := len(all) != len(g.t.users)
	for _, u := range users {
		if _, ok := known[u]; !ok {
			known[u] = struct{}{}
			all = append(all[:len(all):len(all)], u)
			grown = true
		}
	}
	if grown {
		g.t.set(all)
	}
}

// Close ends it; a waiting Changed returns.
func (g *Gate) Close() { g.t.close() }
