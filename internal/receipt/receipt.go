// Package receipt knows how far each member of a channel has received and read
// its messages, and who may learn of it.
//
// A mark is a position in a channel and only moves forward; one move is one
// row, however many messages it passes. What a sender learns of its messages
// follows from the moves. Whether others may learn of a move is decided when
// it is made, by presence, and kept with it: a receipt once shown is never
// taken back, and one made in private is never shown later. The package owns
// the tables marks, moves and legacy of the schema realtime.
package receipt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Status is how far a message has come, as its sender sees it.
type Status string

// The statuses, rising. Failed is only ever the answer to a sending.
const (
	Sent      Status = "sent"
	Delivered Status = "delivered"
	Read      Status = "read"
	Failed    Status = "failed"
)

// Mark is a message up to which, itself included, all of a channel is meant.
type Mark struct{ Channel, Message uuid.UUID }

// State is how far the viewer is in a channel. Unread counts what others wrote
// to the channel itself after the mark, but not what is deleted or the system's.
type State struct {
	ChannelID              uuid.UUID
	LastReadMessageID      *uuid.UUID
	LastReadAt             *time.Time
	LastDeliveredMessageID *uuid.UUID
	UnreadCount            int
	MentionCount           int
}

// ID is the cache key: the channel's id.
func (s State) ID() string { return s.ChannelID.String() }

// Delivery is how far one of the viewer's own messages has come. The counts are
// over those who let the viewer know; the total is fixed when the message is numbered.
type Delivery struct {
	MessageID       uuid.UUID
	ChannelID       uuid.UUID
	TotalRecipients int
	DeliveredCount  int
	ReadCount       int
	DeliveredAt     *time.Time // the first recipient's, to the minute
	ReadAt          *time.Time // the first reader's
}

// ID is the cache key: the message's id.
func (d Delivery) ID() string { return d.MessageID.String() }

// Status rises with the first recipient.
func (d Delivery) Status() Status {
	switch {
	case d.ReadCount > 0:
		return Read
	case d.DeliveredCount > 0:
		return Delivered
	}
	return Sent
}

// Receipt is one recipient's.
type Receipt struct {
	UserID      uuid.UUID
	MessageID   uuid.UUID
	DeliveredAt *time.Time // to the minute
	ReadAt      *time.Time
}

// Cursor is where a page ends after this receipt.
func (r Receipt) Cursor() string { return r.UserID.String() }

// Privacy is presence, as far as receipts ask it.
type Privacy interface {
	// Audience is decided from the user's settings, contacts and blocks, now.
	Audience(ctx context.Context, db postgres.DB, user viewer.Key) (viewer.Audience, error)
	// Unshared are those of users who do not share their own reading, and
	// therefore see nobody's; none where reciprocity is off.
	Unshared(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]uuid.UUID, error)
}

// Options are what the package stands on.
type Options struct {
	Pool      *pgxpool.Pool
	Privacy   Privacy
	Committed func() // called after each commit that wrote
	// Settle waits until what was committed before has its number and its place in the log.
	Settle     func(context.Context) error
	Reciprocal bool // who shares no reading sees none
	Legacy     bool // keep nchat_channel_members' old read columns in step
	Log        *slog.Logger
}

// Service is receipts as the rest of the server sees them.
type Service struct{ o Options }

// New builds the service.
func New(o Options) *Service { return &Service{o} }

// Acknowledge moves the viewer's marks forward, delivered or read; reading
// implies delivered. A mark that is further already stays, and nothing is said
// to anybody. All or nothing: access-denied where one of them is no message of
// a channel the viewer is a member of.
func (s *Service) Acknowledge(ctx context.Context, v viewer.Viewer, marks []Mark, read bool) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if len(marks) == 0 {
		return nil, fault.Field("input", "input must not be empty")
	}
	channels, messages := make([]uuid.UUID, len(marks)), make([]uuid.UUID, len(marks))
	for i, m := range marks {
		channels[i], messages[i] = m.Channel, m.Message
	}
	move := func() error {
		return postgres.Quietly(ctx, s.o.Pool, func(tx pgx.Tx) error {
			return s.acknowledge(ctx, tx, v, channels, messages, read)
		})
	}
	err := move()
	if _, refused := errors.AsType[*fault.Error](err); refused { // the message, or the membership, may only not be numbered yet
		if err = s.o.Settle(ctx); err == nil {
			err = move()
		}
	}
	if err != nil {
		return nil, err
	}
	s.o.Committed()
	return s.States(ctx, v, distinct(channels))
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
select coalesce((select m.message_id from realtime.messages m where m.channel_id = $1 and not m.gone order by m.seq desc limit 1), $2)`
	if err := s.o.Pool.QueryRow(ctx, q, channel, uuid.Nil).Scan(&newest); err != nil {
		return nil, fmt.Errorf("looking for the newest message: %w", err)
	}
	if newest == uuid.Nil {
		return s.States(ctx, v, []uuid.UUID{channel})
	}
	return s.Acknowledge(ctx, v, []Mark{{Channel: channel, Message: newest}}, true)
}

func (s *Service) acknowledge(ctx context.Context, tx pgx.Tx, v viewer.Viewer, channels, messages []uuid.UUID, read bool) error {
	a, err := s.o.Privacy.Audience(ctx, tx, v.Key)
	if err != nil {
		return err
	}
	unshared, err := s.unshared(ctx, tx, v, channels, messages, read && a.Read)
	if err != nil {
		return err
	}
	if err := known(ctx, tx, v, channels, messages); err != nil {
		return err
	}
	const q = `select realtime.acknowledge($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`
	var n int
	hidden := a.HiddenFrom
	if hidden == nil {
		hidden = []uuid.UUID{}
	}
	err = tx.QueryRow(ctx, q, v.Tenant, v.User, channels, messages, read, a.Read, a.Delivered, a.Held,
		a.ShownTo, hidden, unshared, s.o.Legacy).Scan(&n)
	if err != nil {
		return fmt.Errorf("moving marks: %w", err)
	}
	if n < len(distinct(channels)) {
		return fault.Access()
	}
	return nil
}

// known checks that each message is one of its channel's. That one is still
// being numbered learns only who is a member.
func known(ctx context.Context, tx pgx.Tx, v viewer.Viewer, channels, messages []uuid.UUID) error {
	const q = `
select count(*) filter (where m.message_id is null), count(*) filter (where m.message_id is null and s.user_id is not null)
  from unnest($1::uuid[], $2::uuid[]) a (channel, message)
  left join realtime.messages m on m.message_id = a.message and m.channel_id = a.channel and not m.gone
  left join realtime.nchat_messages() o on o.id = a.message and o.channel_id = a.channel and o.published
  left join realtime.stints s on s.channel_id = o.channel_id and s.user_id = $3 and s.to_seq is null`
	var missing, unnumbered int
	if err := tx.QueryRow(ctx, q, channels, messages, v.User).Scan(&missing, &unnumbered); err != nil {
		return fmt.Errorf("looking for messages: %w", err)
	}
	switch {
	case missing == 0:
		return nil
	case missing == unnumbered:
		return fault.Later(fault.Unexpected, 5*time.Second, "messages from before are still being numbered")
	}
	return fault.Access()
}

// unshared are the senders of messages now read who share no reading of their
// own; nobody where reciprocity is off.
func (s *Service) unshared(ctx context.Context, tx pgx.Tx, v viewer.Viewer, channels, messages []uuid.UUID, public bool) ([]uuid.UUID, error) {
	none := []uuid.UUID{}
	if !public || !s.o.Reciprocal {
		return none, nil
	}
	const q = `
select distinct x.sender
  from unnest($2::uuid[], $3::uuid[]) a (channel, message)
  join realtime.messages t on t.message_id = a.message and t.channel_id = a.channel
  join realtime.stints s on s.channel_id = a.channel and s.user_id = $1 and s.to_seq is null
  left join realtime.marks m on m.channel_id = a.channel and m.user_id = $1
  join realtime.messages x on x.channel_id = a.channel and x.seq <= t.seq and x.seq > greatest(m.read_seq, s.from_seq)
 where x.sender is not null`
	rows, err := tx.Query(ctx, q, v.User, channels, messages)
	if err != nil {
		return nil, fmt.Errorf("reading senders: %w", err)
	}
	senders, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading senders: %w", err)
	}
	out, err := s.o.Privacy.Unshared(ctx, tx, v.Tenant, senders)
	if err != nil || out == nil {
		return none, err
	}
	return out, nil
}

// Release shows the moves a user made while invisible, as made now, to whom it
// allowed that then and allows it still.
func (s *Service) Release(ctx context.Context, tx pgx.Tx, user viewer.Key) error {
	a, err := s.o.Privacy.Audience(ctx, tx, user)
	if err != nil {
		return err
	}
	const q = `
with shown as (
  update realtime.moves
     set held = false, at = clock_timestamp(), read_public = read_public and $2, delivered_public = delivered_public and $3,
         hidden_from = hidden_from || coalesce($5::uuid[], '{}'),
         shown_to = case when shown_to is null then $4::uuid[] when $4::uuid[] is null then shown_to
                         else array(select unnest(shown_to) intersect select unnest($4::uuid[])) end
   where user_id = $1 and held
  returning id, channel_id, to_seq)
select realtime.note_marks($1, array_agg(s.channel_id order by s.id), array_agg(s.to_seq order by s.id), array_agg(s.id order by s.id))
  from shown s having count(*) > 0`
	if _, err := tx.Exec(ctx, q, user.User, a.Read, a.Delivered, a.ShownTo, a.HiddenFrom); err != nil {
		return fmt.Errorf("showing held receipts: %w", err)
	}
	return nil
}

// Current is States with everything that was committed before the call.
func (s *Service) Current(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	if err := s.o.Settle(ctx); err != nil {
		return nil, err
	}
	return states(ctx, s.o.Pool, v, channels)
}

// States is how far the viewer is in channels, by what is in the log, in one statement. Those it is no
// member of are left out; nil: all of its channels.
func (s *Service) States(ctx context.Context, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	return states(ctx, s.o.Pool, v, channels)
}

func states(ctx context.Context, db postgres.DB, v viewer.Viewer, channels []uuid.UUID) ([]State, error) {
	const q = `
select s.channel_id, case when m.read_at is not null then r.message_id end, m.read_at,
       case when m.delivered_at is not null then d.message_id end, u.n, u.mentioned
  from realtime.stints s
 cross join lateral (select from realtime.readable($1, $2) x where x.channel_id = s.channel_id and x.member offset 0) k
  left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
  left join lateral (select x.message_id from realtime.messages x
                      where x.channel_id = s.channel_id and x.seq <= m.read_seq and not x.gone order by x.seq desc limit 1) r on true
  left join lateral (select x.message_id from realtime.messages x
                      where x.channel_id = s.channel_id and x.seq <= m.delivered_seq and not x.gone order by x.seq desc limit 1) d on true
 cross join lateral realtime.unread(s.channel_id, $2) u
 where s.user_id = $2 and s.to_seq is null and ($3::uuid[] is null or s.channel_id = any ($3))
 order by s.channel_id`
	rows, err := db.Query(ctx, q, v.Tenant, v.User, channels)
	if err != nil {
		return nil, fmt.Errorf("reading read states: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[State])
	if err != nil {
		return nil, fmt.Errorf("reading read states: %w", err)
	}
	return list, nil
}

func distinct(ids []uuid.UUID) []uuid.UUID {
	seen := make(map[uuid.UUID]struct{}, len(ids))
	out := make([]uuid.UUID, 0, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			out = append(out, id)
		}
	}
	return out
}
