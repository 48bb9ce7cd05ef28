package presence

import (
	"context"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Typists are those of users whose typing the viewer may see, once.
func (r *Reader) Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]bool, error) {
	seen, err := r.look(ctx, v.Key, users)
	if err != nil {
		return nil, err
	}
	out := make(map[uuid.UUID]bool, len(seen))
	for i, s := range seen {
		out[users[i]] = mayType(s.rec, s.rel)
	}
	return out, nil
}

// Gate decides for one viewer, and goes on deciding: it notices when the
// answer may have changed. May is for one goroutine, Changed for another.
type Gate struct {
	t   *tracker
	sub *hub.Sub[subject]
}

// mostGated is how many typists a gate remembers that no longer type.
const mostGated = 200

// Gate opens one for a viewer; it is to be closed.
func (wa *Watcher) Gate(v viewer.Viewer) *Gate {
	t := wa.mirror.track(v, nil)
	return &Gate{t, t.sub}
}

// Changed waits until what the viewer may see may have changed.
func (g *Gate) Changed(ctx context.Context) error {
	_, _, err := g.sub.Next(ctx)
	return err
}

// May is which of users the viewer may see typing.
func (g *Gate) May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]bool, error) {
	out := make(map[uuid.UUID]bool, len(users))
	if len(users) == 0 {
		return out, nil
	}
	g.remember(users)
	if err := g.t.relate(ctx, users); err != nil {
		return nil, err
	}
	m := g.t.mirror
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
		out[u] = mayType(rec, rel)
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
