package feed

import (
	"context"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// How much there is to read is told at a pace, after the entries that change it. So
// a cursor knows two things: where its reader is, and up to where it was told that.
// One that does not know the latter is looked back from over what may have waited.
const (
	untoldBack = 2000 // entries of everybody's, of the last seconds before the cursor's
	untoldMost = 500  // entries of a channel
)

// counting is the place of a reader that was told up to a position how much it has
// to read; past the place: up to it.
func (p place) counting(upTo int64) place {
	p.seq = min(upTo, p.pos) + 1
	return p
}

// counted is up to where the reader was told; false: that is not known. What older cursors
// may have in its place has something left.
func (p place) counted() (upTo int64, ok bool) {
	return p.seq - 1, p.mode == atEntry && p.seq > 0 && p.left == 0
}

// Counts is a stream whose reader is told how much there is to read.
type Counts struct{ x *Stream }

// CountsOf is a stream as one that tells that too.
func CountsOf(x *Stream) Counts { return Counts{x} }

// Pos is the position up to which was read.
func (c Counts) Pos() int64 { return c.x.pos }

// Told has the stream's cursors say from now on that their reader was told up to a
// position how much it has to read.
func (c Counts) Told(upTo int64) { c.x.counts, c.x.upTo = true, upTo }

// Sealing gives cursors after everything read so far, by up to which position is
// told how much there is to read. Any goroutine may call what it answers.
func (c Counts) Sealing() func(upTo int64) string {
	keys, p := c.x.keys, placeOf(c.x)
	return func(upTo int64) string { return keys.seal(p.counting(upTo)) }
}

// Untold are the entries up to where the stream went on from a cursor that may have
// changed how much there is to read and were not followed by how much: of each
// channel, thread and kind the newest. For once, before Next.
func (c Counts) Untold(ctx context.Context) ([]Item, error) {
	x := c.x
	if x.reset != "" {
		return nil, nil
	}
	list, err := loadUntold(ctx, x.s.o.Pool, x.v, x.gs, x.from)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(list))
	for i, e := range list {
		items[i].Entry = e
	}
	return items, nil
}

func seal(x *Stream, p place) string {
	if x.counts {
		p = p.counting(x.upTo)
	}
	return x.keys.seal(p)
}

// loadUntold reads Untold for a place; nothing is asked where all was told.
func loadUntold(ctx context.Context, db postgres.DB, v viewer.Viewer, gs grants, p place) ([]Entry, error) {
	low, known := p.counted()
	if known && low >= p.pos || p.mode != atEntry {
		return nil, nil
	}
	if !known {
		low = p.pos - untoldBack
	}
	const q = `
select distinct on (l.channel_id, l.thread, l.kind) ` + entryColumns + `
  from (select '-infinity'::timestamptz as at where $6
        union all select x.at - interval '3 seconds' from realtime.log x where not $6 and x.pos = $5) s
 cross join lateral (
   select x.* from unnest($1::uuid[]) c (id)
    cross join lateral (
      select y.* from realtime.log y
       where y.channel_id = c.id and y.pos > $4 and y.pos <= $5 and y.at > s.at
         and case when y.kind in ('created', 'updated', 'deleted') then y.user_id is distinct from $3
                  when y.kind in ('joined', 'mark') then y.user_id = $3 else y.kind = 'opened' end
       order by y.pos desc limit $7) x
   union all
   select y.* from realtime.log y
    where y.user_id = $3 and y.tenant = $2 and y.kind = 'left'
      and y.pos > $4 and y.pos <= $5 and y.at > s.at) l
 order by l.channel_id, l.thread, l.kind, l.pos desc`
	list, err := entries(db.Query(ctx, q, gs.readable(), v.Tenant, v.User, low, p.pos, known, untoldMost))
	if err != nil {
		return nil, err
	}
	seen := list[:0]
	for _, e := range list {
		if gs.sees(v, e, nil) {
			seen = append(seen, e)
		}
	}
	return seen, nil
}

// untold takes in what may not have been told where a cursor stands.
func (b *builder) untold(ctx context.Context, from place) error {
	list, err := loadUntold(ctx, b.db, b.v, b.gs, from)
	for _, e := range list {
		switch {
		case e.Kind == Left:
		case e.Kind == Mark && e.Thread != uuid.Nil:
			b.ownThreads[e.Thread] = struct{}{}
		case e.Thread != uuid.Nil:
			b.threads[e.Thread] = struct{}{}
			fallthrough // a thread that was changed or deleted may have been none
		default:
			b.read[e.Channel] = struct{}{}
		}
	}
	return err
}
