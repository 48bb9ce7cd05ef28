package feed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// builder makes one page.
type builder struct {
	s      *Service
	db     postgres.DB
	v      viewer.Viewer
	q      Query
	st     state
	keys   *keyring
	gs     grants
	at     place
	page   Page
	ids    []uuid.UUID       // messages of the page, as they come
	places map[uuid.UUID]int // in ids
	dead   map[uuid.UUID]struct{}
	read   map[uuid.UUID]struct{}
	shown  map[uuid.UUID]struct{} // channels whose state is wanted

	threads, ownThreads map[uuid.UUID]struct{} // where others wrote; where the viewer's own mark or following changed
	passing             bool                   // the page ends where it was looked long enough
	fits                int                    // how many messages a page of PageBytes has; 0: all of these
}

func (b *builder) build(ctx context.Context) (Page, error) {
	var err error
	var from place
	if b.q.Cursor == "" {
		b.st, err = loadState(ctx, b.db, nowhere)
	} else {
		b.st, from, err = b.s.standing(ctx, b.db, b.v, b.q.Channels, b.q.Cursor)
	}
	if err != nil {
		return b.page, err
	}
	if b.keys, err = b.s.sealerOf(b.st).keyring(b.v, b.q.Channels); err != nil {
		return b.page, err
	}
	if b.gs, err = loadGrants(ctx, b.db, b.v, b.q.Channels, false); err != nil {
		return b.page, err
	}
	b.dead, b.read, b.shown = map[uuid.UUID]struct{}{}, map[uuid.UUID]struct{}{}, map[uuid.UUID]struct{}{}
	b.threads, b.ownThreads = map[uuid.UUID]struct{}{}, map[uuid.UUID]struct{}{}
	if err := b.start(ctx, from); err != nil {
		return b.page, err
	}
	if b.q.Cursor != "" && b.page.Reset == "" {
		if err := b.untold(ctx, from); err != nil {
			return b.page, err
		}
	}
	if b.at.mode == inFresh {
		err = b.fresh(ctx)
	} else {
		err = b.delta(ctx)
	}
	if err != nil {
		return b.page, err
	}
	return b.page, b.finish(ctx)
}

// start finds where to go on, after from where there was a cursor, or that it is
// to begin anew.
func (b *builder) start(ctx context.Context, from place) error {
	b.at = place{epoch: b.st.epoch, pos: b.st.pos, mark: b.st.mark, mode: inFresh}
	switch {
	case b.q.Cursor != "":
		if b.page.Reset = judge(from, b.st); b.page.Reset == "" {
			b.at = from
		}
	case b.q.Since != nil:
		pos, mark, ok, err := b.posAt(ctx, *b.q.Since)
		if err != nil {
			return err
		}
		if b.page.Reset = Expired; ok {
			b.page.Reset, b.at.pos, b.at.mark, b.at.mode = "", pos, mark, atEntry
		}
	}
	return nil
}

// posAt is the last position given by an instant, and its mark, found by
// halving: instants rise with positions. false: that is forgotten.
func (b *builder) posAt(ctx context.Context, at time.Time) (pos, mark int64, ok bool, err error) {
	low, high := b.st.floor, b.st.pos // the answer is in [low, high]
	for low < high {
		mid := low + (high-low+1)/2
		var then time.Time
		if err := b.db.QueryRow(ctx, `select at from realtime.log where pos = $1`, mid).Scan(&then); err != nil {
			return 0, 0, false, fmt.Errorf("looking for an instant: %w", err)
		}
		if then.After(at) {
			high = mid - 1
		} else {
			low = mid
		}
	}
	// At the floor everything that is left is newer, and so may be some that is forgotten.
	if err := b.db.QueryRow(ctx, `select realtime.mark_at($1)`, low).Scan(&mark); err != nil {
		return 0, 0, false, fmt.Errorf("looking for an instant: %w", err)
	}
	return low, mark, low > b.st.floor || b.st.floor == 0, nil
}

func (b *builder) room() int { return b.q.First - len(b.ids) }

// add takes a message into the page, once.
func (b *builder) add(id uuid.UUID) {
	if _, ok := b.places[id]; !ok {
		b.places[id] = len(b.ids)
		b.ids = append(b.ids, id)
	}
}

// finish loads what the page speaks of, and seals where it ends.
func (b *builder) finish(ctx context.Context) error {
	bodies, err := b.bodies(ctx)
	if err != nil || b.fits > 0 {
		return err
	}
	for _, id := range b.ids {
		body, ok := bodies[id]
		_, dead := b.dead[id]
		if ok {
			channel, deleted := body.Place()
			dead = dead || deleted || !b.gs[channel].readable
		}
		if !ok || dead {
			b.page.Deleted = append(b.page.Deleted, id)
		} else {
			b.page.Messages = append(b.page.Messages, body)
		}
	}
	if b.page.Channels, err = loadStates(ctx, b.db, b.v, keys(b.shown)); err != nil {
		return err
	}
	b.page.Read, b.page.Threads, b.page.OwnThreads = keys(b.read), keys(b.threads), keys(b.ownThreads)
	if b.at.mode == atEntry {
		b.at = b.at.counting(b.at.pos)
	}
	b.page.Cursor = b.keys.seal(b.at)
	b.page.Done = len(b.ids)
	b.page.Total = b.page.Done
	if b.page.More && !b.passing {
		rest, err := b.remaining(ctx)
		if err != nil {
			return err
		}
		b.page.Total += rest
	}
	return nil
}

// bodies reads the page's messages, in parts; fits is set where they are too many bytes.
func (b *builder) bodies(ctx context.Context) (map[uuid.UUID]Body, error) {
	all := make(map[uuid.UUID]Body, len(b.ids))
	bytes, n := 0, DefaultFirst
	for rest := b.ids; len(rest) > 0; n *= 2 {
		part := rest[:min(n, len(rest))]
		rest = rest[len(part):]
		found, err := b.s.o.Load(ctx, b.db, b.v.Tenant, part)
		if err != nil {
			return nil, err
		}
		for i, id := range part {
			body, ok := found[id]
			if !ok {
				continue
			}
			if bytes += body.Size(); bytes > PageBytes {
				// One message goes, whatever its size: a page without any would come again and again.
				if b.fits = max(len(b.ids)-len(rest)-len(part)+i, 1); b.fits < len(b.ids) {
					return nil, nil
				}
				b.fits = 0
			}
			all[id] = body
		}
	}
	return all, nil
}

func keys(set map[uuid.UUID]struct{}) []uuid.UUID {
	out := make([]uuid.UUID, 0, len(set))
	for id := range set {
		out = append(out, id)
	}
	return sortedIDs(out)
}

// members are the channels the viewer is a member of, of those asked for.
func (b *builder) members() []uuid.UUID {
	var out []uuid.UUID
	for id, g := range b.gs {
		if g.readable && g.member {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, c uuid.UUID) int { return slices.Compare(a[:], c[:]) })
	return out
}
