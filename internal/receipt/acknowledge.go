package receipt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Acknowledge moves the viewer's marks forward, delivered or read; reading
// implies delivered. A mark that is further already stays, and nothing is said
// to anybody. Answered are the channels in which a mark was moved or stayed; the
// error may be Refusals, beside them: access-denied for each mark that is no
// message of a channel the viewer is a member of.
func (s *Service) Acknowledge(ctx context.Context, v viewer.Viewer, marks []Mark, read bool) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if len(marks) == 0 {
		return nil, fault.Field("input", "input must not be empty")
	}
	list, refused, err := s.acknowledge(ctx, v, marks, read, false)
	if errors.Is(err, errUnsettled) || err == nil && len(refused) > 0 { // the message, or the membership, may only not be numbered yet
		if err = s.o.Settle(ctx); err == nil {
			list, refused, err = s.acknowledge(ctx, v, marks, read, true)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(refused) < len(marks) {
		s.o.Committed()
	}
	if len(refused) > 0 {
		return list, refused
	}
	return list, nil
}

// AcknowledgeAll reads a channel up to its newest message. A channel without
// any is as it was.
func (s *Service) AcknowledgeAll(ctx context.Context, v viewer.Viewer, channel uuid.UUID) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if err := s.o.Settle(ctx); err != nil {
		return nil, err
	}
	var newest uuid.UUID
	const q = `
select coalesce((select m.message_id from realtime.messages m where m.channel_id = $1 and not m.gone and m.thread is null order by m.seq desc limit 1), $2)`
	if err := s.o.Pool.QueryRow(ctx, q, channel, uuid.Nil).Scan(&newest); err != nil {
		return nil, fmt.Errorf("looking for the newest message: %w", err)
	}
	if newest == uuid.Nil {
		return s.States(ctx, v, []uuid.UUID{channel})
	}
	return s.Acknowledge(ctx, v, []Mark{{Channel: channel, Message: newest}}, true)
}

// errUnsettled: what is about to be read has no number yet, and whose it is
// cannot be told.
var errUnsettled = errors.New("not numbered yet")

// changedMost is how often settings may change while a receipt is made.
const changedMost = 5

// acknowledge moves marks and reads what they are then, by three questions
// where reading is returned to those who share theirs, else by two; again where
// who may learn of it changed meanwhile.
func (s *Service) acknowledge(ctx context.Context, v viewer.Viewer, marks []Mark, read, settled bool) ([]State, Refusals, error) {
	channels, messages, threads := make([]uuid.UUID, len(marks)), make([]uuid.UUID, len(marks)), make([]*uuid.UUID, len(marks))
	for i, m := range marks {
		if channels[i], messages[i] = m.Channel, m.Message; m.Thread != uuid.Nil {
			threads[i] = &marks[i].Thread
		}
	}
	for range changedMost {
		outcomes, list, err := s.move(ctx, v, channels, threads, messages, read, settled)
		if err != nil {
			return nil, nil, err
		}
		if outcomes[0] == "changed" {
			continue
		}
		refused, counted := refusals(outcomes, channels)
		if settled || len(refused) == 0 { // else it is tried again
			s.o.counted(ctx, list)
		}
		if s.o.Legacy && read && len(counted) > 0 {
			s.legacyRead(ctx, v, distinct(counted))
		}
		list = slices.DeleteFunc(list, func(s State) bool { return !slices.Contains(counted, s.ChannelID) })
		return list, refused, nil
	}
	return nil, nil, fault.Later(fault.Unexpected, time.Second, "the settings change all the time")
}

// move is one try: what became of each mark, and what the channels' states are.
func (s *Service) move(ctx context.Context, v viewer.Viewer, channels []uuid.UUID, threads []*uuid.UUID, messages []uuid.UUID, read, settled bool) (
	outcomes []string, list []State, err error) {
	a, err := s.o.Privacy.Audience(ctx, s.o.Pool, v.Key)
	if err != nil {
		return nil, nil, err
	}
	unreturned := []uuid.UUID{}
	if s.o.Reciprocal && read && a.Read {
		if unreturned, err = s.unreturned(ctx, v, channels, messages, settled); err != nil {
			return nil, nil, err
		}
	}
	const q = `select realtime.acknowledge($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`
	err = postgres.QuietBatch(ctx, s.o.Pool, func(b *pgx.Batch) {
		b.Queue(q, v.Tenant, v.User, channels, threads, messages, read, a.Read, a.Delivered, a.ShownTo, some(a.HiddenFrom), some(unreturned), a.Version).
			QueryRow(func(row pgx.Row) error { return row.Scan(&outcomes) })
		b.Queue(readStates, v.Tenant, v.User, distinct(channels)).Query(func(rows pgx.Rows) (err error) {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[State])
			return err
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("moving marks: %w", err)
	}
	return outcomes, list, nil
}

// Refusals are the marks of a batch that were not counted, each with its place
// in the batch. A batch of one has no places.
type Refusals []*fault.Error

func (r Refusals) Error() string { return fmt.Sprintf("%d marks refused, first: %v", len(r), r[0]) }

// Unwrap is what of the marks is wrong, in their order.
func (r Refusals) Unwrap() []error {
	list := make([]error, len(r))
	for i, f := range r {
		list[i] = f
	}
	return list
}

// refusals tells the marks that were not counted from the channels of the others.
func refusals(outcomes []string, channels []uuid.UUID) (refused Refusals, counted []uuid.UUID) {
	for i, outcome := range outcomes {
		var f *fault.Error
		switch outcome {
		case "moved":
			counted = append(counted, channels[i])
			continue
		case "unnumbered":
			f = fault.Later(fault.Unexpected, 5*time.Second, "messages from before are still being numbered")
		default:
			f = fault.Access()
		}
		if len(outcomes) > 1 {
			f.Field, f.Index = "input", &i
		}
		refused = append(refused, f)
	}
	return refused, counted
}

func some(ids []uuid.UUID) []uuid.UUID {
	if ids == nil {
		return []uuid.UUID{}
	}
	return ids
}

// unreturned are the senders of messages about to be read who share no reading
// of their own. Unless settled, errUnsettled where one of them has no number.
func (s *Service) unreturned(ctx context.Context, v viewer.Viewer, channels, messages []uuid.UUID, settled bool) ([]uuid.UUID, error) {
	const q = `
with t as (
  select a.channel, m.thread, m.seq
    from unnest($2::uuid[], $3::uuid[]) a (channel, message)
    join realtime.messages m on m.message_id = a.message and m.channel_id = a.channel)
select (select count(*) from t), coalesce(array_agg(distinct x.sender) filter (where x.sender is not null), '{}')
  from t
  join realtime.stints s on s.channel_id = t.channel and s.user_id = $1 and s.to_seq is null
  left join realtime.marks m on t.thread is null and m.channel_id = t.channel and m.user_id = $1
  left join realtime.thread_marks h on h.thread_id = t.thread and h.channel_id = t.channel and h.user_id = $1
  join realtime.messages x on x.channel_id = t.channel and x.thread is not distinct from t.thread
                          and x.seq <= t.seq and x.seq > greatest(m.read_seq, h.read_seq, s.from_seq)`
	var found int
	var senders []uuid.UUID
	if err := s.o.Pool.QueryRow(ctx, q, v.User, channels, messages).Scan(&found, &senders); err != nil {
		return nil, fmt.Errorf("reading senders: %w", err)
	}
	if found < len(messages) && !settled {
		return nil, errUnsettled
	}
	return s.o.Privacy.Unshared(ctx, s.o.Pool, v.Tenant, senders)
}

// Release shows the moves a user made while invisible, as made now, to whom it
// allowed that then and allows it still.
func (s *Service) Release(ctx context.Context, tx pgx.Tx, user viewer.Key) error {
	a, err := s.o.Privacy.Audience(ctx, tx, user)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `select realtime.release($1, $2, $3, $4, $5)`, user.User, a.Read, a.Delivered, a.ShownTo, a.HiddenFrom); err != nil {
		return fmt.Errorf("showing held receipts: %w", err)
	}
	return nil
}
