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

// MaxReceipts is the longest page of a message's receipts.
const (
	MaxReceipts     = 1000
	DefaultReceipts = 100
)

// mine is one of the viewer's own messages.
type mine struct {
	id, channel uuid.UUID
	seq         int64
	total       int
}

// move is a stretch of messages that one user received or read at once, as far
// as the viewer may know.
type move struct {
	channel, user uuid.UUID
	from, to      int64 // from < seq <= to
	read          bool
	at            time.Time
}

// Reach is how many of the messages a mark passes are told of as it moves; how
// far older ones are is known to whoever asks.
const Reach = 1000

// reached are messages (x) that a move (v) passed, as far as it is told of.
var reached = fmt.Sprintf(`
  x.channel_id = v.channel_id and x.seq <= v.to_seq and x.seq > greatest(v.to_seq - %d, least(v.from_seq, v.delivered_from))`, Reach)

// Deliveries is how far messages have come; those that are not the viewer's
// own, or stand where it may not read, are left out. Two statements for any
// number of messages.
func (s *Service) Deliveries(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]Delivery, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	own, moves, err := s.laid(ctx, v, ids)
	return count(own, moves), err
}

// laid reads the viewer's own messages and what it may know of moves over them.
func (s *Service) laid(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) ([]mine, []move, error) {
	own, err := loadMine(ctx, s.o.Pool, v, ids)
	if err == nil && len(own) < len(distinct(ids)) { // some may not be numbered yet
		if err = s.o.Settle(ctx); err == nil {
			own, err = loadMine(ctx, s.o.Pool, v, ids)
		}
	}
	if err != nil || len(own) == 0 {
		return nil, nil, err
	}
	shares, err := s.shares(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	moves, err := loadMoves(ctx, s.o.Pool, v, shares, own)
	return own, moves, err
}

func (s *Service) shares(ctx context.Context, v viewer.Viewer) (bool, error) {
	if !s.o.Reciprocal {
		return true, nil
	}
	list, err := s.o.Privacy.Unshared(ctx, s.o.Pool, v.Tenant, []uuid.UUID{v.User})
	return len(list) == 0, err
}

// loadMine reads the viewer's own messages, in the order asked.
func loadMine(ctx context.Context, db postgres.DB, v viewer.Viewer, ids []uuid.UUID) ([]mine, error) {
	const q = `
select m.message_id, m.channel_id, m.seq,
       m.members - (select count(*) from realtime.stints s
                     where s.channel_id = m.channel_id and s.user_id = $2 and s.from_seq < m.seq and (s.to_seq is null or m.seq <= s.to_seq))::int
  from unnest($3::uuid[]) with ordinality k (id, ord)
  join realtime.messages m on m.message_id = k.id and m.sender = $2 and not m.gone
  join realtime.readable($1, $2) r on r.channel_id = m.channel_id
 order by k.ord`
	rows, err := db.Query(ctx, q, v.Tenant, v.User, distinct(ids))
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m mine, err error) {
		err = row.Scan(&m.id, &m.channel, &m.seq, &m.total)
		m.total = max(m.total, 0)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return list, nil
}

// loadMoves reads what the viewer may know of moves over its messages. A move
// that read is one that delivered as well.
func loadMoves(ctx context.Context, db postgres.DB, v viewer.Viewer, shares bool, own []mine) ([]move, error) {
	low, high := map[uuid.UUID]int64{}, map[uuid.UUID]int64{}
	for _, m := range own {
		if l, ok := low[m.channel]; !ok || m.seq < l {
			low[m.channel] = m.seq
		}
		if h, ok := high[m.channel]; !ok || m.seq > h {
			high[m.channel] = m.seq
		}
	}
	var channels []uuid.UUID
	var lows, highs []int64
	for c, l := range low {
		channels, lows, highs = append(channels, c), append(lows, l), append(highs, high[c])
	}
	const q = `
select v.channel_id, v.user_id, x.from_seq, v.to_seq, x.read, v.at
  from unnest($3::uuid[], $4::bigint[], $5::bigint[]) k (channel, low, high)
  join realtime.moves v on v.channel_id = k.channel and v.to_seq >= k.low
 cross join lateral (
   select v.from_seq, true as read where $2 and realtime.reading_shown(v, $1)
   union all
   select v.delivered_from, false where v.delivered_public and v.delivered_from is not null
      and not ($2 and realtime.reading_shown(v, $1) and v.from_seq <= v.delivered_from)) x
 where x.from_seq < k.high and realtime.shown(v, $1)`
	rows, err := db.Query(ctx, q, v.User, shares, channels, lows, highs)
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m move, err error) {
		err = row.Scan(&m.channel, &m.user, &m.from, &m.to, &m.read, &m.at)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading receipts: %w", err)
	}
	return list, nil
}

// count lays moves over messages. Pure.
func count(own []mine, moves []move) []Delivery {
	out := make([]Delivery, len(own))
	byChannel := map[uuid.UUID][]int{} // of own, by number
	for i, m := range own {
		out[i] = Delivery{MessageID: m.id, ChannelID: m.channel, TotalRecipients: m.total}
		byChannel[m.channel] = append(byChannel[m.channel], i)
	}
	for _, list := range byChannel {
		slices.SortFunc(list, func(a, b int) int { return cmp.Compare(own[a].seq, own[b].seq) })
	}
	slices.SortFunc(moves, func(a, b move) int { return a.at.Compare(b.at) })
	had := map[uuid.UUID][]uint64{} // who has a message already, by user: a bit for each of own
	for _, mv := range moves {
		list := byChannel[mv.channel]
		first, _ := slices.BinarySearchFunc(list, mv.from+1, func(i int, seq int64) int { return cmp.Compare(own[i].seq, seq) })
		for _, i := range list[first:] {
			if own[i].seq > mv.to {
				break
			}
			bits := had[mv.user]
			if bits == nil {
				bits = make([]uint64, (len(own)+63)/64)
				had[mv.user] = bits
			}
			out[i].note(mv, &bits[i/64], uint64(1)<<(i%64))
		}
	}
	return out
}

// note takes in that one recipient has the message. Moves come by time; those
// that read one message are one a user.
func (d *Delivery) note(mv move, had *uint64, bit uint64) {
	if *had&bit == 0 {
		*had |= bit
		d.DeliveredCount++
		if d.DeliveredAt == nil {
			at := mv.at.UTC().Truncate(time.Minute)
			d.DeliveredAt = &at
		}
	}
	if mv.read {
		d.ReadCount++
		if d.ReadAt == nil {
			at := mv.at.UTC()
			d.ReadAt = &at
		}
	}
}

// Ledger is who has which of some of the viewer's messages. It may be asked by
// many at once.
type Ledger struct {
	own   map[uuid.UUID]mine
	moves map[uuid.UUID][]move // by channel, by time
}

// Ledger reads, for any number of messages, who has them; those that are not
// the viewer's own are left out.
func (s *Service) Ledger(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) (*Ledger, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	own, moves, err := s.laid(ctx, v, ids)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(moves, func(a, b move) int { return a.at.Compare(b.at) })
	l := &Ledger{map[uuid.UUID]mine{}, map[uuid.UUID][]move{}}
	for _, m := range own {
		l.own[m.id] = m
	}
	for _, m := range moves {
		l.moves[m.channel] = append(l.moves[m.channel], m)
	}
	return l, nil
}

// Receipts is a page of who has a message, by user id, and how many have it.
// Errors: validation-failed for a page too long and for a cursor that is none.
func (l *Ledger) Receipts(message uuid.UUID, first int, after string) (page []Receipt, more bool, total int, err error) {
	if first < 1 || first > MaxReceipts {
		return nil, false, 0, fault.Field("first", "first must be 1 to %d", MaxReceipts)
	}
	at := uuid.Nil
	if after != "" {
		if at, err = uuid.Parse(after); err != nil {
			return nil, false, 0, fault.Field("after", "after is not a cursor of receipts")
		}
	}
	m, ok := l.own[message]
	if !ok {
		return nil, false, 0, nil
	}
	all := receipts(m, l.moves[m.channel])
	total = len(all)
	from, found := slices.BinarySearchFunc(all, at, func(r Receipt, id uuid.UUID) int { return slices.Compare(r.UserID[:], id[:]) })
	if found {
		from++
	}
	all = all[from:]
	return all[:min(first, len(all))], len(all) > first, total, nil
}

// receipts lays moves, which come by time, over one message, by user. Pure.
func receipts(m mine, moves []move) []Receipt {
	by := map[uuid.UUID]*Receipt{}
	for _, mv := range moves {
		if m.seq <= mv.from || m.seq > mv.to {
			continue
		}
		r, ok := by[mv.user]
		if !ok {
			at := mv.at.UTC().Truncate(time.Minute)
			r = &Receipt{UserID: mv.user, MessageID: m.id, DeliveredAt: &at}
			by[mv.user] = r
		}
		if mv.read && r.ReadAt == nil {
			at := mv.at.UTC()
			r.ReadAt = &at
		}
	}
	out := make([]Receipt, 0, len(by))
	for _, r := range by {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Receipt) int { return slices.Compare(a.UserID[:], b.UserID[:]) })
	return out
}

// sendersAtOnce is how many moves one statement of Senders looks at.
const sendersAtOnce = 200

// Senders is who may learn of each of some moves: the senders of messages it
// passed, by the part of it that each may see. A move nobody may learn of is
// left out.
func Senders(ctx context.Context, db postgres.DB, moves []int64) (map[int64][]uuid.UUID, error) {
	q := `
select v.id, array_agg(distinct x.sender)
  from realtime.moves v
  join realtime.messages x on ` + reached + `
 where v.id = any ($1) and realtime.shown(v, x.sender)
   and (realtime.reading_shown(v, x.sender) and x.seq > v.from_seq or v.delivered_public and x.seq > v.delivered_from)
 group by v.id`
	out := map[int64][]uuid.UUID{}
	for part := range slices.Chunk(moves, sendersAtOnce) {
		rows, err := db.Query(ctx, q, part)
		if err != nil {
			return nil, fmt.Errorf("reading who learns of receipts: %w", err)
		}
		var id int64
		var users []uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id, &users}, func() error {
			out[id] = slices.Clone(users)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading who learns of receipts: %w", err)
		}
	}
	return out, nil
}

// Passed are the viewer's own messages that moves passed, by the part of each
// that it may see, oldest first; of each move the newest Reach.
func (s *Service) Passed(ctx context.Context, v viewer.Viewer, moves []int64) ([]uuid.UUID, error) {
	if len(moves) == 0 {
		return nil, nil
	}
	shares, err := s.shares(ctx, v)
	if err != nil {
		return nil, err
	}
	q := `
select x.message_id
  from realtime.moves v
  join realtime.messages x on x.sender = $1 and not x.gone and ` + reached + `
 where v.id = any ($3) and realtime.shown(v, $1)
   and ($2 and realtime.reading_shown(v, $1) and x.seq > v.from_seq or v.delivered_public and x.seq > v.delivered_from)
 group by x.message_id, x.channel_id, x.seq order by x.channel_id, x.seq`
	rows, err := s.o.Pool.Query(ctx, q, v.User, shares, moves)
	if err != nil {
		return nil, fmt.Errorf("reading messages received: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading messages received: %w", err)
	}
	return ids, nil
}
