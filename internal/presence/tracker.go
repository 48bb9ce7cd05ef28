package presence

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// tracker is one stream's side: whom it watches, what the viewer is to them,
// and what it was last told.
type tracker struct {
	mirror *mirror
	v      viewer.Viewer
	users  []uuid.UUID // watched, the viewer itself left out unless it asked
	keys   []Key       // held in the mirror
	sub    *hub.Sub[subject]
	rels   map[uuid.UUID]relation
	last   map[uuid.UUID]View
}

// track watches users, and always the viewer itself: what it may see hangs on
// its own record as well.
func (m *mirror) track(v viewer.Viewer, users []uuid.UUID, rooms ...uuid.UUID) *tracker {
	t := &tracker{mirror: m, v: v, sub: m.hub.Subscribe(subject{Key: v.Key}),
		rels: map[uuid.UUID]relation{}, last: map[uuid.UUID]View{}, keys: []Key{v.Key}}
	m.hold(t.keys)
	for _, c := range rooms {
		t.sub.Add(members(c))
	}
	t.set(users)
	return t
}

// set changes whom the stream watches.
func (t *tracker) set(users []uuid.UUID) {
	now := make(map[uuid.UUID]struct{}, len(users))
	var plus []Key
	for _, u := range users {
		now[u] = struct{}{}
		plus = append(plus, Key{Tenant: t.v.Tenant, User: u})
	}
	t.mirror.hold(plus) // before the drop: who stays is not read again
	for _, k := range plus {
		t.sub.Add(subject{Key: k})
	}
	for _, u := range t.users {
		if _, ok := now[u]; !ok {
			if k := (Key{Tenant: t.v.Tenant, User: u}); k != t.v.Key {
				t.sub.Remove(subject{Key: k})
			}
			delete(t.rels, u)
			delete(t.last, u)
		}
	}
	t.mirror.drop(t.keys[1:])
	t.users, t.keys = users, append(t.keys[:1:1], plus...)
}

func (t *tracker) close() {
	t.sub.Close()
	t.mirror.drop(t.keys)
}

// next waits for news: users to look at again, and whether the list of members is.
func (t *tracker) next(ctx context.Context) (users []uuid.UUID, members bool, err error) {
	news, all, err := t.sub.Next(ctx)
	if err != nil {
		return nil, false, err
	}
	users, members = t.concerned(news, all)
	return users, members, nil
}

// concerned are the users whom news is about, and whether it is about the list of
// members.
func (t *tracker) concerned(news []subject, all bool) (users []uuid.UUID, members bool) {
	if all {
		return t.users, true
	}
	for _, s := range news {
		switch {
		case s.channel:
			members = true
		case s.Key == t.v.Key: // the viewer changed: everything may look different
			return t.users, slices.ContainsFunc(news, func(s subject) bool { return s.channel })
		default:
			users = append(users, s.User)
		}
	}
	return users, members
}

// errStopped: the stream's reader is gone.
var errStopped = errors.New("stream stopped")

// changes tells, of users, those whose view differs from what was told last.
// Each is projected just before it is told, so that a slow reader gets the
// latest. A relation older than the record it would judge is read again first;
// while that fails nothing is told, neither shown nor hidden.
func (t *tracker) changes(ctx context.Context, users []uuid.UUID, tell func(View) bool) error {
	if err := t.relate(ctx, users); err != nil {
		return err
	}
	for _, u := range users {
		view, err := t.current(ctx, u)
		if err != nil {
			return err
		}
		if old, told := t.last[u]; told && old.equal(view) {
			continue
		}
		if !tell(view) {
			return errStopped
		}
		t.last[u] = view
	}
	return nil
}

// errChanging: a user's audience changes faster than it can be read.
var errChanging = errors.New("the audience is changing")

// current projects a user by a relation of the same audience as its record. Of
// two that differ the relation is read again, and then the record: a doorbell of
// it is on its way.
func (t *tracker) current(ctx context.Context, u uuid.UUID) (View, error) {
	k := Key{Tenant: t.v.Tenant, User: u}
	for try := range 6 {
		view, ok, err := t.look(ctx, u)
		if err != nil || ok {
			return view, err
		}
		if try%2 == 1 {
			t.mirror.mark(k)
			t.mirror.catchUp(ctx, k)
		} else if err := t.relate(ctx, []uuid.UUID{u}); err != nil {
			return View{}, err
		}
	}
	return View{}, errChanging
}

// relate reads the relations that are missing or older than their record, or than the
// viewer's own.
func (t *tracker) relate(ctx context.Context, users []uuid.UUID) error {
	own, err := t.mirror.get(ctx, t.v.Key)
	if err != nil {
		return err
	}
	var stale []uuid.UUID
	for _, u := range users {
		rec, err := t.mirror.get(ctx, Key{Tenant: t.v.Tenant, User: u})
		if err != nil {
			return err
		}
		if rel, ok := t.rels[u]; !ok || rel.at != rec.audience || rel.missed(own) {
			stale = append(stale, u)
		}
	}
	return t.load(ctx, stale)
}

// missed is whether a relation was read while the viewer was not a user, which by its own
// record it is. It says nothing of that in its version.
func (rel relation) missed(own *record) bool { return !rel.viewer && own.known }

// meet reads what the viewer is to those it is to see first, while their records are
// read: so a stream begins as late where this node has those in memory, because
// somebody else watches them here or they are here themselves, as where it has not. An
// error is left to relate, which tries again.
func (t *tracker) meet(ctx context.Context) {
	_ = t.load(ctx, slices.DeleteFunc(slices.Clone(t.users), func(u uuid.UUID) bool { _, ok := t.rels[u]; return ok }))
}

func (t *tracker) load(ctx context.Context, stale []uuid.UUID) error {
	for len(stale) > 0 {
		page := stale[:min(len(stale), readMost)]
		stale = stale[len(page):]
		rels, err := wait.InTurn(ctx, t.mirror.w.turn, func() ([]relation, error) {
			ctx, cancel := context.WithTimeout(ctx, readTimeout)
			defer cancel()
			return loadRelations(ctx, t.mirror.w.pool, t.v.Key, page)
		})
		if err != nil {
			return err
		}
		for i, u := range page {
			t.rels[u] = rels[i]
		}
	}
	return nil
}

// members is loadMembers for a channel, in the viewer's turn.
func (t *tracker) members(ctx context.Context, channel uuid.UUID) (map[uuid.UUID][]uuid.UUID, error) {
	return wait.InTurn(ctx, t.mirror.w.turn, func() (map[uuid.UUID][]uuid.UUID, error) {
		return loadMembers(ctx, t.mirror.w.pool, t.v.Key, []uuid.UUID{channel})
	})
}

// look projects one user; false: its record is of another audience than the
// relation at hand.
func (t *tracker) look(ctx context.Context, u uuid.UUID) (View, bool, error) {
	rec, err := t.mirror.get(ctx, Key{Tenant: t.v.Tenant, User: u})
	if err != nil {
		return View{}, false, err
	}
	viewer, err := t.mirror.get(ctx, t.v.Key)
	if err != nil {
		return View{}, false, err
	}
	view, ok := t.view(rec, viewer, t.rels[u])
	return view, ok, nil
}

// peek is current where that needs nobody to wait; false: it does.
func (t *tracker) peek(u uuid.UUID) (View, bool) {
	rec, viewer := t.mirror.peek(Key{Tenant: t.v.Tenant, User: u}), t.mirror.peek(t.v.Key)
	rel, known := t.rels[u]
	if rec == nil || viewer == nil || !known || rel.missed(viewer) {
		return View{}, false
	}
	return t.view(rec, viewer, rel)
}

// view is a user by its record, the viewer's, and a relation; false: that is of
// another audience.
func (t *tracker) view(rec, viewer *record, rel relation) (View, bool) {
	w := t.mirror.w
	rel.viewer = rel.viewer && viewer.known
	rel.share(viewer, w.now())
	view, _ := project(rec, rel, w.rules, w.outage(), w.now())
	return view, rel.at == rec.audience
}

// pause waits before a read that failed is tried again; false: the stream has ended.
func (t *tracker) pause(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	t.mirror.w.log.WarnContext(ctx, "watched relations not read, trying again", "error", err)
	return wait.For(ctx, 5*retryFirst)
}
