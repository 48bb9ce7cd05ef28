package feed

import (
	"context"
	"math"
	"slices"

	"github.com/google/uuid"
)

// delta fills the page with what the log has after the cursor.
func (b *builder) delta(ctx context.Context) error {
	if b.at.mode == inJoined {
		full, err := b.joined(ctx, b.at.channel, b.at.seq, int(b.at.left))
		if err != nil || full {
			return err
		}
		b.at.mode, b.at.channel, b.at.seq, b.at.left = atEntry, uuid.Nil, 0, 0
	}
	list, end, err := b.s.look.on(ctx, b.db, b.v, b.gs.readable(), true, b.at.pos, b.st.pos, pageEntries)
	if err != nil {
		return err
	}
	senders, err := b.senders(ctx, list)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !b.gs.sees(b.v, e, senders[e.Ref]) || b.q.Channels != nil && !slices.Contains(b.q.Channels, e.Channel) {
			b.at.pos, b.at.mark = e.Pos, e.Mark
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
		b.at.pos, b.at.mark = e.Pos, e.Mark
	}
	if len(list) == pageEntries {
		b.page.More = b.at.pos < b.st.pos
		return nil
	}
	if end < b.st.pos { // the next page goes on from there
		b.at.pos, b.page.More, b.passing = end, true, true
		b.at.mark, err = markAt(ctx, b.db, end)
		return err
	}
	b.at.pos, b.at.mark = b.st.pos, b.st.mark
	return nil
}

func (b *builder) senders(ctx context.Context, list []Entry) (map[int64]map[uuid.UUID]struct{}, error) {
	var moves []int64
	for _, e := range list {
		if e.Kind == Mark && e.Ref != 0 && e.User != b.v.User {
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
		if e.Thread != uuid.Nil && !own {
			b.threads[e.Thread] = struct{}{}
		}
	case Joined:
		return b.membership(ctx, e, own)
	case Left:
		if !own {
			b.page.Members = append(b.page.Members, b.gs.change(e))
		} else if !b.gs[e.Channel].member {
			delete(b.shown, e.Channel)
			delete(b.read, e.Channel)
			if !slices.Contains(b.page.Left, e.Channel) {
				b.page.Left = append(b.page.Left, e.Channel)
			}
		}
	case Member:
		b.page.Members = append(b.page.Members, b.gs.change(e))
		if own {
			b.shown[e.Channel] = struct{}{}
		}
	case Channel, Notify:
		b.shown[e.Channel] = struct{}{}
	case Opened:
		return b.opened(ctx, e)
	case Mark:
		switch {
		case own && e.Thread != uuid.Nil:
			b.ownThreads[e.Thread] = struct{}{}
		case own:
			b.read[e.Channel] = struct{}{}
		default:
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
		b.page.Members = append(b.page.Members, b.gs.change(e))
		return false, nil
	case !b.gs[e.Channel].member:
		return false, nil // and left again since: that follows
	case b.room() == 0:
		return true, nil
	}
	b.at.pos, b.at.mark = e.Pos, e.Mark
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
	b.at.pos, b.at.mark = e.Pos, e.Mark
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
