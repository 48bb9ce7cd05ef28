package presence

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Watcher streams presence. A stream ends with its context; a reader that is
// slow is told the latest of each user, never all that happened meanwhile.
type Watcher struct {
	w        *world
	mirror   *mirror
	sessions *Sessions
	showcase *Showcase
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
		wa.Resync()
		return
	case kind == "presence":
		wa.mirror.mark(Key{Tenant: tenant, User: u})
	case kind == "audience":
		wa.mirror.markUser(u)
	case kind == "members":
		wa.mirror.rooms.tell(u)
	}
	wa.showcase.notify(kind, Key{Tenant: tenant, User: u})
}

// Resync says that doorbells may have been lost.
func (wa *Watcher) Resync() {
	wa.mirror.markAll()
	wa.showcase.markAll()
}

// Missed says that Postgres is out of reach, or takes no writes, since an instant.
func (wa *Watcher) Missed(since time.Time) { wa.w.missed(since) }

// Restored says that it was so between two instants: clients that could not report
// meanwhile are not absent for it.
func (wa *Watcher) Restored(from, to time.Time) {
	wa.w.restored(from, to)
	wa.Resync()
}

// Presence streams each user's state, then every change this viewer may notice.
func (wa *Watcher) Presence(ctx context.Context, v viewer.Viewer, users []uuid.UUID) <-chan View {
	out := make(chan View)
	r := wa.Changes(v, users)
	go func() {
		defer close(out)
		defer r.Close()
		for {
			view, err := r.Next(ctx)
			if err != nil || !send(ctx, out, view) {
				return
			}
		}
	}()
	return out
}

// Settings streams the caller's settings.
func (wa *Watcher) Settings(ctx context.Context, v viewer.Viewer) (<-chan Settings, error) {
	return ownStream(ctx, wa, v, func(rec *record) Settings { return rec.settings },
		func(a, b Settings) bool { return reflect.DeepEqual(a, b) })
}

// Mine streams the caller's own presence. What moves without being a change
// (round trips, activity) comes along with the next change.
func (wa *Watcher) Mine(ctx context.Context, v viewer.Viewer) (<-chan Mine, error) {
	return ownStream(ctx, wa, v, func(rec *record) Mine { return wa.w.mine(rec, v, wa.sessions) }, sameMine)
}

// ownStream streams what of makes of the caller's own record, whenever that is no
// more the same.
func ownStream[T any](ctx context.Context, wa *Watcher, v viewer.Viewer, of func(*record) T, same func(a, b T) bool) (<-chan T, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	out := make(chan T)
	go func() {
		defer close(out)
		t := wa.mirror.track(v, nil)
		defer t.close()
		wa.mirror.catchUp(ctx, v.Key)
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
