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
		if len(b.shown) >= pageEntries { // channels without a message take room too
			b.page.More = true
			return true
		}
	}
	return false
}

// newest reads the newest messages that the viewer may see of channels, before
// a number.
func (b *builder) newest(ctx context.Context, channels []uuid.UUID, before int64, most int) (map[uuid.UUID][]newest, error) {
	const q = `
select k.id, m.message_id, m.seq
  from unnest($1::uuid[], $2::boolean[]) k (id, public)
  join realtime.channels c on c.channel_id = k.id
 cross join lateral (
   select y.message_id, y.seq
     from (select -9223372036854775808 as low, 9223372036854775807 as high where k.public
           union all
           select s.from_seq, coalesce(s.to_seq, 9223372036854775807) from realtime.stints s
            where not k.public and s.channel_id = k.id and s.user_id = $4) r
    cross join lateral (
      select x.message_id, x.seq from realtime.messages x
       where x.channel_id = k.id and x.seq < $3 and x.seq > greatest(r.low, c.void) and x.seq <= r.high and not x.gone and not x.deleted
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
