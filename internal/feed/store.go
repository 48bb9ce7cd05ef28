package feed

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// state is where the log stands: the last position given, the last forgotten,
// and of which history of which database that is true.
type state struct {
	pos, floor int64
	mark       int64 // of the entry at pos
	standing   int64 // of the entry where the reader stands that asked; 0: there is none
	epoch      [8]byte
	secret     []byte
	turn       int // of the tail's: how often it had begun anew by then
}

// A database promoted or copied goes on counting from where it was, and gives
// other entries the same positions: its epoch differs. One that was set back (a
// snapshot of its disk put in its place, a crash with synchronous_commit off)
// says of itself that it is the same: there the marks of its entries differ.
const readState = `
select p.pos, h.floor, f.secret, realtime.mark_at(p.pos), coalesce(realtime.mark_at($1), 0),
       concat_ws('/', f.generation, c.system_identifier, d.oid, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))
  from (select realtime.last_pos() as pos offset 0) p, realtime.head h, realtime.feed f, pg_control_system() c, pg_database d
 where d.datname = current_database()`

// nowhere is where a reader stands that has no place yet.
const nowhere = -1

// loadState reads the state for a reader that stands at a position.
func loadState(ctx context.Context, db postgres.DB, at int64) (state, error) {
	return stateOf(db.QueryRow(ctx, readState, at))
}

func stateOf(row pgx.Row) (state, error) {
	var st state
	var epoch string
	if err := row.Scan(&st.pos, &st.floor, &st.secret, &st.mark, &st.standing, &epoch); err != nil {
		return st, fmt.Errorf("reading the head of the log: %w", err)
	}
	st.epoch = epochOf(epoch)
	return st, nil
}

// sealerOf is the sealer of a state's secret.
func (s *Service) sealerOf(st state) *sealer {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.seals[string(st.secret)]
	if !ok {
		clear(s.seals)
		x = &sealer{st.secret}
		s.seals[string(st.secret)] = x
	}
	return x
}

// lastSealer is the one that was used last; nil: none was.
func (s *Service) lastSealer() *sealer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.seals {
		return x
	}
	return nil
}

const entryColumns = `l.pos, l.at, l.tenant, l.channel_id, l.kind, coalesce(l.message_id, '00000000-0000-0000-0000-000000000000'),
       coalesce(l.user_id, '00000000-0000-0000-0000-000000000000'), l.seq, coalesce(l.ref, 0),
       coalesce(l.thread, '00000000-0000-0000-0000-000000000000'), l.mark`

func entries(rows pgx.Rows, err error) ([]Entry, error) {
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	var list []Entry
	var e Entry
	id := func(u *uuid.UUID) *[16]byte { return (*[16]byte)(u) } // read as bytes, not by way of text
	into := []any{&e.Pos, &e.At, &e.Tenant, id(&e.Channel), &e.Kind, id(&e.Message), id(&e.User), &e.Seq, &e.Ref, id(&e.Thread), &e.Mark}
	if _, err := pgx.ForEachRow(rows, into, func() error { list = append(list, e); return nil }); err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return list, nil
}

// loadTail reads the state for a reader that stands at an entry, and everybody's entries
// after that: none where it is another now. In one round trip.
func loadTail(ctx context.Context, db postgres.DB, after, mark int64, most int) (st state, list []Entry, err error) {
	const q = `select ` + entryColumns + ` from realtime.log l where l.pos > $1 and (select realtime.mark_at($1) = $2) order by l.pos limit $3`
	b := &pgx.Batch{}
	b.Queue(readState, after)
	b.Queue(q, after, mark, most)
	res := db.SendBatch(ctx, b)
	defer func() { _ = res.Close() }() // what fails has been read
	if st, err = stateOf(res.QueryRow()); err != nil {
		return st, nil, err
	}
	list, err = entries(res.Query())
	return st, list, err
}

// toldOf is whether an entry of the log (y) is not a mark of somebody else's ($3 asks) that says
// it nothing now. It decides nothing: what is read is judged by sees all the same. But of
// what is hidden nothing is read, so that it fills no page, and costs a reader who was away
// no more statements and no more rows.
const toldOf = `(y.kind <> 'mark' or y.user_id = $3 or coalesce((
  select realtime.shown(v, $3) and (realtime.reading_shown(v, $3) or v.delivered_public) from realtime.moves v where v.id = y.ref), false))`

// loadFor reads the entries of channels, and those of the viewer's own
// memberships, in a range of positions.
func loadFor(ctx context.Context, db postgres.DB, v viewer.Viewer, channels []uuid.UUID, own bool, after, upTo int64, most int) ([]Entry, error) {
	const q = `
select ` + entryColumns + `
  from (select x.* from unnest($1::uuid[]) c (id)
         cross join lateral (select y.* from realtime.log y where y.channel_id = c.id and y.pos > $4 and y.pos <= $5 and ` + toldOf + ` order by y.pos limit $6) x
         union
        (select y.* from realtime.log y
          where $2 and y.user_id = $3 and y.tenant = $7 and y.kind in ('joined', 'left', 'member')
            and y.pos > $4 and y.pos <= $5 order by y.pos limit $6)) l
 order by l.pos limit $6`
	return entries(db.Query(ctx, q, channels, own, v.User, after, upTo, most, v.Tenant))
}

// fill reads what entries speak of: each message once, each move once. Messages
// that nobody waits for are left for whoever comes, and so are those past some bytes.
func (s *Service) fill(ctx context.Context, db postgres.DB, list []Entry, most int, wanted func(Entry) bool) ([]Item, error) {
	bodies, asked, reached, err := s.bodies(ctx, db, list, most, wanted)
	if err != nil {
		return nil, err
	}
	senders, err := s.senders(ctx, db, list)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(list))
	for i, e := range list {
		_, read := asked[e.Message] // and not wanted(e): somebody may wait by now who did not then
		items[i] = Item{Entry: e, loaded: !e.Kind.OfMessage() || i < reached && read}
		if body, ok := bodies[e.Message]; ok && e.Kind.OfMessage() {
			if at, _ := body.Place(); at == e.Channel {
				items[i].Body, items[i].size, items[i].memo = body, body.Size(), &memo{}
			}
		}
		if ids := senders[e.Ref]; e.Kind == Mark && len(ids) > 0 {
			items[i].senders = make(map[uuid.UUID]struct{}, len(ids))
			for _, id := range ids {
				items[i].senders[id] = struct{}{}
			}
		}
	}
	return items, nil
}

// bodiesFirst is how many messages a stream reads at first: each time after that
// twice as many, while they take few bytes. The tail, of which there is one, reads more.
const bodiesFirst = 50

// bodies reads the messages of entries, in parts, until they take too many bytes;
// those of entries before reached are read that somebody waited for. asked: which.
func (s *Service) bodies(ctx context.Context, db postgres.DB, list []Entry, most int, wanted func(Entry) bool) (
	bodies map[uuid.UUID]Body, asked map[uuid.UUID]struct{}, reached int, err error) {
	bodies, asked = map[uuid.UUID]Body{}, map[uuid.UUID]struct{}{}
	for n, bytes := max(bodiesFirst, most>>16), 0; reached < len(list) && bytes < most; n *= 2 {
		byTenant := map[string][]uuid.UUID{}
		part := 0
		for ; reached < len(list) && part < n; reached++ {
			e := list[reached]
			if _, ok := asked[e.Message]; ok || !e.Kind.OfMessage() || !wanted(e) {
				continue
			}
			asked[e.Message] = struct{}{}
			byTenant[e.Tenant] = append(byTenant[e.Tenant], e.Message)
			part++
		}
		for tenant, ids := range byTenant {
			found, err := s.o.Load(ctx, db, tenant, ids)
			if err != nil {
				return nil, nil, 0, err
			}
			for id, m := range found {
				bodies[id] = m
				bytes += m.Size()
			}
		}
	}
	return bodies, asked, reached, nil
}

// senders is who may learn of the marks among entries.
func (s *Service) senders(ctx context.Context, db postgres.DB, list []Entry) (map[int64][]uuid.UUID, error) {
	var moves []int64
	for _, e := range list {
		if e.Kind == Mark && e.Ref != 0 { // one without a move is its user's alone
			moves = append(moves, e.Ref)
		}
	}
	if len(moves) == 0 {
		return nil, nil
	}
	return s.o.Senders(ctx, db, moves)
}

func all(Entry) bool { return true }

// load reads what the tail left out of some items, of which there is at least
// one, up to some bytes: the items before n have what they speak of. The state is what the
// same server says afterwards, for whoever stands at the last of the items.
func (s *Service) load(ctx context.Context, items []Item, most int) (n int, st state, err error) {
	var list []Entry
	var at []int
	for i, it := range items {
		if !it.loaded {
			list, at = append(list, it.Entry), append(at, i)
		}
	}
	db, release, err := oneOf(ctx, s.o.Pool) // as readOn does
	if err != nil {
		return 0, st, fmt.Errorf("reading the log: %w", err)
	}
	defer release()
	filled, err := s.fill(ctx, db, list, most, all)
	if err != nil {
		return 0, st, err
	}
	if st, err = loadState(ctx, db, items[len(items)-1].Pos); err != nil {
		return 0, st, err
	}
	for i, it := range filled {
		if !it.loaded {
			return at[i], st, nil
		}
		items[at[i]] = it
	}
	return len(items), st, nil
}
