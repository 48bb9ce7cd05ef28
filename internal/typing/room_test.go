package typing

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestRoomNames(t *testing.T) {
	t.Parallel()
	a, b := uuid.New(), uuid.New()
	for name, r := range map[string]Room{
		"channel:" + a.String():                           {Channel: a},
		"channel:" + a.String() + ":thread:" + b.String(): {Channel: a, Thread: b},
		"dm:" + a.String():                                {Channel: a, Direct: true},
	} {
		if got := r.Name(); got != name {
			t.Errorf("%+v is named %s, not %s", r, got, name)
		}
	}
}

func TestWhichInputsNameARoom(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	p := &id
	for name, c := range map[string]struct {
		channel, thread, dm *uuid.UUID
		ok                  bool
	}{
		"nothing": {nil, nil, nil, false}, "channel": {p, nil, nil, true}, "thread of a channel": {p, p, nil, true}, "dm": {nil, nil, p, true},
		"thread alone": {nil, p, nil, false}, "channel and dm": {p, nil, p, false}, "thread and dm": {nil, p, p, false}, "all": {p, p, p, false},
	} {
		if _, err := RoomOf(c.channel, c.thread, c.dm); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	name := func(s string) User {
		if s == "" {
			return User{}
		}
		return User{DisplayName: &s}
	}
	for want, names := range map[string][]string{
		"": nil, "Ann is typing...": {"Ann"}, "Someone is typing...": {""}, "Ann and Bo are typing...": {"Ann", "Bo"},
		"Ann, Bo, and Someone are typing...": {"Ann", "Bo", ""}, "Ann, Bo, and 2 others are typing...": {"Ann", "Bo", "Cy", "Di"},
		"Ann, Bo, and 10 others are typing...": {"Ann", "Bo", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"},
	} {
		var r RoomTyping
		for _, n := range names {
			r.all = append(r.all, name(n))
		}
		got := r.Text()
		if want == "" && got != nil || want != "" && (got == nil || *got != want) {
			t.Errorf("%v: %v, want %q", names, got, want)
		}
		if len(r.Users(DefaultUsers)) != min(10, len(names)) || r.TotalCount() != len(names) {
			t.Errorf("%v: %d listed of %d", names, len(r.Users(DefaultUsers)), r.TotalCount())
		}
	}
}

func TestASignalsWordSurvivesTheDoorbell(t *testing.T) {
	t.Parallel()
	s := signal{roomKey: roomKey{"te/nant", uuid.New(), uuid.New()}, user: uuid.New(), session: uuid.New(), at: time.UnixMilli(1700000000123), stop: true}
	got, err := readSignal(strings.SplitN(strings.TrimPrefix(s.topic(), "typing/"), "/", 7))
	if err != nil || got != s {
		t.Fatalf("%+v %v, want %+v", got, err, s)
	}
	if len(s.topic()) > 512 {
		t.Fatal("too long for a doorbell")
	}
}
