package feed

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Limits of a sync. Newest is how many messages of a channel a fresh start brings.
const (
	DefaultFirst = 200
	MaxFirst     = 1000
	Newest       = 50
	MaxWait      = 25 * time.Second

	pageEntries = 2000 // entries one page covers at most, however few messages they are of
)

// Query asks for a page. Cursor "": a fresh start, or by Since where that is given.
type Query struct {
	Cursor   string
	Since    *time.Time
	Channels []uuid.UUID // only of these; nil: all of the viewer's
	First    int         // messages; 0: DefaultFirst
	Wait     time.Duration
}

// ChannelState is a channel as a member sees it.
type ChannelState struct {
	ChannelID  uuid.UUID
	Name       string
	Type       string
	IsArchived bool
	IsReadonly bool
	Role       string
	CanWrite   bool
	LastNumber int64
}

// ID is the cache key: the channel's id.
func (c ChannelState) ID() string { return c.ChannelID.String() }

// LastSeq is the number of its newest message, in decimal.
func (c ChannelState) LastSeq() string { return strconv.FormatInt(c.LastNumber, 10) }

// MemberChange is somebody else's membership that began or ended, or its
// rights that changed (Member).
type MemberChange struct {
	ChannelID uuid.UUID
	UserID    uuid.UUID
	Kind      Kind
}

// Page is what a viewer missed, or a part of it.
type Page struct {
	Cursor      string
	More        bool
	Reset       Reason // "" but where the page begins anew although a cursor was given
	Done, Total int    // messages of this page, and with those that remain
	Channels    []ChannelState
	Left        []uuid.UUID
	Members     []MemberChange
	Messages    []Body
	Deleted     []uuid.UUID
	Read        []uuid.UUID // channels whose read state may have changed
	Moves       []int64     // of others' marks over the viewer's messages
}

func (p Page) empty() bool {
	return p.Reset == "" && len(p.Channels)+len(p.Left)+len(p.Members)+len(p.Messages)+len(p.Deleted)+len(p.Read)+len(p.Moves) == 0
}

// Sync answers a page, once there is something in it or the time to wait is
// over. Everything committed before the call is covered. Errors:
// validation-failed for a cursor that is not the viewer's, and for limits.
func (s *Service) Sync(ctx context.Context, v viewer.Viewer, q Query) (Page, error) {
	if err := q.check(v); err != nil {
		return Page{}, err
	}
	if err := s.CatchUp(ctx); err != nil {
		return Page{}, err
	}
	p, err := s.page(ctx, v, q)
	if err != nil || !p.empty() || q.Wait == 0 || q.Cursor == "" {
		return p, err
	}
	return s.await(ctx, v, q, p) // nothing yet: to wait is to read on
}

func (q *Query) check(v viewer.Viewer) error {
	if err := v.Denied(); err != nil {
		return err
	}
	if q.First == 0 {
		q.First = DefaultFirst
	}
	switch {
	case q.First < 1 || q.First > MaxFirst:
		return fault.Field("first", "first must be 1 to %d", MaxFirst)
	case q.Wait < 0 || q.Wait > MaxWait:
		return fault.Field("waitMs", "waitMs must be 0 to %d", MaxWait.Milliseconds())
	case q.Cursor != "" && q.Since != nil:
		return fault.Field("since", "since is for a client without a cursor")
	}
	if q.Channels != nil {
		q.Channels = sortedIDs(q.Channels)
	}
	return nil
}

// await listens where the page ended, without holding a connection.
func (s *Service) await(ctx context.Context, v viewer.Viewer, q Query, p Page) (Page, error) {
	waiting, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	sub := s.tail.hub.Subscribe(v.User)
	defer sub.Close()
	gs, err := loadGrants(ctx, s.o.Pool, v, q.Channels, false)
	if err != nil {
		return p, err
	}
	sub.Add(gs.readable()...)
	for {
		q.Cursor = p.Cursor
		if p, err = s.page(ctx, v, q); err != nil || !p.empty() {
			return p, err
		}
		if p.More {
			continue
		}
		if _, _, err := sub.Next(waiting); err != nil {
			return p, ctx.Err() // the time is over: nothing new is an answer
		}
	}
}

// page reads one page in one snapshot.
func (s *Service) page(ctx context.Context, v viewer.Viewer, q Query) (p Page, err error) {
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.o.Pool, opts, func(tx pgx.Tx) error {
		b := &builder{s: s, db: tx, v: v, q: q, places: map[uuid.UUID]int{}}
		p, err = b.build(ctx)
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("reading a page: %w", err)
	}
	return p, nil
}

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
}

func (b *builder) build(ctx context.Context) (Page, error) {
	var err error
	if b.st, err = loadState(ctx, b.db); err != nil {
		return b.page, err
	}
	if b.keys, err = b.s.sealerOf(b.st).keyring(b.v, b.q.Channels); err != nil {
		return b.page, err
	}
	if b.gs, err = loadGrants(ctx, b.db, b.v, b.q.Channels, false); err != nil {
		return b.page, err
	}
	b.dead, b.read, b.shown = map[uuid.UUID]struct{}{}, map[uuid.UUID]struct{}{}, map[uuid.UUID]struct{}{}
	if err := b.start(ctx); err != nil {
		return b.page, err
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

// start finds where to go on, or that it is to begin anew.
func (b *builder) start(ctx context.Context) error {
	b.at = place{epoch: b.st.epoch, pos: b.st.pos, mode: inFresh}
	switch {
	case b.q.Cursor != "":
		p, err := b.keys.open(b.q.Cursor)
		if err != nil {
			return err
		}
		if b.page.Reset = judge(p, b.st); b.page.Reset == "" {
			b.at = p
		}
	case b.q.Since != nil:
		pos, ok, err := b.posAt(ctx, *b.q.Since)
		if err != nil {
			return err
		}
		if b.page.Reset = Expired; ok {
			b.page.Reset, b.at.pos, b.at.mode = "", pos, atEntry
		}
	}
	return nil
}

// posAt is the last position given by an instant, found by halving: instants
// rise with positions. false: that is forgotten.
func (b *builder) posAt(ctx context.Context, at time.Time) (int64, bool, error) {
	low, high := b.st.floor, b.st.pos // the answer is in [low, high]
	for low < high {
		mid := low + (high-low+1)/2
		var then time.Time
		if err := b.db.QueryRow(ctx, `select at from realtime.log where pos = $1`, mid).Scan(&then); err != nil {
			return 0, false, fmt.Errorf("looking for an instant: %w", err)
		}
		if then.After(at) {
			high = mid - 1
		} else {
			low = mid
		}
	}
	// At the floor everything that is left is newer, and so may be some that is forgotten.
	return low, low > b.st.floor || b.st.floor == 0, nil
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
	bodies, err := b.s.o.Load(ctx, b.db, b.v.Tenant, b.ids)
	if err != nil {
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
	b.page.Read = keys(b.read)
	b.page.Cursor = b.keys.seal(b.at)
	b.page.Done = len(b.ids)
	b.page.Total = b.page.Done
	if b.page.More {
		rest, err := b.remaining(ctx)
		if err != nil {
			return err
		}
		b.page.Total += rest
	}
	return nil
}

func keys(set map[uuid.UUID]struct{}) []uuid.UUID {
	out := make([]uuid.UUID, 0, len(set))
	for id := range set {
		out = append(out, id)
	}
	return sortedIDs(out)
}

// Channels are channels as the viewer, a member of each, sees them; others are
// left out.
func (s *Service) Channels(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]ChannelState, error) {
	return loadStates(ctx, s.o.Pool, v, ids)
}

func loadStates(ctx context.Context, db postgres.DB, v viewer.Viewer, ids []uuid.UUID) ([]ChannelState, error) {
	const q = `
select c.id, c.name, c.type, c.archived, c.readonly, r.role, r.can_write, coalesce(x.seq, 0)
  from unnest($2::uuid[]) with ordinality k (id, ord)
 cross join lateral (select * from realtime.readable($1, $3) y where y.channel_id = k.id and y.member offset 0) r
  join realtime.nchat_channels() c on c.id = k.id
  left join realtime.channels x on x.channel_id = c.id
 order by k.ord`
	rows, err := db.Query(ctx, q, v.Tenant, ids, v.User)
	if err != nil {
		return nil, fmt.Errorf("reading channels: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ChannelState])
	if err != nil {
		return nil, fmt.Errorf("reading channels: %w", err)
	}
	return list, nil
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
