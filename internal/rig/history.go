// Package rig decides over recorded histories whether what was promised held: what
// was acknowledged, what each client was told and in which order, who was there
// when. Check knows nothing of servers; the rest of the rig, which runs them, breaks
// them and records, is this package's tests.
package rig

import "time"

// Kind is what a client was told.
type Kind uint8

// The kinds. Base is no event: the client knows a channel up to Seq from now on,
// because it has fetched it. Reset says that what it knew is void until the next Base.
// Left: it is no member of the channel any more; Joined: it is one again, and what it
// knew of it is void: numbers go on from there.
const (
	Base Kind = iota
	Created
	Updated
	Reset
	Left
	Joined
)

// Told is one thing that a client was told by its stream, over however many sockets.
type Told struct {
	Kind    Kind
	Channel string
	Seq     int64
	ID      string // the message's
	Version int
	At      time.Time
}

// Client is one client's stream, in the order in which it came.
type Client struct {
	User string
	Told []Told
	Live bool // it was there at the end, so it must have been told all
	Hold int  // it holds the newest so many messages of a channel, and is told of no change of older ones; 0: all
}

// Ack is one answer to a message that was sent. A key sent twice has two.
type Ack struct {
	Key, Channel, Sender string
	ID                   string
	Seq                  int64
	Began, At            time.Time
	Place                int // in what its sender queued, which goes in its order; 0: it was not queued
}

// Row is a message that the database holds in the end.
type Row struct {
	Key, Channel, Sender string
	ID                   string
	Seq                  int64
	Version              int
}

// Read is a sync asked right after an answer: from a cursor up to which Known was
// told of the channel, and it must bring Need.
type Read struct {
	User, Channel string
	Known, Need   int64
	Brought       []int64
	Reset         bool
}

// Mark is an acknowledged reading of a channel up to Seq.
type Mark struct {
	User, Channel string
	Seq           int64
}

// Count is how much a user has to read in a channel, or (Message set) how many
// have received and read a message, as answered when all was quiet.
type Count struct {
	User, Channel          string
	Unread                 int
	Message                string
	Seq                    int64
	Total, Delivered, Read int
}

// Span is how long a user was connected, as it knows itself: from being let in
// to the last sign of the server's. An open one ends at the history's End.
type Span struct {
	User     string
	From, To time.Time
	Open     bool
}

// Seen is what a viewer was told of another's presence.
type Seen struct {
	Viewer, Target string
	Online         bool
	At             time.Time
}

// Gone is a user who left for good, and the most it may take until others know.
type Gone struct {
	User  string
	At    time.Time
	Bound time.Duration
}

// Turn is when something was done and, where it was, undone: asked for at Began, done at
// At; taken back between BackBegan and Back, zero where that was not yet. After At + Bound
// nobody is told of what it ended.
type Turn struct {
	Began, At       time.Time
	BackBegan, Back time.Time
	Bound           time.Duration
}

// holds reports whether it was in force for certain; by is how long before.
func (o Turn) holds(at time.Time, by time.Duration) bool {
	return at.After(o.At.Add(by)) && (o.Back.IsZero() || at.Before(o.BackBegan))
}

// heldIn reports whether it was in force for certain, for Bound, at some time between two.
func (o Turn) heldIn(from, to time.Time) bool {
	since := o.At.Add(o.Bound)
	if from.After(since) {
		since = from
	}
	return !to.Before(since) && to.After(o.At.Add(o.Bound)) && (o.Back.IsZero() || since.Before(o.BackBegan))
}

// mayHold reports whether it may have been in force at some time between two.
func (o Turn) mayHold(from, to time.Time) bool {
	return to.After(o.Began) && (o.Back.IsZero() || from.Before(o.Back))
}

// Out is a membership that was taken away.
type Out struct {
	User, Channel string
	Turn
}

// Hidden is a user whose status a viewer may not see any more. All: nor anything else,
// as of whom it blocked.
type Hidden struct {
	Viewer, Target string
	All            bool
	Turn
}

// Shared is what a viewer was answered to presenceVisibility, when all it could have
// been told by then it had been: whether it may see a user's status.
type Shared struct {
	Viewer, Target string
	Can            bool
	At             time.Time
}

// Signal is a startTyping that was taken, or whose answer never came: At is when it was
// answered or given up.
type Signal struct {
	User, Channel string
	Began, At     time.Time
}

// Typing is who types in a channel as a viewer was told it. Before is when it had the
// word before this one: until then what it was told earlier held for it for certain.
type Typing struct {
	Viewer, Channel string
	Users           []string
	Before, At      time.Time
}

// Tally is what a server's metrics said when all was quiet, and what its clients
// counted of it; since the process began.
type Tally struct {
	Process              string
	Opened, Closed, Open int64 // sockets
	There                int64 // clients that are connected to it
	Written, Read        int64 // frames; Read: by clients
	Ended                int64 // clients' sockets that ended, with what was on its way
	Rung, Heard          int64 // doorbells
	Deaf                 int64 // times that some may have been lost on their way to it
}

// History is everything that was recorded.
type History struct {
	Members map[string][]string // by channel
	Clients []*Client
	Acks    []Ack
	Rows    []Row
	Reads   []Read
	Marks   []Mark
	Counts  []Count
	Spans   []Span
	Seen    []Seen
	Gone    []Gone
	Outs    []Out
	Hidden  []Hidden
	Shared  []Shared
	Signals []Signal
	Typing  []Typing
	Tallies [][]Tally     // of all servers, one time after another
	Signal  time.Duration // for how long somebody types after a signal, at most
	Grace   time.Duration // within which an absence is none
	End     time.Time

	// SetBack is when the database lost its newest part, as an asynchronous standby
	// does; zero: never. What was answered before it may be gone, and resets are right.
	SetBack time.Time
}
