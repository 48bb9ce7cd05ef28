package feed

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestWhoComesWhileMessagesAreReadIsNotToldOfDeletions: a stream of a channel begins
// between the question whose messages anybody waits for, and their coming. Those not
// asked for are still to be read; else they are told as messages that are no more.
func TestWhoComesWhileMessagesAreReadIsNotToldOfDeletions(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := newService(pool, &bells{})
	mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, fixed('m', 1), fixed('c', 0))
	if err := s.sequencer.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := loadState(t.Context(), pool, nowhere)
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadFor(t.Context(), pool, viewer.Of("primary", fixed('u', 0)), []uuid.UUID{fixed('c', 0)}, false, 0, st.pos, tailRead)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	watched := false
	items, err := s.fill(t.Context(), pool, list[len(list)-1:], held, func(Entry) bool { defer func() { watched = true }(); return watched })
	if err != nil || len(items) != 1 || !watched {
		t.Fatalf("%v, %v", items, err)
	}
	if n, _, err := s.load(t.Context(), items, streamBytes); err != nil || n != 1 || items[0].Body == nil {
		t.Errorf("%d, %v: the message is not read: %+v", n, err, items[0])
	}
}
