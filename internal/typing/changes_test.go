package typing

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

func (open) Peek(users []uuid.UUID) (map[uuid.UUID]time.Time, bool) {
	may, err := open{}.May(context.Background(), users)
	return may, err == nil
}

func (open) Stale() ([]uuid.UUID, bool) { return nil, false }

func (open) Woken(func()) {}

func (open) Keep(func() []uuid.UUID) {}

// some is a gate through which all but one are seen, and that is not always sure.
type some struct {
	open
	hidden uuid.UUID
	unsure bool
	away   bool
	slow   bool        // answers nobody who does not give up
	stale  bool        // of anybody
	whose  []uuid.UUID // it is stale of these
	asked  int         // with May
	onPeek func(users []uuid.UUID)
	kept   func() []uuid.UUID
	keeps  []uuid.UUID // as kept said when it was asked last
}

func (g *some) Keep(f func() []uuid.UUID) { g.kept = f }

func (g *some) Peek(users []uuid.UUID) (map[uuid.UUID]time.Time, bool) {
	if g.onPeek != nil {
		g.onPeek(users)
	}
	g.keeps = g.kept()
	may, ok := g.open.Peek(users)
	delete(may, g.hidden)
	return may, ok && !g.unsure
}

func (g *some) May(ctx context.Context, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	if g.asked++; g.away {
		return nil, errors.New("away")
	}
	if g.slow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	may, err := g.open.May(ctx, users)
	delete(may, g.hidden)
	return may, err
}

func (g *some) Stale() (whose []uuid.UUID, all bool) {
	whose, all = g.whose, g.stale
	g.whose, g.stale = nil, false
	return whose, all
}

// gates is privacy that has one gate for everybody.
type gates struct{ one Gate }

func (g gates) Gate(viewer.Viewer) Gate { return g.one }

func (gates) Typists(context.Context, viewer.Viewer, []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	return nil, nil
}

// watching is a reader of a room in a bubble, of a service without a database, and
// who is woken by it. Everybody's name is known.
func watching(t *testing.T, test func(t *testing.T, s *Service, c *Changes, g *some, woken wait.Flag)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &some{}
		s := New(Options{Clock: clock.New(), Bell: &wire{}, Privacy: gates{g}, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.board.run(ctx) }()
		defer func() { cancel(); <-done }()
		c, woken := readerOf(s), wait.NewFlag()
		c.Woken(woken.Raise)
		if list, ok := c.Now(); ok || list != nil {
			t.Error("it begins without a read, and tells by that what there was to be read:", list)
		}
		if list, err := c.Look(ctx); err != nil || len(list) != 1 || list[0].TotalCount() != 0 {
			t.Error("it begins with", list, err)
		}
		for pass(s.o.Batch); typists(t, c) != -1; {
			t.Error("it begins again")
		}
		test(t, s, c, g, woken)
		c.Close()
		if len(s.streams) != 0 || s.board.hub.Len() != 0 || c.alarm != nil {
			t.Error("a reader that was closed is still there")
		}
	})
}

func readerOf(s *Service) *Changes {
	c := newChanges(s, viewer.Of(room.Tenant, uuid.UUID{99}), []Room{{Channel: room.Channel}, {Channel: room.Channel}})
	s.enter(&c.stream)
	c.begin()
	c.people, c.read = map[uuid.UUID]roster.Person{ann: {}, bo: {}}, time.Now().Add(time.Hour)
	return c
}

// typists is how many type by what Now answers; -1: nothing is told.
func typists(t *testing.T, c *Changes) int {
	t.Helper()
	list, ok := c.Now()
	switch {
	case !ok:
		t.Fatal("somebody is to wait")
	case len(list) == 0:
		return -1
	case len(list) != 1:
		t.Fatalf("%+v", list)
	}
	return list[0].TotalCount()
}

// TestWhoTypesNeedsNobodyToWait: what memory knows is told by Now alone, the first
// change at once and further ones together, also that it is over; and where nothing
// happens nothing is to be done, by nobody and at no time.
func TestWhoTypesNeedsNobodyToWait(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, c *Changes, g *some, woken wait.Flag) {
		batch := s.o.Batch
		tell := func(what string, want int) {
			t.Helper()
			<-woken
			if n := typists(t, c); n != want {
				t.Fatalf("%s: %d type", what, n)
			}
		}
		if n := typists(t, c); n != -1 || c.alarm != nil {
			t.Fatal("nothing happened, and it is told, or something is to be done:", n, c.alarm)
		}
		pass(batch)
		types(s.board, ann, uuid.Nil)
		began := time.Now()
		tell("the first", 1)
		types(s.board, bo, uuid.Nil)
		tell("while it rests", -1)
		tell("another", 2)
		if took := time.Since(began); took != batch {
			t.Errorf("further changes are told after %v, want %v", took, batch)
		}
		pass(batch)
		s.board.silence(room, bo, s.board.clock.Now())
		tell("one is silent", 1)
		tell("its time is over", 0)
		if over := time.Since(began); over != Expiry {
			t.Errorf("it ends after %v", over)
		}
		pass(batch)
		g.hidden = ann
		types(s.board, ann, uuid.Nil)
		tell("one who is hidden", -1)
		g.hidden, g.stale = uuid.Nil, true
		c.raise() // as the gate does
		tell("who is not hidden any more", 1)
		if g.asked != 0 {
			t.Error("the gate was asked by somebody who may not wait")
		}
		tell("its time is over", 0)
		if n := typists(t, c); n != -1 || c.alarm != nil {
			t.Error("nobody types, and it is told, or something is to be done:", n, c.alarm)
		}
	})
}

// TestAPictureDoesNotOutliveItsTime for what is asked and not answered: whoever types no
// more is not shown for longer than a second past that, and the rest again once it is.
func TestAPictureDoesNotOutliveItsTime(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, c *Changes, g *some, woken wait.Flag) {
		typists(t, c)
		pass(s.o.Batch)
		types(s.board, ann, uuid.Nil)
		began := time.Now()
		<-woken
		if n := typists(t, c); n != 1 {
			t.Fatal(n)
		}
		pass(Expiry - time.Millisecond)
		types(s.board, bo, uuid.Nil)
		g.unsure, g.slow = true, true
		for told := 1; told != 0; {
			list, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			told = list[0].TotalCount()
		}
		if age := time.Since(began); age > Expiry+time.Second {
			t.Errorf("told after %v", age)
		}
		g.slow = false
		if list, err := c.Next(t.Context()); err != nil || list[0].TotalCount() != 1 {
			t.Error(list, err)
		}
		pass(Expiry)
		if list, err := c.Next(t.Context()); err != nil || list[0].TotalCount() != 0 {
			t.Error(list, err)
		}
	})
}

// TestWhatIsNotSureIsAsked by Look, and Now tells nothing of it: where the gate, a name
// or a right has to be read. Nothing is lost by that.
func TestWhatIsNotSureIsAsked(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, c *Changes, g *some, woken wait.Flag) {
		typists(t, c)
		unsure := func(what string) {
			t.Helper()
			pass(s.o.Batch)
			for range 2 {
				if list, ok := c.Now(); ok || list != nil {
					t.Fatal(what, "and it is told:", list)
				}
			}
		}
		look := func(want int) {
			t.Helper()
			if list, err := c.Look(t.Context()); err != nil || len(list) != 1 || list[0].TotalCount() != want {
				t.Fatal(list, err)
			}
		}
		g.unsure = true
		types(s.board, ann, uuid.Nil)
		unsure("whether one may be seen is not known")
		look(1)
		if n := typists(t, c); n != -1 {
			t.Fatal("told again:", n)
		}
		g.away = true
		s.board.silence(room, ann, s.board.clock.Now())
		types(s.board, bo, uuid.Nil)
		unsure("whether another may be seen is not known")
		look(0) // on doubt
		g.away, g.unsure, g.hidden, g.stale = false, false, bo, true
		c.raise() // something happens meanwhile that changes nothing that is seen
		for _, when := range []string{"while it rests", "then", "when it was to be asked again"} {
			<-woken
			if n := typists(t, c); n != -1 {
				t.Fatal(when, n, "type")
			}
		}
		g.hidden, g.stale = uuid.Nil, true
		c.raise()
		for took := time.Now(); typists(t, c) != 1; <-woken {
			if time.Since(took) > askAgain {
				t.Fatal("what could not be asked is not asked again")
			}
		}
		c.read = time.Time{} // long ago
		s.board.silence(room, bo, s.board.clock.Now())
		types(s.board, ann, uuid.Nil)
		unsure("what one is called is not known")
		c.people, c.read = map[uuid.UUID]roster.Person{ann: {}}, time.Now()
		if n := typists(t, c); n != 1 {
			t.Fatal("known, and not told:", n)
		}
		c.recheck()
		unsure("whether the room may be seen is not known")
		c.Close()
		if _, ok := c.Now(); ok {
			t.Error("closed, and nothing is to be looked at")
		}
		if _, err := c.Look(t.Context()); !errors.Is(err, hub.ErrClosed) {
			t.Error("after its end:", err)
		}
	})
}

// TestWhoWaitsIsWokenByTheEnd: Close does not wait for news.
func TestWhoWaitsIsWokenByTheEnd(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, _ *Service, c *Changes, _ *some, _ wait.Flag) {
		ended := make(chan error)
		go func() {
			_, err := c.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		c.Close()
		if err := <-ended; !errors.Is(err, hub.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestWhoIsAboutToBeShownIsKept: while a stream looks at its other rooms the gate goes on
// watching those whom it is to show in the first.
func TestWhoIsAboutToBeShownIsKept(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, _ *Changes, g *some, _ wait.Flag) {
		other := roomKey{room.Tenant, uuid.UUID{7}, uuid.Nil}
		types(s.board, ann, uuid.Nil)
		s.board.apply(signal{roomKey: other, user: bo, at: s.board.clock.Now()})
		c := newChanges(s, viewer.Of(room.Tenant, uuid.UUID{99}), []Room{{Channel: room.Channel}, {Channel: other.Channel}})
		s.enter(&c.stream)
		c.begin()
		defer c.Close()
		if list, err := c.Look(t.Context()); err != nil || len(list) != 2 {
			t.Error("it begins with", list, err)
		}
		c.people, c.read = map[uuid.UUID]roster.Person{ann: {}, bo: {}}, time.Now().Add(time.Hour)
		pass(s.o.Batch)
		g.onPeek = func(users []uuid.UUID) {
			if slices.Contains(users, bo) { // the other is about to be shown, and its time is over
				pass(Expiry)
			}
		}
		if list, ok := c.Now(); !ok || len(list) != 2 || !slices.Contains(g.keeps, ann) {
			t.Errorf("%+v, and watched all the while are %v", list, g.keeps)
		}
		if now := seenIn(c.shown); len(now) != 2 {
			t.Error("shown are", now)
		}
	})
}
