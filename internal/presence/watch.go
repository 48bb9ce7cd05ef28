package presence

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Watcher streams presence. A stream ends with its context; a reader that is
// slow is told the latest of each user, never all that happened meanwhile.
type Watcher struct {
	w      *world
	mirror *mirror
	live   *Sessions
}

// Topics are the doorbells this package answers, by prefix.
var Topics = []string{"presence/", "audience/", "members/"}

// Notify is one doorbell. What it cannot read it takes as a reason to look at everything.
func (wa *Watcher) Notify(topic string) {
	kind, rest, _ := strings.Cut(topic, "/")
	id, tenant, _ := strings.Cut(rest, "/")
	u, err := uuid.Parse(id)
	switch {
	case err != nil:
		wa.mirror.markAll()
	case kind == "presence":
		wa.mirror.mark(Key{Tenant: tenant, User: u})
	case kind == "audience":
		wa.mirror.markUser(u)
	case kind == "members":
		wa.mirror.markRoom(u)
	}
}

// Resync says that doorbells may have been lost.
func (wa *Watcher) Resync() { wa.mirror.markAll() }

// Restored says that Postgres was out of reach between two instants: clients
// that could not report meanwhile are not absent for it.
func (wa *Watcher) Restored(from, to time.Time) {
	wa.w.setOutage(from, to)
	wa.mirror.markAll()
}

// Presence streams each user's state, then every change this viewer may notice.
func (wa *Watcher) Presence(ctx context.Context, v viewer.Viewer, users []uuid.UUID) <-chan View {
	out := make(chan View)
	go func() {
		defer close(out)
		t := wa.track(v, distinct(users))
		defer t.close()
		wa.mirror.settled(ctx, t.keys...)
		dirty := t.users
		for {
			err := t.changes(ctx, dirty, func(view View) bool { return send(ctx, out, view) })
			if err != nil && !wa.pause(ctx, err) {
				return
			}
			if err != nil {
				continue // the same again: what was told is not told twice
			}
			if dirty, _, err = t.next(ctx); err != nil {
				return
			}
		}
	}()
	return out
}

// pause waits before a read that failed is tried again.
func (wa *Watcher) pause(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	wa.w.log.WarnContext(ctx, "watched relations not read, trying again", "error", err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(retryFirst * 5):
		return true
	}
}

// Window streams a page of a channel's members. It ends with an error when the
// viewer may no longer see the channel; fail is called with it before the end.
func (wa *Watcher) Window(ctx context.Context, v viewer.Viewer, channel uuid.UUID, first *int, after *string, fail func(error)) (<-chan Batch, error) {
	n, err := PageSize(first)
	if err != nil {
		return nil, err
	}
	from, err := parsePlace(after)
	if err != nil {
		return nil, err
	}
	wa.mirror.openRoom(channel)
	found, err := loadMembers(ctx, wa.w.pool, v.Key, []uuid.UUID{channel})
	members, ok := found[channel]
	if err == nil && !ok {
		err = fault.Access()
	}
	if err != nil {
		wa.mirror.closeRoom(channel)
		return nil, err
	}
	out := make(chan Batch)
	go func() {
		defer close(out)
		defer wa.mirror.closeRoom(channel)
		w := &window{wa: wa, v: v, channel: channel, size: n, from: from}
		if err := w.run(ctx, members, out); err != nil && ctx.Err() == nil {
			fail(err)
		}
	}()
	return out, nil
}

// Settings streams the caller's settings.
func (wa *Watcher) Settings(ctx context.Context, v viewer.Viewer) (<-chan Settings, error) {
	return self(ctx, wa, v, func(rec *record) Settings { return rec.settings },
		func(a, b Settings) bool { return reflect.DeepEqual(a, b) })
}

// Mine streams the caller's own presence. What moves without being a change
// (round trips, activity) comes along with the next change.
func (wa *Watcher) Mine(ctx context.Context, v viewer.Viewer) (<-chan Mine, error) {
	return self(ctx, wa, v, func(rec *record) Mine { return wa.w.mine(rec, v, wa.live) }, sameMine)
}

func sameMine(a, b Mine) bool {
	still := func(m Mine) Mine {
		list := make([]Session, len(m.Sessions))
		for i, s := range m.Sessions {
			s.LatencyMs, s.LastActiveAt = nil, time.Time{}
			list[i] = s
		}
		m.Sessions = list
		return m
	}
	return reflect.DeepEqual(still(a), still(b))
}

func self[T any](ctx context.Context, wa *Watcher, v viewer.Viewer, of func(*record) T, same func(a, b T) bool) (<-chan T, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	out := make(chan T)
	go func() {
		defer close(out)
		t := wa.track(v, nil)
		defer t.close()
		wa.mirror.settled(ctx, v.Key)
		var last *T
		for {
			rec, err := wa.mirror.get(ctx, v.Key)
			if err != nil {
				return
			}
			if now := of(rec); last == nil || !same(*last, now) {
				last = &now
				if !send(ctx, out, now) {
					return
				}
			}
			if _, _, err := t.next(ctx); err != nil {
				return
			}
		}
	}()
	return out, nil
}

func send[T any](ctx context.Context, out chan<- T, x T) bool {
	select {
	case out <- x:
		return true
	case <-ctx.Done():
		return false
	}
}

// errStopped: the stream's reader is gone.
var errStopped = errors.New("stream stopped")

// tracker is one stream's side: whom it watches, what the viewer is to them,
// and what it was last told.
type tracker struct {
	wa    *Watcher
	v     viewer.Viewer
	users []uuid.UUID // watched, the viewer itself left out unless it asked
	keys  []Key       // held in the mirror
	sub   *hub.Sub[spot]
	rels  map[uuid.UUID]relation
	last  map[uuid.UUID]View
}

// track watches users, and always the viewer itself: what it may see hangs on
// its own record as well.
func (wa *Watcher) track(v viewer.Viewer, users []uuid.UUID, rooms ...uuid.UUID) *tracker {
	t := &tracker{wa: wa, v: v, sub: wa.mirror.hub.Subscribe(spot{v.Key, false}),
		rels: map[uuid.UUID]relation{}, last: map[uuid.UUID]View{}, keys: []Key{v.Key}}
	wa.mirror.hold(t.keys)
	for _, c := range rooms {
		t.sub.Add(spot{Key{User: c}, true})
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
	t.wa.mirror.hold(plus) // before the drop: who stays is not read again
	plusSpots := make([]spot, len(plus))
	for i, k := range plus {
		plusSpots[i] = spot{k, false}
	}
	t.sub.Add(plusSpots...)
	for _, u := range t.users {
		if _, ok := now[u]; !ok {
			if k := (Key{Tenant: t.v.Tenant, User: u}); k != t.v.Key {
				t.sub.Remove(spot{k, false})
			}
			delete(t.rels, u)
			delete(t.last, u)
		}
	}
	t.wa.mirror.drop(t.keys[1:])
	t.users, t.keys = users, append(t.keys[:1:1], plus...)
}

func (t *tracker) close() {
	t.sub.Close()
	t.wa.mirror.drop(t.keys)
}

// next waits for news: users to look at again, and whether the list of members is.
func (t *tracker) next(ctx context.Context) (users []uuid.UUID, members bool, err error) {
	spots, all, err := t.sub.Next(ctx)
	if err != nil {
		return nil, false, err
	}
	if all {
		return t.users, true, nil
	}
	for _, s := range spots {
		switch {
		case s.channel:
			members = true
		case s.Key == t.v.Key:
			return t.users, members || hasRoom(spots), nil // the viewer changed: everything may look different
		default:
			users = append(users, s.User)
		}
	}
	return users, members, nil
}

func hasRoom(spots []spot) bool {
	for _, s := range spots {
		if s.channel {
			return true
		}
	}
	return false
}

// changes tells, of users, those whose view differs from what was told last.
// Each is projected just before it is told, so that a slow reader gets the
// latest. A relation older than the record it would judge is read again first;
// while that fails nothing is told, neither shown nor hidden.
func (t *tracker) changes(ctx context.Context, users []uuid.UUID, tell func(View) bool) error {
	if err := t.relate(ctx, users); err != nil {
		return err
	}
	for _, u := range users {
		view, err := t.settle(ctx, u)
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

// settle projects a user by a relation of the same audience as its record. One
// that changes faster than it can be read is told of later.
func (t *tracker) settle(ctx context.Context, u uuid.UUID) (View, error) {
	for range 5 {
		view, ok, err := t.look(ctx, u)
		if err != nil || ok {
			return view, err
		}
		if err := t.relate(ctx, []uuid.UUID{u}); err != nil {
			return View{}, err
		}
	}
	// The record is the older one by now: its doorbell is rung, and it is read again.
	t.wa.mirror.mark(Key{Tenant: t.v.Tenant, User: u})
	return View{}, errUnsettled
}

// errUnsettled: a user's audience is changing just now.
var errUnsettled = errors.New("the audience is changing")

// relate reads the relations that are missing or older than their record.
func (t *tracker) relate(ctx context.Context, users []uuid.UUID) error {
	var stale []uuid.UUID
	for _, u := range users {
		rec, err := t.wa.mirror.get(ctx, Key{Tenant: t.v.Tenant, User: u})
		if err != nil {
			return err
		}
		if rel, ok := t.rels[u]; !ok || rel.at != rec.audience {
			stale = append(stale, u)
		}
	}
	for len(stale) > 0 {
		page := stale[:min(len(stale), readMost)]
		stale = stale[len(page):]
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		rels, err := loadRelations(ctx, t.wa.w.pool, t.v.Key, page)
		cancel()
		if err != nil {
			return err
		}
		for i, u := range page {
			t.rels[u] = rels[i]
		}
	}
	return nil
}

// look projects one user; false: its record is of another audience than the
// relation at hand.
func (t *tracker) look(ctx context.Context, u uuid.UUID) (View, bool, error) {
	m := t.wa.mirror
	rec, err := m.get(ctx, Key{Tenant: t.v.Tenant, User: u})
	if err != nil {
		return View{}, false, err
	}
	viewer, err := m.get(ctx, t.v.Key)
	if err != nil {
		return View{}, false, err
	}
	rel := t.rels[u]
	rel.viewer = rel.viewer && viewer.known
	rel.share(viewer, t.wa.w.now())
	view, _ := project(rec, rel, t.wa.w.rules, t.wa.w.outage(), t.wa.w.now())
	return view, rel.at == rec.audience, nil
}

func asFault(err error, f **fault.Error) bool { return errors.As(err, f) }
