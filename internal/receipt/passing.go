package receipt

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// partMost is how many messages a part has: what comes back of it are stretches
// between any two of them, at most half its square of each kind.
const partMost = 100

// asked are messages as realtime.passing takes them: in parts, each of one thread, or
// of one channel and in no thread.
type asked struct {
	places   [][]int // of each part, by number: places in the list the messages came in
	channels []uuid.UUID
	threads  []*uuid.UUID
	parts    []int32
	seqs     []int64
}

// divide puts messages into parts.
func divide(own []mine) (a asked) {
	order := make([]int, len(own))
	for i := range own {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(slices.Compare(own[x].channel[:], own[y].channel[:]), slices.Compare(own[x].thread[:], own[y].thread[:]), cmp.Compare(own[x].seq, own[y].seq))
	})
	for n, i := range order {
		last := len(a.places) - 1
		if n == 0 || own[i].channel != own[order[n-1]].channel || own[i].thread != own[order[n-1]].thread || len(a.places[last]) == partMost {
			a.places = append(a.places, nil)
			last++
		}
		a.places[last] = append(a.places[last], i)
		var thread *uuid.UUID
		if own[i].thread != uuid.Nil {
			thread = &own[i].thread
		}
		a.threads = append(a.threads, thread)
		a.channels, a.parts, a.seqs = append(a.channels, own[i].channel), append(a.parts, int32(last)), append(a.seqs, own[i].seq) //nolint:gosec // few
	}
	return a
}

// what a stretch tells of the messages in it.
type what int

const (
	had   what = iota // n have each
	first             // the first had them at
	read              // n have read each, the first at
	more              // n more have read each
)

// stretch are messages of a part, by their places from 1, of which moves tell the same.
type stretch struct {
	part      int
	what      what
	low, high int
	n         int
	at        time.Time
}

// loadStretches counts what the viewer may know of moves over its messages: who
// has them is counted once however often it moved, and who has read one has it. Nobody
// passes a channel's messages twice; who reads a thread that stands in two channels, by
// turns, may.
func loadStretches(ctx context.Context, db postgres.DB, v viewer.Viewer, shares bool, a asked) ([]stretch, error) {
	const q = `
with seqs as (
  select u.part, array_agg(u.seq order by u.seq) as list, bool_or(u.thread is not null) as threaded
    from unnest($4::uuid[], $5::int[], $6::bigint[]) u (thread, part, seq) group by u.part),
passing as materialized (select p.*, s.list, s.threaded from realtime.passing($1, $2, $3, $4, $5, $6) p join seqs s on s.part = p.part),
laid as materialized (
  select x.* from (
    select p.part, p.threaded, p.user_id, true as read, width_bucket(p.read_from, p.list) + 1 as low, p.place as high, p.at from passing p where p.read_from is not null
    union all
    select p.part, p.threaded, p.user_id, false, width_bucket(p.delivered_from, p.list) + 1, p.place, p.at from passing p where p.delivered_from is not null) x
   where x.low <= x.high)
select h.part, 0, lower(h.r), upper(h.r) - 1, count(*), to_timestamp(0)
  from (select l.part, unnest(range_agg(int4range(l.low, l.high + 1))) as r from laid l group by l.part, l.user_id) h group by h.part, h.r
 union all
select l.part, 1, l.low, l.high, 0, min(l.at) from laid l group by l.part, l.low, l.high
 union all
select l.part, 2, l.low, l.high, count(*) filter (where not l.threaded), min(l.at) from laid l where l.read group by l.part, l.low, l.high
 union all
select h.part, 3, lower(h.r), upper(h.r) - 1, count(*), to_timestamp(0)
  from (select l.part, unnest(range_agg(int4range(l.low, l.high + 1))) as r from laid l where l.read and l.threaded group by l.part, l.user_id) h group by h.part, h.r`
	rows, err := db.Query(ctx, q, v.User, shares, a.channels, a.threads, a.parts, a.seqs)
	if err != nil {
		return nil, fmt.Errorf("counting receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (st stretch, err error) {
		err = row.Scan(&st.part, &st.what, &st.low, &st.high, &st.n, &st.at)
		return st, err
	})
	if err != nil {
		return nil, fmt.Errorf("counting receipts: %w", err)
	}
	return list, nil
}

// move is a stretch of messages that one user received or read at once, as far
// as the viewer may know. One that read is one that delivered as well what it read.
type move struct {
	user     uuid.UUID
	from, to int64 // from < seq <= to
	read     bool
	at       time.Time
}

// loadMoves reads what the viewer may know of moves over its messages, of each
// part by time. Errors: validation-failed for more than most.
func loadMoves(ctx context.Context, db postgres.DB, v viewer.Viewer, shares bool, a asked, most int) (map[int][]move, error) {
	const q = `
select p.part, p.user_id, x.from_seq, p.to_seq, x.read, p.at
  from realtime.passing($1, $2, $3, $4, $5, $6) p
 cross join lateral (select p.read_from as from_seq, true as read where p.read_from is not null
                     union all
                     select p.delivered_from, false where p.delivered_from < coalesce(p.read_from, 9223372036854775807)) x
 order by p.at limit $7`
	rows, err := db.Query(ctx, q, v.User, shares, a.channels, a.threads, a.parts, a.seqs, most+1)
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	moves := map[int][]move{}
	var part, n int
	var m move
	_, err = pgx.ForEachRow(rows, []any{&part, &m.user, &m.from, &m.to, &m.read, &m.at}, func() error {
		if n++; n > most {
			return fault.Field("messageIds", "more than %d receipts at once: ask for those of fewer messages", most)
		}
		moves[part] = append(moves[part], m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	return moves, nil
}
