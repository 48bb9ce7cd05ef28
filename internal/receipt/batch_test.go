package receipt_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// TestABatchOfMarksNamesTheBadOnes and counts the good, wherever they stand.
func TestABatchOfMarksNamesTheBadOnes(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	team, direct := r.say(demo.Team, demo.Alice), r.say(demo.AliceBob, demo.Alice)
	good := []receipt.Mark{{Channel: demo.Team, Message: team}, {Channel: demo.AliceBob, Message: direct}}
	bad := receipt.Mark{Channel: demo.Team, Message: uuid.New()}
	foreign := receipt.Mark{Channel: demo.DaveAlice, Message: uuid.MustParse("00000000-0000-4000-b000-000000000009")}
	for name, c := range map[string]struct {
		marks   []receipt.Mark
		refused []int
		counted int // channels
	}{
		"first":           {[]receipt.Mark{bad, good[0], good[1]}, []int{0}, 2},
		"in between":      {[]receipt.Mark{good[0], foreign, good[1], bad}, []int{1, 3}, 2},
		"in the same one": {[]receipt.Mark{good[0], bad}, []int{1}, 1},
		"all":             {[]receipt.Mark{bad, foreign}, []int{0, 1}, 0},
	} {
		list, err := r.s.Acknowledge(t.Context(), as(demo.Bob), c.marks, true)
		refused, ok := errors.AsType[receipt.Refusals](err)
		var places []int
		for _, f := range refused {
			if f.Index == nil || f.Field != "input" || f.Code != fault.Denied || f.Retryable {
				t.Fatalf("%s: %+v", name, f)
			}
			places = append(places, *f.Index)
		}
		if !ok || !slices.Equal(places, c.refused) || len(list) != c.counted {
			t.Errorf("%s: %v refused, %v", name, places, list)
		}
		for _, s := range list {
			if s.UnreadCount != 0 || s.LastReadMessageID == nil || *s.LastReadMessageID != team && *s.LastReadMessageID != direct {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// TestAMarkAtWhatIsNoMore counts what is before it.
func TestAMarkAtWhatIsNoMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"deleted":           `update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`,
		"deleted for good":  `delete from public.nchat_messages where id = $1`,
		"not published yet": `update public.nchat_messages set scheduled_at = now() + interval '1 hour', published_at = null where id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			first, last := r.say(demo.Team, demo.Alice), r.say(demo.Team, demo.Alice)
			if err := r.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.exec(change, last)
			s := r.ack(demo.Bob, demo.Team, last, true)
			if s.UnreadCount != 0 || s.LastReadMessageID == nil || *s.LastReadMessageID != first && *s.LastReadMessageID != last {
				t.Errorf("%+v", s)
			}
		})
	}
}
