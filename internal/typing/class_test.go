package typing

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestOneClassIsOnePicture: pictures that say the same are of one class, whoever sees
// them, and two that differ in anything are not.
func TestOneClassIsOnePicture(t *testing.T) {
	t.Parallel()
	name := func(s string) *string { return &s }
	user := func(change func(*User)) User {
		u := User{UserID: ann, DisplayName: name("ab"), AvatarURL: name("c"), StartedAt: time.UnixMilli(1000)}
		if change != nil {
			change(&u)
		}
		return u
	}
	here, there, thread, direct := Room{Channel: uuid.UUID{1}}, Room{Channel: uuid.UUID{2}}, Room{Channel: uuid.UUID{1}, Thread: uuid.UUID{2}}, Room{Channel: uuid.UUID{1}, Direct: true}
	of := func(r Room, users ...User) RoomTyping { return RoomTyping{Room: r, all: users} }
	one := func(r Room, users ...User) []RoomTyping { return []RoomTyping{of(r, users...)} }
	known := map[Class]string{}
	for what, list := range map[string][]RoomTyping{
		"nothing":               nil,
		"nobody":                one(here),
		"nobody elsewhere":      one(there),
		"nobody in a thread":    one(thread),
		"nobody in a direct":    one(direct),
		"nobody in two":         {of(here), of(there)},
		"nobody in two, turned": {of(there), of(here)},
		"one":                   one(here, user(nil)),
		"another":               one(here, user(func(u *User) { u.UserID = bo })),
		"without a name":        one(here, user(func(u *User) { u.DisplayName = nil })),
		"with an empty name":    one(here, user(func(u *User) { u.DisplayName = name("") })),
		"with another name":     one(here, user(func(u *User) { u.DisplayName, u.AvatarURL = name("a"), name("bc") })),
		"without a picture":     one(here, user(func(u *User) { u.AvatarURL = nil })),
		"since later":           one(here, user(func(u *User) { u.StartedAt = u.StartedAt.Add(time.Microsecond) })),
		"since a second later":  one(here, user(func(u *User) { u.StartedAt = u.StartedAt.Add(time.Second) })),
		"two":                   one(here, user(nil), user(nil)),
		"one in each of two":    {of(here, user(nil)), of(there, user(nil))},
		"two in the first":      {of(here, user(nil), user(nil)), of(there)},
		"two in the second":     {of(here), of(there, user(nil), user(nil))},
	} {
		c := ClassOf(list)
		if other, twice := known[c]; twice {
			t.Errorf("%s is of the class of %s", what, other)
		}
		known[c] = what
	}
	if again := known[ClassOf(one(here, user(func(u *User) { u.StartedAt = u.StartedAt.UTC() })))]; again != "one" {
		t.Error("the same picture is", again)
	}
}

// TestWhoMaySeeLessIsOfAnotherClass: two who watch one room, of whom one may not see
// somebody; and both are of one class while what they may see is the same.
func TestWhoMaySeeLessIsOfAnotherClass(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, c *Changes, _ *some, _ wait.Flag) {
		s.o.Privacy = gates{&some{hidden: ann}}
		less := readerOf(s)
		defer less.Close()
		told := func() (Class, Class) {
			t.Helper()
			a, aok := c.Now()
			b, bok := less.Now()
			if pass(s.o.Batch); !aok || !bok || len(a) != 1 || len(b) != 1 {
				t.Fatal(a, b)
			}
			return ClassOf(a), ClassOf(b)
		}
		if list, err := less.Look(t.Context()); err != nil || len(list) != 1 || ClassOf(list) != ClassOf([]RoomTyping{c.shown[0].told}) {
			t.Error("nobody types, and there are two pictures:", list, err)
		}
		if pass(s.o.Batch); typists(t, less) != -1 {
			t.Error("it begins again")
		}
		types(s.board, bo, uuid.Nil)
		if a, b := told(); a != b {
			t.Error("one whom both see types, and there are two pictures")
		}
		s.board.silence(room, bo, s.board.clock.Now())
		types(s.board, ann, uuid.Nil)
		if a, b := told(); a == b {
			t.Error("who may not see somebody shares the picture of who does")
		}
	})
}
