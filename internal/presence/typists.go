package presence

import (
	"context"
	"maps"
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
// answer may have changed. Its methods are for one goroutine at a time, but for
// Changed.
type Gate struct {
	t    *tracker
	sub  *hub.Sub[subject]
	seen map[uuid.UUID]time.Time // whose typing may be seen, as last asked, and what before is not told
	kept func() []uuid.UUID      // who matters now; nil: nobody says
}

// Keep has the gate go on watching those whom f says matter, for they are shown or may
// come to be, however many others are asked about: a change of theirs is to be noticed.
// f is called by May.
func (g *Gate) Keep(f func() []uuid.UUID) { g.kept = f }

// mostGated is how many typists a gate remembers that no longer type.
const mostGated = 200

// Gate opens one for a viewer; it is to be closed.
func (wa *Watcher) Gate(v viewer.Viewer) *Gate {
	t := wa.mirror.track(v, nil)
	return &Gate{t: t, sub: t.sub, seen: map[uuid.UUID]time.Time{}}
}

// Changed waits until what the viewer may see may have changed.
func (g *Gate) Changed(ctx context.Context) error {
	_, _, err := g.sub.Next(ctx)
	return err
}

// Stale is of whom what the viewer may see may have changed since it was asked last;
// all: of anybody.
func (g *Gate) Stale() (users []uuid.UUID, all bool) {
	news, all := g.sub.Take()
	for _, s := range news {
		if s.channel || s.Key == g.t.v.Key { // the viewer changed: everything may look different
			return nil, true
		}
		users = append(users, s.User)
	}
	return users, all
}

// Woken has f called whenever it may be stale. f must not block.
func (g *Gate) Woken(f func()) { g.sub.Woken(f) }

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
	m, keys := g.t.mirror, g.keys(users)
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
	for i, u := range users {
		rec, err := m.get(ctx, keys[i+1])
		if err != nil {
			return nil, err
		}
		rel := g.t.rels[u]
		if rel.at != rec.audience {
			m.mark(keys[i+1]) // changed this instant: hidden until it has been read again
			continue
		}
		g.judge(u, rec, viewer, rel, out)
	}
	return out, nil
}

// Peek is May where that needs nobody to wait: every record has been read since it
// was marked last, and every relation is of its record's audience. ok false: May is
// to be asked.
func (g *Gate) Peek(users []uuid.UUID) (may map[uuid.UUID]time.Time, ok bool) {
	out := make(map[uuid.UUID]time.Time, len(users))
	if len(users) == 0 {
		return out, true
	}
	recs, ok := peekFresh(g.t.mirror, g.keys(users))
	if !ok {
		return nil, false
	}
	for i, u := range users {
		if rel, known := g.t.rels[u]; !known || rel.at != recs[i+1].audience || rel.missed(recs[0]) { // who is related is watched
			return nil, false
		}
	}
	for i, u := range users {
		g.judge(u, recs[i+1], recs[0], g.t.rels[u], out)
	}
	return out, true
}

// keys are the viewer's and those of users.
func (g *Gate) keys(users []uuid.UUID) []Key {
	keys := make([]Key, 0, 1+len(users))
	keys = append(keys, g.t.v.Key)
	for _, u := range users {
		keys = append(keys, Key{Tenant: g.t.v.Tenant, User: u})
	}
	return keys
}

// judge puts a user into may if the viewer may see it typing, and remembers that.
func (g *Gate) judge(u uuid.UUID, rec, viewer *record, rel relation, may map[uuid.UUID]time.Time) {
	rel.viewer = rel.viewer && viewer.known
	before, seen := g.seen[u]
	if !mayType(rec, rel) {
		delete(g.seen, u)
		return
	}
	if !seen {
		before = typedBefore(rec)
	}
	g.seen[u] = latest(&before, rec.settings.typingSharedSince)
	may[u] = g.seen[u]
}

// remember watches users besides those watched already.
func (g *Gate) remember(users []uuid.UUID) {
	known := make(map[uuid.UUID]struct{}, len(g.t.users))
	for _, u := range g.t.users {
		known[u] = struct{}{}
	}
	all, grown := g.t.users, false
	if len(all) > mostGated {
		grown = true
		all, known = nil, map[uuid.UUID]struct{}{}
		if g.kept != nil {
			all = distinct(g.kept())
		}
		for _, u := range all {
			known[u] = struct{}{}
		}
		maps.DeleteFunc(g.seen, func(u uuid.UUID, _ time.Time) bool { _, kept := known[u]; return !kept })
	}
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
