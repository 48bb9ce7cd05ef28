package typing

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
)

var (
	room = roomKey{"primary", uuid.UUID{1}, uuid.Nil}
	ann  = uuid.UUID{2}
	bo   = uuid.UUID{3}
)

// inABubble runs a board whose time is the test's own.
func inABubble(t *testing.T, test func(t *testing.T, b *board)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBoard(clock.New())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.run(ctx) }()
		test(t, b)
		cancel()
		<-done
	})
}

func types(b *board, user, session uuid.UUID) time.Time {
	return b.apply(signal{roomKey: room, user: user, session: session, at: b.clock.Now()})
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTypingEndsByItself(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		sub := b.hub.Subscribe(room)
		until := types(b, ann, uuid.UUID{9})
		if d := until.Sub(b.clock.Now()); d != Expiry {
			t.Fatalf("for %v", d)
		}
		if dirty, _, _ := sub.Next(t.Context()); len(dirty) != 1 || len(b.typing(room)) != 1 {
			t.Fatal("not told")
		}
		pass(3 * time.Second)
		began := b.typing(room)[0].said[0]
		types(b, ann, uuid.UUID{9})
		pass(4 * time.Second)
		if l := b.typing(room); len(l) != 1 || !l[0].said[0].Equal(began) {
			t.Fatalf("who goes on typing blinks: %+v", l)
		}
		pass(time.Second)
		if len(b.typing(room)) != 0 {
			t.Fatal("never ends")
		}
		if dirty, _, _ := sub.Next(t.Context()); len(dirty) != 1 {
			t.Fatal("the end is not told")
		}
		if len(b.rooms) != 0 || b.alarm.Len() != 0 || len(b.index.channels) != 0 || len(b.index.speakers) != 0 {
			t.Fatal("something is kept")
		}
	})
}

func TestTwoDevicesAreOneTypist(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		phone, laptop := uuid.UUID{8}, uuid.UUID{9}
		types(b, ann, phone)
		pass(time.Second)
		types(b, ann, laptop)
		if len(b.typing(room)) != 1 {
			t.Fatal("counted twice")
		}
		b.apply(signal{roomKey: room, user: ann, session: phone, at: b.clock.Now(), stop: true})
		if len(b.typing(room)) != 1 {
			t.Fatal("a stop on one device stops the other")
		}
		for _, s := range b.stopsOf(uuid.Nil, laptop) {
			s.at = s.at.Add(time.Millisecond)
			b.apply(s)
		}
		if len(b.typing(room)) != 0 {
			t.Fatal("the end of the last device is not the end")
		}
	})
}

func TestWordsThatOvertakeEachOther(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		now := b.clock.Now()
		b.apply(signal{roomKey: room, user: ann, at: now.Add(time.Millisecond), stop: true})
		b.apply(signal{roomKey: room, user: ann, at: now})
		if len(b.typing(room)) != 0 {
			t.Fatal("an older start undoes a stop")
		}
		b.apply(signal{roomKey: room, user: ann, at: now.Add(-Expiry)})
		b.apply(signal{roomKey: room, user: ann, at: now.Add(2 * time.Millisecond)})
		if len(b.typing(room)) != 1 {
			t.Fatal("a newer start is not taken")
		}
	})
}

func TestAMessageSilencesItsAuthorOnAllDevices(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		types(b, ann, uuid.UUID{8})
		types(b, ann, uuid.UUID{9})
		pass(time.Millisecond)
		types(b, bo, uuid.UUID{7})
		b.silence(room, ann, b.clock.Now())
		if l := b.typing(room); len(l) != 1 || l[0].user != bo {
			t.Fatalf("%+v", l)
		}
		pass(time.Second)
		types(b, ann, uuid.UUID{8})
		if len(b.typing(room)) != 2 {
			t.Fatal("silent for good")
		}
		b.silence(room, ann, b.clock.Now().Add(-time.Millisecond)) // a message from before, told late
		if len(b.typing(room)) != 2 {
			t.Fatal("silenced by what was sent before it typed")
		}
	})
}

func TestOrderIsByBeginning(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		types(b, bo, uuid.Nil)
		pass(time.Second)
		types(b, ann, uuid.Nil)
		pass(time.Second)
		types(b, bo, uuid.Nil)
		list := b.typing(room)
		all := map[uuid.UUID]time.Time{ann: {}, bo: {}}
		if now, _ := picture(Room{}, list, all, nil); now.all[0].UserID != bo || now.all[1].UserID != ann {
			t.Fatalf("%+v", now)
		}
		// Of whom a viewer may know the last second only, it is shown by that.
		all[bo] = b.clock.Now().Add(-1500 * time.Millisecond)
		if now, _ := picture(Room{}, list, all, nil); now.all[0].UserID != ann || !now.all[1].StartedAt.Equal(b.clock.Now()) {
			t.Fatalf("what may not be told tells by the order: %+v", now)
		}
	})
}

// TestWhatMayNotBeToldWaitsForTheNextWord: one who goes on typing is told anew where
// somebody could not be told of what was typed before, and else is not.
func TestWhatMayNotBeToldWaitsForTheNextWord(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		sub := b.hub.Subscribe(room)
		told := func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			dirty, _, _ := sub.Next(ctx)
			return len(dirty) > 0
		}
		types(b, ann, uuid.Nil)
		told()
		list := b.typing(room)
		may := map[uuid.UUID]time.Time{ann: b.clock.Now()}
		now, later := picture(Room{}, list, may, nil)
		if len(now.all) != 0 || len(later) != 1 {
			t.Fatalf("%+v, later %v", now, later)
		}
		pass(time.Second)
		types(b, ann, uuid.Nil)
		if told() {
			t.Fatal("told though nobody waits")
		}
		b.await(room, later[0]) // it has spoken already
		if !told() {
			t.Fatal("its word of meanwhile is lost")
		}
		b.await(room, b.typing(room)[0])
		pass(time.Second)
		types(b, ann, uuid.Nil)
		if !told() {
			t.Fatal("its next word is not told")
		}
		pass(time.Second)
		types(b, ann, uuid.Nil)
		if told() {
			t.Fatal("told for ever")
		}
		for range 3 * mostSaid {
			pass(time.Second)
			types(b, ann, uuid.Nil)
		}
		if said := b.typing(room)[0].said; len(said) != mostSaid || !said[0].Equal(list[0].said[0]) {
			t.Fatalf("%d words, the first %v", len(said), said[0])
		}
	})
}

// A word at once after a stop is the newer one, though a stop is dated ahead; and
// so is the next stop. What another node said with a clock ahead is not overtaken.
func TestWordsOfOneDeviceAreInTheirOrder(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, b *board) {
		there := newBoard(b.clock) // another node's, told by doorbell
		say := func(stop bool) time.Time {
			at := b.clock.Now().Truncate(time.Millisecond)
			if stop {
				at = at.Add(time.Millisecond)
			}
			said, until := b.say(signal{roomKey: room, user: ann, at: at, stop: stop})
			there.apply(said)
			return until
		}
		for range 3 {
			if until := say(false); until.IsZero() || len(b.typing(room)) != 1 || len(there.typing(room)) != 1 {
				t.Fatalf("a start after a stop: until %v", until)
			}
			if until := say(true); !until.IsZero() || len(b.typing(room)) != 0 || len(there.typing(room)) != 0 {
				t.Fatalf("a stop after a start: until %v", until)
			}
		}
		b.apply(signal{roomKey: room, user: ann, at: b.clock.Now().Add(time.Second), stop: true})
		if until := say(false); !until.IsZero() {
			t.Errorf("a stop from a second ahead is overtaken: until %v", until)
		}
	})
}

// TestAnEndThatComesBeforeItsAlarm: what ended by itself and is taken back just then,
// before anybody was told, is told all the same.
func TestAnEndThatComesBeforeItsAlarm(t *testing.T) {
	t.Parallel()
	device := uuid.UUID{9}
	for what, ends := range map[string]func(b *board){
		"a stop": func(b *board) {
			b.apply(signal{roomKey: room, user: ann, session: device, at: b.clock.Now(), stop: true})
		},
		"a message": func(b *board) { b.silence(room, ann, b.clock.Now()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard(clock.New()) // nobody runs its alarm yet
			sub := b.hub.Subscribe(room)
			types(b, ann, device)
			sub.Take()
			<-time.After(Expiry)
			ends(b)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); b.run(ctx) }()
			pass(2 * Expiry)
			if dirty, _ := sub.Take(); len(dirty) != 1 || len(b.rooms) != 0 {
				t.Errorf("%s: the end is not told, or something is kept", what)
			}
			cancel()
			<-done
		})
	}
}
