package typing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Expiry is how long an accepted signal shows.
const Expiry = 5 * time.Second

// roomKey is a room of a tenant.
type roomKey struct {
	Tenant  string
	Channel uuid.UUID
	Thread  uuid.UUID
}

// signal is one session's word that it types, or no longer does.
type signal struct {
	roomKey
	user    uuid.UUID
	session uuid.UUID // uuid.Nil: over HTTP
	at      time.Time
	stop    bool
	own     bool // said on this node, which tells it again to those who ask
}

// device is one device of a typist. It keeps the time of its last word also
// after a stop, so that words that overtake each other on the way are told apart.
type device struct {
	at     time.Time
	typing bool
	own    bool // it was said on this node
}

func (d device) ends() time.Time { return d.at.Add(Expiry) }

// types reports whether the word still holds.
func (d device) types(now time.Time) bool { return d.typing && d.ends().After(now) }

type typist struct {
	said    []time.Time // its words since it began, in order: the first, and the last of many
	awaited bool        // somebody waits for its next word
	told    bool        // watchers were last told that it types
	devices map[uuid.UUID]device
}

// mostSaid is how many words of one who goes on typing are remembered: two minutes
// of a client that says so every second or two.
const mostSaid = 64

// say remembers a word.
func (t *typist) say(at time.Time) {
	i, _ := slices.BinarySearchFunc(t.said, at, time.Time.Compare)
	t.said = slices.Insert(t.said, i, at)
	if len(t.said) > mostSaid {
		t.said = slices.Delete(t.said, 1, 2)
	}
}

// until is when the typist stops by itself; zero: it does not type.
func (t *typist) until(now time.Time) time.Time {
	var last time.Time
	for _, d := range t.devices {
		if d.types(now) && d.ends().After(last) {
			last = d.ends()
		}
	}
	return last
}

// topic is the doorbell that tells it.
func (g signal) topic() string {
	stop := "0"
	if g.stop {
		stop = "1"
	}
	return strings.Join([]string{"typing", g.Channel.String(), g.Thread.String(), g.user.String(), g.session.String(),
		strconv.FormatInt(g.at.UnixMilli(), 10), stop, g.Tenant}, "/")
}

// readSignal reads what follows the kind in such a topic.
func readSignal(part []string) (signal, error) {
	var ids [4]uuid.UUID
	for i := range ids {
		id, err := uuid.Parse(part[i])
		if err != nil {
			return signal{}, fmt.Errorf("reading a doorbell: %w", err)
		}
		ids[i] = id
	}
	ms, err := strconv.ParseInt(part[4], 10, 64)
	if err != nil {
		return signal{}, fmt.Errorf("reading a doorbell: %w", err)
	}
	return signal{roomKey: roomKey{part[6], ids[0], ids[1]}, user: ids[2], session: ids[3], at: time.UnixMilli(ms), stop: part[5] == "1"}, nil
}
