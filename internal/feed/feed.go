// Package feed is the log: what happened in which channel, and how a reader
// who was away gets exactly what it missed.
//
// Triggers note each change of a message, a membership, a channel or a mark in
// an inbox, within the writer's transaction; the sequencer gives committed
// changes their numbers within their channel and dense positions. A position
// is visible only after all before it, so that a cursor, which is a position,
// never skips anything, whatever writers are still at work. The package owns
// the tables inbox, log, head, feed, channels, messages, revisions,
// message_versions, stints, gates and backfill of the schema realtime. It knows who may see which entry, and
// nothing of what a message or a receipt says.
package feed

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Kind is what an entry of the log tells.
type Kind string

// The kinds of entries. Member is a change of rights; Channel one of its
// settings; Opened that it became public or ceased to be, so that its members
// see more of it or less; Gone the end of a channel; Mark a move of somebody's
// marks; Notify a change of what somebody wants to hear of a channel.
const (
	Created Kind = "created"
	Updated Kind = "updated"
	Deleted Kind = "deleted"
	Joined  Kind = "joined"
	Left    Kind = "left"
	Member  Kind = "member"
	Channel Kind = "channel"
	Opened  Kind = "opened"
	Gone    Kind = "gone"
	Mark    Kind = "mark"
	Notify  Kind = "notify"
)

// OfMessage reports whether the entry is about a message.
func (k Kind) OfMessage() bool { return k == Created || k == Updated || k == Deleted }

// Entry is one line of the log.
type Entry struct {
	Pos     int64
	At      time.Time
	Tenant  string
	Channel uuid.UUID
	Kind    Kind
	Message uuid.UUID // of a message's entry
	User    uuid.UUID // a message's sender, or whose membership, mark or choice it is; uuid.Nil: nobody's
	Seq     int64     // the message's number in its channel, else the channel's last one then
	Ref     int64     // a mark's move, 0: its user alone learns of it; of a membership how many members there are after it
	Thread  uuid.UUID // a message's or a mark's; uuid.Nil: none
	Mark    int64     // tells it from another that had the same position in another history
}

// Item is an entry with what it speaks of as that is now.
type Item struct {
	Entry
	Body Body // the message of a message's entry; nil where it is no more, or in another channel now

	loaded  bool                   // Body is as it was when the entry was read
	size    int                    // of Body, in bytes
	senders map[uuid.UUID]struct{} // who may learn of a mark
	memo    *memo                  // of Body; nil: nothing is remembered
}

// Use is what Once makes of an item, and for whom.
type Use int

// Uses of an item: one for each type that is made of it.
const (
	ForMessages Use = iota
	uses
)

// memo is what is made of an item once for all of this node.
type memo [uses]struct {
	once sync.Once
	made any
}

// Once is what make makes of an item as the tail has it for a use, made once for all
// who read it there: it may depend on the item, and on nobody who reads it. nil: make
// has panicked for somebody.
func (it *Item) Once(use Use, make func() any) any {
	if it.memo == nil {
		return make()
	}
	m := &it.memo[use]
	m.once.Do(func() { m.made = make() })
	return m.made
}

// Body is a message as the app reads it, of which the log knows this much.
type Body interface {
	// Place is the channel it is in, and whether it is deleted.
	Place() (channel uuid.UUID, deleted bool)
	// There reports whether the app has it still, deleted or not.
	There() bool
	// Size is about how many bytes it takes.
	Size() int
}

// Options are what the package stands on.
type Options struct {
	Pool      *pgxpool.Pool
	Vital     *pgxpool.Pool // for the sequencer's and the tail's reader, which wait for no caller; nil: Pool
	Bell      hub.Doorbell
	Log       *slog.Logger
	Retention time.Duration // of the log
	// Load reads messages by id; those that are no more may be left out.
	Load func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error)
	// Created is told of each message that was sent, on every node, in order and
	// without blocking; nil: nobody asks.
	Created func(Entry)
	// Senders is who may learn of each of these moves of marks.
	Senders func(ctx context.Context, db postgres.DB, moves []int64) (map[int64][]uuid.UUID, error)
	// Turn is taken by what a stream that has begun reads for its viewer alone.
	Turn wait.Turn
	// Holding is taken, before a turn, by a stream that is to read messages for its viewer
	// alone, and given back when these have been told: whoever reads slowly holds no more
	// of them. nil: everybody may at once.
	Holding wait.Turn
	// PassedOver is told of each change that could have no place in the log, without
	// blocking; nil: nobody asks.
	PassedOver func()
}

// Service is the log as the rest of the server sees it.
type Service struct {
	*sequencer
	Past *Past
	o    Options
	tail *tail
	look looking

	mu    sync.Mutex
	seals map[string]*sealer // guarded by mu: by secret; one, unless the database was changed under us
}

// New builds the service. Nothing runs before Run.
func New(o Options) *Service {
	if o.Vital == nil {
		o.Vital = o.Pool
	}
	s := &Service{o: o, tail: newTail(), look: newLooking(), seals: map[string]*sealer{}}
	s.Past = &Past{s}
	s.sequencer = &sequencer{o: o, wake: wait.NewFlag(), told: func() {
		s.tail.wake.Raise()
		o.Bell.Ring("log")
	}}
	s.sequencer.rounds.gather = s.sequencer.gather
	return s
}

// Run gives positions to what is committed, reads what has one, and numbers
// what was there before us, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.follow(ctx) })
	wg.Go(func() { s.backfill(ctx) })
	s.sequence(ctx)
}

// Topics are the doorbells this package answers, by prefix.
var Topics = []string{"log", "inbox"}

// Notify is one doorbell.
func (s *Service) Notify(topic string) {
	if topic == "log" {
		s.tail.wake.Raise()
		return
	}
	s.Committed()
}

// Resync says that doorbells may have been lost.
func (s *Service) Resync() {
	s.tail.wake.Raise()
	s.Committed()
}

func sortedIDs(ids []uuid.UUID) []uuid.UUID {
	out := slices.Clone(ids)
	slices.SortFunc(out, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(out)
}
