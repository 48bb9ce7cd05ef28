package feed

import (
	"context"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// stint is a time of membership in the channel's own numbers: from < seq <= to.
type stint struct{ from, to int64 }

// grant is what a viewer may read of a channel.
type grant struct {
	readable bool // now
	public   bool // anybody in the tenant may read all of it
	member   bool
	stints   []stint
}

// covers reports whether message number seq is the viewer's to see: it was a
// member when it was written, and may read the channel now.
func (g grant) covers(seq int64) bool {
	if !g.readable {
		return false
	}
	if g.public {
		return true
	}
	for _, s := range g.stints {
		if s.from < seq && seq <= s.to {
			return true
		}
	}
	return false
}

// reaches is covers for what is no message and carries the last number before it.
func (g grant) reaches(seq int64) bool { return g.covers(seq) || g.covers(seq+1) }

type grants map[uuid.UUID]grant

// sees is the one decision which entries of the log a viewer is told.
func (gs grants) sees(v viewer.Viewer, e Entry, senders map[uuid.UUID]struct{}) bool {
	if e.Tenant != v.Tenant {
		return false
	}
	g := gs[e.Channel]
	switch e.Kind {
	case Created, Updated, Deleted:
		return g.covers(e.Seq)
	case Joined, Left, Member:
		return e.User == v.User || g.reaches(e.Seq)
	case Channel, Gone:
		return g.reaches(e.Seq)
	case Opened:
		return g.readable
	case Notify:
		return e.User == v.User && g.readable
	case Mark:
		if e.User == v.User {
			return g.readable
		}
		_, sender := senders[v.User]
		return sender && g.readable
	}
	return false
}

// moves reports whether an entry may change the grants of a viewer.
func (gs grants) moves(v viewer.Viewer, e Entry) bool {
	switch e.Kind { //nolint:exhaustive // the rest changes nobody's rights
	case Joined, Left:
		return e.User == v.User
	case Channel, Opened, Gone:
		_, known := gs[e.Channel]
		return known
	}
	return false
}

const readGrants = `
select k.id, r.channel_id is not null, coalesce(r.public, false), coalesce(r.member, false), s.froms, s.tos
  from (select x.channel_id as id from realtime.stints x where $3::uuid[] is null and x.user_id = $2
         union select unnest($3::uuid[])) k
  left join lateral (select * from realtime.readable($1, $2) x where x.channel_id = k.id offset 0) r on true
  left join lateral (
    select array_agg(x.from_seq order by x.id) as froms, array_agg(coalesce(x.to_seq, $4) order by x.id) as tos
      from realtime.stints x where x.channel_id = k.id and x.user_id = $2) s on true`

// loadGrants reads what a viewer may read: wherever it ever was a member, or of
// the channels named alone. A public channel may be read by those who are no
// members too, where they ask for it: anyone.
func loadGrants(ctx context.Context, db postgres.DB, v viewer.Viewer, only []uuid.UUID, anyone bool) (grants, error) {
	rows, err := db.Query(ctx, readGrants, v.Tenant, v.User, only, int64(math.MaxInt64))
	return grantsOf(rows, err, anyone)
}

// loadGrantsAt is loadGrants, and what the state is afterwards for a reader that stands at
// a position, by the same server. In one round trip.
func loadGrantsAt(ctx context.Context, db postgres.DB, v viewer.Viewer, only []uuid.UUID, at int64) (gs grants, st state, err error) {
	b := &pgx.Batch{}
	b.Queue(readGrants, v.Tenant, v.User, only, int64(math.MaxInt64))
	b.Queue(readState, at)
	res := db.SendBatch(ctx, b)
	defer func() { _ = res.Close() }() // what fails has been read
	rows, err := res.Query()
	if gs, err = grantsOf(rows, err, only != nil); err != nil {
		return nil, st, err
	}
	st, err = stateOf(res.QueryRow())
	return gs, st, err
}

func grantsOf(rows pgx.Rows, err error, anyone bool) (grants, error) {
	if err != nil {
		return nil, fmt.Errorf("reading rights: %w", err)
	}
	gs := grants{}
	var id uuid.UUID
	var g grant
	var froms, tos []int64
	_, err = pgx.ForEachRow(rows, []any{&id, &g.readable, &g.public, &g.member, &froms, &tos}, func() error {
		x := g
		x.readable = x.readable && (x.member || anyone)
		x.stints = make([]stint, len(froms))
		for i := range froms {
			x.stints[i] = stint{froms[i], tos[i]}
		}
		gs[id] = x
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading rights: %w", err)
	}
	return gs, nil
}

// readable are the channels that may be read, now.
func (gs grants) readable() []uuid.UUID {
	out := make([]uuid.UUID, 0, len(gs))
	for id, g := range gs {
		if g.readable {
			out = append(out, id)
		}
	}
	return out
}

// topics are what to listen to: the channels that may be read, and of each that
// is known what changes who may read it.
func (gs grants) topics() []topic {
	out := make([]topic, 0, 2*len(gs))
	for id, g := range gs {
		if g.readable {
			out = append(out, topic{id: id})
		}
		out = append(out, topic{id: id, rights: true})
	}
	return out
}
