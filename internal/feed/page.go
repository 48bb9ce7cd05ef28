package feed

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// freshChannels is how many channels one statement of a fresh start reads.
const freshChannels = 50

// newest is a message of a channel, newest first.
type newest struct {
	channel, message uuid.UUID
	seq              int64
}

// fresh fills the page with channels and their newest messages, from where the
// one before ended; what happens meanwhile comes after the position that the
// first page took.
func (b *builder) fresh(ctx context.Context) error {
	todo := b.members()
	from, _ := slices.BinarySearchFunc(todo, b.at.channel, func(id, at uuid.UUID) int { return slices.Compare(id[:], at[:]) })
	todo = todo[from:]
	within := b.at.left > 0 && len(todo) > 0 && todo[0] == b.at.channel
	if !within && b.at.channel != uuid.Nil && len(todo) > 0 && todo[0] == b.at.channel {
		todo = todo[1:]
	}
	for len(todo) > 0 {
		chunk := todo[:min(len(todo), freshChannels)]
		before, most := int64(math.MaxInt64), Newest
		if within {
			chunk, before, most, within = chunk[:1], b.at.seq, int(b.at.left), false
		}
		list, err := b.newest(ctx, chunk, before, most)
		if err != nil {
			return err
		}
		if full := b.take(chunk, list, most); full {
			return nil
		}
		todo = todo[len(chunk):]
	}
	b.at.mode, b.at.channel, b.at.seq, b.at.left = atEntry, uuid.Nil, 0, 0
	b.page.More = b.at.pos < b.st.pos
	return nil
}

// take puts channels into the page until it is full.
func (b *builder) take(channels []uuid.UUID, list map[uuid.UUID][]newest, most int) (full bool) {
	for _, c := range channels {
		b.shown[c], b.read[c] = struct{}{}, struct{}{}
		for i, m := range list[c] {
			if b.room() == 0 {
				b.at.channel, b.at.seq, b.at.left = c, list[c][max(i-1, 0)].seq, uint8(most-i) //nolint:gosec // at most Newest
				if i == 0 {
					b.at.seq = math.MaxInt64
					delete(b.shown, c)
					delete(b.read, c)
				}
				b.page.More = true
				return true
			}
			b.add(m.message)
		}
		b.at.channel, b.at.seq, b.at.left = c, 0, 0
	}
	return false
}

// newest reads the newest messages that the viewer may see of channels, before
// a number.
func (b *builder) newest(ctx context.Context, channels []uuid.UUID, before int64, most int) (map[uuid.UUID][]newest, error) {
	const q = `
select k.id, m.message_id, m.seq
  from unnest($1::uuid[], $2::boolean[]) k (id, public)
 cross join lateral (
   select y.message_id, y.seq
     from (select -9223372036854775808 as low, 9223372036854775807 as high where k.public
           union all
           select s.from_seq, coalesce(s.to_seq, 9223372036854775807) from realtime.stints s
            where not k.public and s.channel_id = k.id and s.user_id = $4) r
    cross join lateral (
      select x.message_id, x.seq from realtime.messages x
       where x.channel_id = k.id and x.seq < $3 and x.seq > r.low and x.seq <= r.high and not x.gone and not x.deleted
       order by x.seq desc limit $5) y
    order by y.seq desc limit $5) m
 order by k.id, m.seq desc`
	public := make([]bool, len(channels))
	for i, c := range channels {
		public[i] = b.gs[c].public
	}
	rows, err := b.db.Query(ctx, q, channels, public, before, b.v.User, most)
	if err != nil {
		return nil, fmt.Errorf("reading the newest messages: %w", err)
	}
	out := map[uuid.UUID][]newest{}
	var m newest
	_, err = pgx.ForEachRow(rows, []any{&m.channel, &m.message, &m.seq}, func() error {
		out[m.channel] = append(out[m.channel], m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the newest messages: %w", err)
	}
	return out, nil
}

// delta fills the page with what the log has after the cursor.
func (b *builder) delta(ctx context.Context) error {
	if b.at.mode == inJoined {
		full, err := b.joined(ctx, b.at.channel, b.at.seq, int(b.at.left))
		if err != nil || full {
			return err
		}
		b.at.mode = atEntry
	}
	list, err := loadFor(ctx, b.db, b.v, b.gs.readable(), true, b.at.pos, b.st.pos, pageEntries)
	if err != nil {
		return err
	}
	senders, err := b.senders(ctx, list)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !b.gs.sees(b.v, e, senders[e.Ref]) || b.q.Channels != nil && !slices.Contains(b.q.Channels, e.Channel) {
			b.at.pos = e.Pos
			continue
		}
		full, err := b.entry(ctx, e)
		if err != nil {
			return err
		}
		if full {
			b.page.More = true
			return nil
		}
		b.at.pos = e.Pos
	}
	if len(list) == pageEntries {
		b.page.More = b.at.pos < b.st.pos
		return nil
	}
	b.at.pos = b.st.pos
	return nil
}

func (b *builder) senders(ctx context.Context, list []Entry) (map[int64]map[uuid.UUID]struct{}, error) {
	var moves []int64
	for _, e := range list {
		if e.Kind == Mark && e.User != b.v.User {
			moves = append(moves, e.Ref)
		}
	}
	if len(moves) == 0 {
		return nil, nil
	}
	found, err := b.s.o.Senders(ctx, b.db, moves)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]map[uuid.UUID]struct{}, len(found))
	for ref, ids := range found {
		if slices.Contains(ids, b.v.User) {
			out[ref] = map[uuid.UUID]struct{}{b.v.User: {}}
		}
	}
	return out, nil
}

// entry takes one entry into the page; full: it does not fit.
func (b *builder) entry(ctx context.Context, e Entry) (full bool, err error) {
	own := e.User == b.v.User
	switch e.Kind {
	case Created, Updated, Deleted:
		if _, there := b.places[e.Message]; !there && b.room() == 0 {
			return true, nil
		}
		b.add(e.Message)
		delete(b.dead, e.Message)
		if e.Kind == Deleted {
			b.dead[e.Message] = struct{}{}
		}
		b.read[e.Channel] = struct{}{}
	case Joined:
		return b.membership(ctx, e, own)
	case Left:
		if !own {
			b.page.Members = append(b.page.Members, MemberChange{e.Channel, e.User, Left})
		} else if !b.gs[e.Channel].member {
			delete(b.shown, e.Channel)
			delete(b.read, e.Channel)
			if !slices.Contains(b.page.Left, e.Channel) {
				b.page.Left = append(b.page.Left, e.Channel)
			}
		}
	case Member:
		b.page.Members = append(b.page.Members, MemberChange{e.Channel, e.User, Member})
		if own {
			b.shown[e.Channel] = struct{}{}
		}
	case Channel:
		b.shown[e.Channel] = struct{}{}
	case Opened:
		return b.opened(ctx, e)
	case Mark:
		if own {
			b.read[e.Channel] = struct{}{}
		} else {
			b.page.Moves = append(b.page.Moves, e.Ref)
		}
	case Gone:
	}
	return false, nil
}

// membership takes in that somebody joined; the viewer itself gets the
// channel's newest messages with it.
func (b *builder) membership(ctx context.Context, e Entry, own bool) (full bool, err error) {
	switch {
	case !own:
		b.page.Members = append(b.page.Members, MemberChange{e.Channel, e.User, Joined})
		return false, nil
	case !b.gs[e.Channel].member:
		return false, nil // and left again since: that follows
	case b.room() == 0:
		return true, nil
	}
	b.at.pos = e.Pos
	return b.joined(ctx, e.Channel, math.MaxInt64, Newest)
}

// opened begins a channel anew, of which its members see more now, or less.
func (b *builder) opened(ctx context.Context, e Entry) (full bool, err error) {
	if b.room() == 0 {
		return true, nil
	}
	if !slices.Contains(b.page.Left, e.Channel) {
		b.page.Left = append(b.page.Left, e.Channel)
	}
	b.at.pos = e.Pos
	return b.joined(ctx, e.Channel, math.MaxInt64, Newest)
}

// joined takes in the newest messages of a channel, before a number; full:
// some are left for the next page, whose place is set.
func (b *builder) joined(ctx context.Context, channel uuid.UUID, before int64, most int) (full bool, err error) {
	if !b.gs[channel].member {
		return false, nil
	}
	b.shown[channel], b.read[channel] = struct{}{}, struct{}{}
	list, err := b.newest(ctx, []uuid.UUID{channel}, before, most)
	if err != nil {
		return false, err
	}
	for i, m := range list[channel] {
		if b.room() == 0 {
			b.at.mode, b.at.channel, b.at.seq, b.at.left = inJoined, channel, list[channel][i-1].seq, uint8(most-i) //nolint:gosec // at most Newest
			b.page.More = true
			return true, nil
		}
		b.add(m.message)
	}
	return false, nil
}

// remaining is how many messages are still to come after this page, of the
// next ten thousand changes.
func (b *builder) remaining(ctx context.Context) (int, error) {
	const q = `
select count(distinct y.message_id) from (
  select l.message_id from unnest($1::uuid[]) c (id)
   cross join lateral (
     select x.message_id from realtime.log x
      where x.channel_id = c.id and x.pos > $2 and x.pos <= $3 and x.message_id is not null limit 10000) l limit 10000) y`
	var n int
	if err := b.db.QueryRow(ctx, q, b.gs.readable(), b.at.pos, b.st.pos).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	if b.at.mode == inFresh {
		rest, err := b.unsent(ctx)
		n += rest
		if err != nil {
			return 0, err
		}
	}
	if b.at.mode == atEntry {
		return n, nil
	}
	const here = `
select count(*) from (
  select from realtime.messages x where x.channel_id = $1 and x.seq < $2 and not x.gone and not x.deleted limit $3) y`
	var left int
	if err := b.db.QueryRow(ctx, here, b.at.channel, b.at.seq, int(b.at.left)).Scan(&left); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	return n + left, nil
}

// unsent is how many messages a fresh start has for channels after this one.
func (b *builder) unsent(ctx context.Context) (n int, err error) {
	todo := b.members()
	from, found := slices.BinarySearchFunc(todo, b.at.channel, func(id, at uuid.UUID) int { return slices.Compare(id[:], at[:]) })
	if found {
		from++
	}
	const q = `
select coalesce(sum(m.n), 0)
  from unnest($1::uuid[]) k (id)
 cross join lateral (select count(*) as n from (
   select from realtime.messages x where x.channel_id = k.id and not x.gone and not x.deleted limit $2) y) m`
	if err := b.db.QueryRow(ctx, q, todo[from:], Newest).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting what remains: %w", err)
	}
	return n, nil
}
