package typing

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// wire is what a node attends and rings, in order.
type wire struct{ did []string }

func (w *wire) Attend(room string, on bool) { w.did = append(w.did, fmt.Sprintf("%s %v", room, on)) }

func (w *wire) Ring(topics ...string) { w.did = append(w.did, topics...) }

func (w *wire) take() []string {
	defer func() { w.did = nil }()
	return w.did
}

// A channel is attended once, asked for after that, and left by the last.
func TestAChannelIsAttendedWhileItIsNeeded(t *testing.T) {
	t.Parallel()
	w := &wire{}
	s := New(Options{Clock: clock.New(), Bell: w, Rooms: w})
	c := uuid.New()
	st := func() *stream {
		return &stream{rooms: map[roomKey]Room{{Channel: c}: {}, {Channel: c, Thread: uuid.New()}: {}}}
	}
	one, two := st(), st()
	s.enter(one)
	s.enter(two)
	done := s.interest.hear(t.Context(), c)
	s.Resync()
	want := []string{"typing/" + c.String() + " true", "typists/" + c.String(), "typists/" + c.String()}
	if got := w.take(); !slices.Equal(got, want) {
		t.Fatal(got)
	}
	s.leave(one)
	s.leave(two)
	if got := w.take(); len(got) > 0 {
		t.Fatal("left while it is read:", got)
	}
	done()
	if got := w.take(); !slices.Equal(got, []string{"typing/" + c.String() + " false"}) {
		t.Fatal(got)
	}
	s.Resync()
	if got := w.take(); len(got) > 0 {
		t.Fatal("asked for what nobody needs:", got)
	}
}

// Whoever asks is told again what was said here, stops too, and nothing that was
// said elsewhere: that node answers.
func TestWhatWasSaidHereIsSaidAgain(t *testing.T) {
	t.Parallel()
	w := &wire{}
	s := New(Options{Clock: clock.New(), Bell: w, Rooms: w})
	now := time.Now().Truncate(time.Millisecond)
	at := roomKey{"t", uuid.New(), uuid.New()}
	own := signal{roomKey: at, user: uuid.New(), session: uuid.New(), at: now, own: true}
	stopped := signal{roomKey: at, user: uuid.New(), at: now, stop: true, own: true}
	other := signal{roomKey: at, user: uuid.New(), session: uuid.New(), at: now}
	far := signal{roomKey: roomKey{"t", uuid.New(), uuid.Nil}, user: own.user, at: now, own: true}
	for _, g := range []signal{own, stopped, other, far} {
		s.board.apply(g)
	}
	s.Notify(own.topic()) // one's own, come back
	s.Notify("typists/" + at.Channel.String())
	got, want := w.take(), []string{own.topic(), stopped.topic()}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	s.Notify("typists/" + uuid.NewString())
	s.Notify("typists/x")
	if got := w.take(); len(got) > 0 {
		t.Fatal(got)
	}
}

// What a user said over HTTP is taken back by the node that it was said on, up to
// the instant it was taken back.
func TestWhatWasSaidOverHTTPIsTakenBackElsewhere(t *testing.T) {
	t.Parallel()
	w := &wire{}
	s := New(Options{Clock: clock.New(), Bell: w, Rooms: w})
	now := time.Now().Truncate(time.Millisecond)
	user := uuid.New()
	say := func(session uuid.UUID, at time.Time, own bool) roomKey {
		g := signal{roomKey: roomKey{"t", uuid.New(), uuid.Nil}, user: user, session: session, at: at, own: own}
		s.board.apply(g)
		return g.roomKey
	}
	before, after := say(uuid.Nil, now, true), say(uuid.Nil, now.Add(2*time.Millisecond), true)
	heard, socket := say(uuid.Nil, now, false), say(uuid.New(), now, true)
	s.Notify(hush(user, now))
	for _, bad := range []string{"hush/", "hush/x/1", "hush/" + user.String(), "hush/" + user.String() + "/x"} {
		s.Notify(bad)
	}
	if !s.board.until(before, user).IsZero() {
		t.Error("not taken back")
	}
	for _, at := range []roomKey{after, heard, socket} {
		if s.board.until(at, user).IsZero() {
			t.Error("taken back, and it was said later, elsewhere or on a socket")
		}
	}
	if got := w.take(); len(got) != 1 {
		t.Error(got)
	}
}

// Who waits for answers holds nothing meanwhile that others could use.
func TestWhoWaitsForAnswersLetsOthersWork(t *testing.T) {
	t.Parallel()
	s := New(Options{Clock: clock.New(), Bell: &wire{}, Rooms: &wire{}})
	var did []string
	ctx := wait.WithPause(t.Context(), func() func(context.Context) error {
		did = append(did, "given back")
		return func(context.Context) error { did = append(did, "taken"); return nil }
	})
	c := uuid.New()
	defer s.interest.hear(ctx, c)()
	if want := []string{"given back", "taken"}; !slices.Equal(did, want) {
		t.Error(did)
	}
}

// TestAReadTakesAsLongWhoeverIsHere: on a bus where a node hears of some channels
// only, how long a read takes does not tell that somebody has the channel open.
func TestAReadTakesAsLongWhoeverIsHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		s := New(Options{Clock: clock.New(), Bell: w, Rooms: w})
		c := uuid.New()
		took := func() time.Duration {
			began := time.Now()
			s.interest.hear(t.Context(), c)()
			return time.Since(began)
		}
		alone := took()
		s.enter(&stream{rooms: map[roomKey]Room{{Channel: c}: {}}})
		if beside := took(); alone != answers || beside != alone {
			t.Errorf("%v alone, %v beside a stream", alone, beside)
		}
	})
}
