package typing

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// FuzzRoom: an input names one room or none, and rooms have one name each.
func FuzzRoom(f *testing.F) {
	f.Add(byte(1), []byte{1}, []byte{2}, []byte{3})
	for given := range byte(8) {
		f.Add(given, []byte{given}, []byte{}, []byte("a direct conversation"))
	}
	f.Fuzz(func(t *testing.T, given byte, channel, thread, dm []byte) {
		id := func(bit byte, b []byte) *uuid.UUID {
			if given&bit == 0 {
				return nil
			}
			var x uuid.UUID
			copy(x[:], b)
			return &x
		}
		c, th, d := id(1, channel), id(2, thread), id(4, dm)
		r, err := RoomOf(c, th, d)
		if g := given & 7; (err == nil) != (g == 1 || g == 3 || g == 4) {
			t.Fatalf("%b: %v", g, err)
		}
		if err != nil {
			if x, ok := errors.AsType[*fault.Error](err); !ok || x.Code != fault.Invalid || r != (Room{}) {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		if named := roomNamed(r.Name()); named != r {
			t.Fatalf("%s is %+v, and names %+v", r.Name(), r, named)
		}
		if again, err := RoomOf(r.ChannelID(), r.ThreadID(), r.DmID()); err != nil || again != r {
			t.Fatalf("%+v is %+v, %v", r, again, err)
		}
	})
}

// roomNamed is the one room of a name.
func roomNamed(name string) (r Room) {
	if dm, ok := strings.CutPrefix(name, "dm:"); ok {
		return Room{Channel: uuid.MustParse(dm), Direct: true}
	}
	channel, thread, in := strings.Cut(strings.TrimPrefix(name, "channel:"), ":thread:")
	r.Channel = uuid.MustParse(channel)
	if in {
		r.Thread = uuid.MustParse(thread)
	}
	return r
}

// FuzzDoorbell: what one node rings another reads, and what is read of any text
// says the same where it is rung again. Every role of the database may ring.
func FuzzDoorbell(f *testing.F) {
	f.Add("typing/a/b/c/d/1/0/t", "primary", []byte{1}, int64(5), false)
	f.Add(signal{at: time.UnixMilli(1)}.topic(), "a/b", []byte{}, int64(-1), true)
	f.Add("typing/urn:uuid:00000000-0000-4000-8000-000000000001/{00000000-0000-4000-8000-000000000001}/x/x/+1/1/", "", []byte("abc"), int64(1)<<62, true)
	read := func(topic string) (signal, bool) {
		part := strings.SplitN(strings.TrimPrefix(topic, "typing/"), "/", 7)
		if len(part) != 7 {
			return signal{}, false
		}
		g, err := readSignal(part)
		return g, err == nil
	}
	f.Fuzz(func(t *testing.T, text, tenant string, ids []byte, ms int64, stop bool) {
		g := signal{roomKey: roomKey{Tenant: tenant}, at: time.UnixMilli(ms), stop: stop}
		copy(g.Channel[:], ids)
		copy(g.user[:], ids)
		if at := g.at.UnixMilli(); at == ms { // else no instant of Go's
			if got, ok := read(g.topic()); !ok || got != g {
				t.Fatalf("%+v is read as %+v", g, got)
			}
		}
		if g, ok := read(text); ok {
			if again, ok := read(g.topic()); !ok || again != g {
				t.Fatalf("%q: %+v, and again %+v", text, g, again)
			}
		}
	})
}
