package feed

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// DefaultHistory is how many messages a page of a channel's past has by default;
// MaxFirst is how many at most, and PageBytes holds as in a sync.
const DefaultHistory = 50

// HistoryQuery asks for a page of a channel's messages.
type HistoryQuery struct {
	Channel uuid.UUID
	Thread  uuid.UUID // only this one's; uuid.Nil: all of the channel's, those in threads too
	Before  string    // a cursor: what is older than it, newest first; so without any cursor
	After   string    // a cursor: what is newer than it, oldest first; not both
	First   int       // 0: DefaultHistory
}

// History is a page of a channel's messages, and where it stands. What is deleted
// softly is there and says so; what is no more is not.
type History struct {
	Messages   []Body
	Start, End string // cursors of the first and of the last looked at; "": there is none
	More       bool   // beyond End
}

// Past reads what is in channels already.
type Past struct{ s *Service }

// Page reads a page with everything in it that was committed before the call:
// of what Sync and a stream of the channel tell the viewer, which is what was
// written while it was a member, and in a public channel everything. Two
// statements, beside the look into the inbox. Errors: access-denied for a channel
// it may not read, whether there is one or not; validation-failed for a limit, and
// for a cursor that is not its own for this channel and thread.
func (h *Past) Page(ctx context.Context, v viewer.Viewer, q HistoryQuery) (History, error) {
	if err := q.check(v); err != nil {
		return History{}, err
	}
	if err := h.s.ToRead(ctx); err != nil {
		return History{}, err
	}
	at, seal, err := h.spot(ctx, v, q)
	if err != nil {
		return History{}, err
	}
	db, release, err := oneOf(ctx, h.s.o.Pool) // another server may lack the messages, and End would pass them
	if err != nil {
		return History{}, fmt.Errorf("reading a channel's messages: %w", err)
	}
	defer release()
	list, more, err := spots(ctx, db, v, q, at)
	if err != nil {
		return History{}, err
	}
	p := History{More: more}
	if p.Messages, list, err = h.fit(ctx, db, v, q, list, &p.More); err != nil || len(list) == 0 {
		return p, err
	}
	if p.Start, err = seal.spot(v, q, list[0].seq); err != nil {
		return p, err
	}
	p.End, err = seal.spot(v, q, list[len(list)-1].seq)
	return p, err
}

func (q *HistoryQuery) check(v viewer.Viewer) error {
	if err := v.Denied(); err != nil {
		return err
	}
	if q.First == 0 {
		q.First = DefaultHistory
	}
	switch {
	case q.First < 1 || q.First > MaxFirst:
		return fault.Field("first", "first must be 1 to %d", MaxFirst)
	case q.Before != "" && q.After != "":
		return fault.Field("after", "before and after exclude each other")
	}
	return nil
}

// spot is where the page begins, and what seals its cursors. The secret is known
// before, as a rule: that saves a round trip.
func (h *Past) spot(ctx context.Context, v viewer.Viewer, q HistoryQuery) (int64, *sealer, error) {
	if seal := h.s.lastSealer(); seal != nil {
		if at, err := seal.openSpot(v, q); err == nil {
			return at, seal, nil
		}
	}
	st, err := loadState(ctx, h.s.o.Pool, nowhere)
	if err != nil {
		return 0, nil, err
	}
	seal := h.s.sealerOf(st)
	at, err := seal.openSpot(v, q)
	return at, seal, err
}

// The page's messages by number, and whether more follow: what was there before us
// may only have no number yet.
const spotsOf = `
select exists (select from realtime.readable($1, $2) r where r.channel_id = $3), p.ids, p.seqs,
       exists (select from realtime.backfill b where not $6 and b.channel_id = $3 and not b.done
                  and exists (select from realtime.spans($1, $2, $3) s where s.low < b.low))
  from (select array_agg(y.message_id order by y.n) as ids, array_agg(y.seq order by y.n) as seqs
          from (select x.message_id, x.seq, row_number() over (order by x.seq %[1]s) as n
                  from realtime.spans($1, $2, $3) s
                 cross join lateral (
                   select k.message_id, k.seq from realtime.messages k
                    where k.channel_id = $3 and k.seq > s.low and k.seq <= s.high and k.seq %[2]s $4 and %[3]s and not k.gone
                    order by k.seq %[1]s limit $5) x
                 order by x.seq %[1]s limit $5) y) p`

var (
	olderIn, olderOf = fmt.Sprintf(spotsOf, "desc", "<", "$7::uuid is null"), fmt.Sprintf(spotsOf, "desc", "<", "k.thread = $7")
	newerIn, newerOf = fmt.Sprintf(spotsOf, "asc", ">", "$7::uuid is null"), fmt.Sprintf(spotsOf, "asc", ">", "k.thread = $7")
)

// spots reads which messages the page has, in its order.
func spots(ctx context.Context, db postgres.DB, v viewer.Viewer, q HistoryQuery, at int64) (list []newest, more bool, err error) {
	text, thread := olderIn, &q.Thread
	switch {
	case q.Thread == uuid.Nil && q.After != "":
		text, thread = newerIn, nil
	case q.Thread == uuid.Nil:
		thread = nil
	case q.After != "":
		text = newerOf
	default:
		text = olderOf
	}
	var readable, unnumbered bool
	var ids []uuid.UUID
	var seqs []int64
	err = db.QueryRow(ctx, text, v.Tenant, v.User, q.Channel, at, q.First+1, q.After != "", thread).Scan(&readable, &ids, &seqs, &unnumbered)
	if err != nil {
		return nil, false, fmt.Errorf("reading a channel's messages: %w", err)
	}
	if !readable {
		return nil, false, fault.Access()
	}
	for i, id := range ids[:min(len(ids), q.First)] {
		list = append(list, newest{q.Channel, id, seqs[i]})
	}
	return list, len(ids) > q.First || unnumbered, nil
}

// fit reads a page's messages, in parts, as far as they are not too many bytes;
// one goes whatever its size. What is no more by now is left out.
func (h *Past) fit(ctx context.Context, db postgres.DB, v viewer.Viewer, q HistoryQuery, list []newest, more *bool) ([]Body, []newest, error) {
	var out []Body
	bytes, n := 0, DefaultFirst
	for from := 0; from < len(list); n *= 2 {
		part := list[from:min(len(list), from+n)]
		ids := make([]uuid.UUID, len(part))
		for i, m := range part {
			ids[i] = m.message
		}
		found, err := h.s.o.Load(ctx, db, v.Tenant, ids)
		if err != nil {
			return nil, nil, err
		}
		for i, id := range ids {
			body, there := found[id]
			if !there || !stands(body, q.Channel) {
				continue
			}
			if bytes += body.Size(); bytes > PageBytes && len(out) > 0 {
				*more = true
				return out, list[:from+i], nil
			}
			out = append(out, body)
		}
		from += len(part)
	}
	return out, list, nil
}

// stands reports whether a message is in a channel still.
func stands(b Body, channel uuid.UUID) bool {
	at, _ := b.Place()
	return b.There() && at == channel
}

const (
	visibleAtOnce = 500
	visibleBytes  = 16 << 20
)

// Visible are those of messages that the viewer may read, everything committed
// before the call considered; what is no more is left out, and who is nobody may
// read none. Error: validation-failed for more than 16 MiB of messages, which no
// answer has room for.
func (h *Past) Visible(ctx context.Context, v viewer.Viewer, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
	if v.Denied() != nil {
		return nil, nil
	}
	if err := h.s.ToRead(ctx); err != nil {
		return nil, err
	}
	db, release, err := oneOf(ctx, h.s.o.Pool) // as Page does
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	defer release()
	const q = `
select k.message_id, k.channel_id
  from unnest($3::uuid[]) a (id)
  join realtime.messages k on k.message_id = a.id and not k.gone
 where exists (select from realtime.spans($1, $2, k.channel_id) s where s.low < k.seq and k.seq <= s.high)`
	rows, err := db.Query(ctx, q, v.Tenant, v.User, ids)
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	var may []uuid.UUID
	places := map[uuid.UUID]uuid.UUID{}
	var id, channel uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id, &channel}, func() error {
		may, places[id] = append(may, id), channel
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	out, bytes := make(map[uuid.UUID]Body, len(may)), 0
	for part := range slices.Chunk(may, visibleAtOnce) {
		found, err := h.s.o.Load(ctx, db, v.Tenant, part)
		if err != nil {
			return nil, err
		}
		for id, body := range found {
			if bytes += body.Size(); bytes > visibleBytes {
				return nil, fault.Field("id", "more than %d bytes of messages at once", visibleBytes)
			}
			if stands(body, places[id]) {
				out[id] = body
			}
		}
	}
	return out, nil
}
