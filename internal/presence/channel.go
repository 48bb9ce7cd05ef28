package presence

import (
	"context"
	"slices"
	"sort"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Channel is a page of a channel's members, filtered, ordered and paged over
// what the viewer sees; false: a channel the viewer may not see.
func (r *Reader) Channel(ctx context.Context, v viewer.Viewer, channel uuid.UUID, only []Status, first *int, after *string) (
	page Page, ok bool, err error) {
	n, err := PageSize(first)
	if err != nil {
		return Page{}, false, err
	}
	from, err := parsePosition(after)
	if err != nil {
		return Page{}, false, err
	}
	views, ok, err := r.members(ctx, v, channel)
	if err != nil || !ok {
		return Page{}, false, err
	}
	for _, view := range views {
		if only != nil && !slices.Contains(only, view.Status) {
			continue
		}
		page.Total++
		at := positionOf(view)
		switch {
		case !from.before(at):
		case len(page.Views) < n:
			page.Views, page.Cursors = append(page.Views, view), append(page.Cursors, at.String())
		default:
			page.More = true
		}
	}
	return page, true, nil
}

// ChannelCounts is how many members of each channel the viewer sees in each
// status; a channel the viewer may not see is left out.
func (r *Reader) ChannelCounts(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) (map[uuid.UUID]Counts, error) {
	members, err := loadMembers(ctx, r.w.pool, v.Key, channels)
	if err != nil {
		return nil, err
	}
	var users []uuid.UUID
	for _, ids := range members {
		users = append(users, ids...)
	}
	users = distinct(users)
	if err := r.w.reading(ctx, len(users)); err != nil {
		return nil, err
	}
	views, err := r.Presences(ctx, v, users)
	if err != nil {
		return nil, err
	}
	status := make(map[uuid.UUID]Status, len(views))
	for _, view := range views {
		status[view.UserID] = view.Status
	}
	out := make(map[uuid.UUID]Counts, len(members))
	for channel, ids := range members {
		var c Counts
		for _, id := range ids {
			c.add(status[id], 1)
		}
		out[channel] = c
	}
	return out, nil
}

// members are a channel's members as the viewer sees them, in list order.
func (r *Reader) members(ctx context.Context, v viewer.Viewer, channel uuid.UUID) ([]View, bool, error) {
	found, err := loadMembers(ctx, r.w.pool, v.Key, []uuid.UUID{channel})
	ids, ok := found[channel]
	if err != nil || !ok {
		return nil, false, err
	}
	if err := r.w.reading(ctx, len(ids)); err != nil {
		return nil, false, err
	}
	views, err := r.Presences(ctx, v, ids)
	if err != nil {
		return nil, false, err
	}
	sort.Slice(views, func(i, j int) bool { return positionOf(views[i]).before(positionOf(views[j])) })
	return views, true, nil
}
