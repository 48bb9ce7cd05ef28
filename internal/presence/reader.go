package presence

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Reader answers one-time questions. Each answer is projected for its viewer.
type Reader struct {
	w        *world
	sessions *Sessions
}

// Presences is each user as the viewer sees it, in the order asked, each once.
func (r *Reader) Presences(ctx context.Context, v viewer.Viewer, users []uuid.UUID) ([]View, error) {
	users = distinct(users)
	views := make([]View, 0, len(users))
	for page := range slices.Chunk(users, readMost) { // a view is small beside its record
		seen, err := r.look(ctx, v.Key, page)
		if err != nil {
			return nil, err
		}
		for _, s := range seen {
			view, _ := project(s.rec, s.rel, r.w.rules, r.w.outage(), r.w.now())
			views = append(views, view)
		}
	}
	return views, nil
}

// Presence is one user as the viewer sees it.
func (r *Reader) Presence(ctx context.Context, v viewer.Viewer, user uuid.UUID) (View, error) {
	views, err := r.Presences(ctx, v, []uuid.UUID{user})
	if err != nil {
		return View{}, err
	}
	return views[0], nil
}

// Visibilities is what the viewer may see of each user.
func (r *Reader) Visibilities(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]Disclosure, error) {
	users = distinct(users)
	out := make(map[uuid.UUID]Disclosure, len(users))
	for page := range slices.Chunk(users, readMost) {
		seen, err := r.look(ctx, v.Key, page)
		if err != nil {
			return nil, err
		}
		for i, s := range seen {
			out[page[i]] = disclose(s.rec, s.rel, r.w.rules)
		}
	}
	return out, nil
}

// looked is a target and what the viewer is to it.
type looked struct {
	rec *record
	rel relation
}

// look reads targets and then relations, so that a relation is never older
// than the record it judges. Nobody (no user) gets the same two statements.
func (r *Reader) look(ctx context.Context, v Key, users []uuid.UUID) ([]looked, error) {
	keys := make([]Key, len(users), len(users)+1)
	for i, u := range users {
		keys[i] = Key{Tenant: v.Tenant, User: u}
	}
	if r.w.rules.Reciprocity {
		keys = append(keys, v)
	}
	var recs []*record
	var rels []relation
	b := &pgx.Batch{}
	queueSeen(b, keys, v.User, &recs)
	queueRelations(b, v, users, &rels)
	if err := r.w.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	out := make([]looked, len(users))
	for i := range users {
		out[i] = looked{recs[i], rels[i]}
		if r.w.rules.Reciprocity {
			out[i].rel.share(recs[len(recs)-1], r.w.now())
		}
	}
	return out, nil
}

// Settings are the caller's own.
func (r *Reader) Settings(ctx context.Context, v viewer.Viewer) (Settings, error) {
	rec, err := r.self(ctx, v)
	if err != nil {
		return Settings{}, err
	}
	return rec.settings, nil
}

// Mine is the caller's own presence, whole.
func (r *Reader) Mine(ctx context.Context, v viewer.Viewer) (Mine, error) {
	rec, err := r.self(ctx, v)
	if err != nil {
		return Mine{}, err
	}
	return r.w.mine(rec, v, r.sessions), nil
}

// Sessions are the caller's live ones, oldest first.
func (r *Reader) Sessions(ctx context.Context, v viewer.Viewer) ([]Session, error) {
	m, err := r.Mine(ctx, v)
	return m.Sessions, err
}

func (r *Reader) self(ctx context.Context, v viewer.Viewer) (*record, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	return loadRecord(ctx, r.w.pool, v.Key)
}

// Preview is how others see the caller, by the caller's own settings alone.
// as user: that user's true relation to the caller counts, but what it shares
// itself does not.
func (r *Reader) Preview(ctx context.Context, v viewer.Viewer, as ViewerKind, user *uuid.UUID) (View, error) {
	if (as == AsUser) != (user != nil) {
		return View{}, fault.Field("userId", "userId is given with as: user, and only then")
	}
	rec, err := r.self(ctx, v)
	if err != nil {
		return View{}, err
	}
	rel := relation{viewer: true, contact: as == AsContact}
	if as == AsUser {
		rels, err := loadRelations(ctx, r.w.pool, Key{Tenant: v.Tenant, User: *user}, []uuid.UUID{v.User})
		if err != nil {
			return View{}, err
		}
		rel = rels[0]
		rel.viewer = true // whether there is such a user is not told
	}
	rel.sharesStatus, rel.sharesLastSeen = true, true
	view, _ := project(rec, rel, r.w.rules, r.w.outage(), r.w.now())
	return view, nil
}
