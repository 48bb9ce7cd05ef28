package presence

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestAWindowRests: of a large channel where something changes all the time a window
// takes a tenth of a processor, and never rests for more than a second.
func TestAWindowRests(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{0: 0, time.Millisecond: 9 * time.Millisecond, 50 * time.Millisecond: 450 * time.Millisecond, time.Minute: time.Second} {
		if got := restAfter(took); got != want {
			t.Errorf("%v after %v, want %v", got, took, want)
		}
	}
}

// TestAWindowTellsOfWhomItsReaderHolds: who is pushed off the page is told of as long as the
// reader may hold it; whoever is no member is taken from it by a page begun anew.
func TestAWindowTellsOfWhomItsReaderHolds(t *testing.T) {
	t.Parallel()
	a, b, c := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}
	w := &window{size: 1, t: &tracker{last: map[uuid.UUID]View{}}}
	var told *Counts
	for _, step := range []struct {
		who      uuid.UUID
		status   Status // "": it leaves
		want     []uuid.UUID
		snapshot bool
	}{
		{a, Away, []uuid.UUID{a}, true},
		{b, Offline, nil, false},
		{b, Online, []uuid.UUID{b}, false},
		{a, Offline, []uuid.UUID{a}, false}, // it was told of as away
		{a, "", []uuid.UUID{b}, true},
		{a, Offline, nil, false},
		{b, Offline, []uuid.UUID{a, b}, false},
		{c, Online, []uuid.UUID{c}, true}, // a and b beside it are more than a page
	} {
		if w.t.last[step.who] = (View{UserID: step.who, Status: step.status}); step.status == "" {
			delete(w.t.last, step.who)
		}
		w.arrange()
		got, _ := w.batch(told)
		told = &Counts{}
		*told = w.counts
		var ids []uuid.UUID
		for _, v := range got.Presences {
			ids = append(ids, v.UserID)
		}
		slices.SortFunc(ids, func(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) })
		if !slices.Equal(ids, step.want) || got.Snapshot != step.snapshot {
			t.Errorf("%v becomes %q: told of %v, begun anew %v", step.who[0], step.status, ids, got.Snapshot)
		}
	}
}
