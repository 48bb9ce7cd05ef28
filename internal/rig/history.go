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
const (
	Base Kind = iota
	Created
	Updated
	Reset
)

// Told is one thing that a client was told by its stream, over however many sockets.
type Told struct {
	Kind    Kind
	Channel string
	Seq     int64
	ID      string // the message's
	Version int
}

// Client is one client's stream, in the order in which it came.
type Client struct {
	User string
	Told []Told
	Live bool // it was there at the end, so it must have been told all
}

// Ack is one answer to a message that was sent. A key sent twice has two.
type Ack struct {
	Key, Channel, Sender string
	ID                   string
	Seq                  int64
	Began, At            time.Time
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
	Grace   time.Duration // within which an absence is none
	End     time.Time

	// SetBack is when the database lost its newest part, as an asynchronous standby
	// does; zero: never. What was answered before it may be gone, and resets are right.
	SetBack time.Time
}
