package feed

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestWhoIsToldOfAnEntry: the gate of sync and streams, kind by kind.
func TestWhoIsToldOfAnEntry(t *testing.T) {
	t.Parallel()
	me, other := uuid.UUID{1}, uuid.UUID{2}
	v := viewer.Of("primary", me)
	in := uuid.UUID{9}
	stints := []stint{{10, 20}}
	member := grant{readable: true, member: true, stints: stints}
	barred := grant{member: true, stints: stints}
	public := grant{readable: true, public: true}
	sender := map[uuid.UUID]struct{}{me: {}}
	for what, c := range map[string]struct {
		g       grant
		e       Entry
		senders map[uuid.UUID]struct{}
		want    bool
	}{
		"a message of its time":                       {member, Entry{Kind: Created, Seq: 11}, nil, true},
		"the last of its time":                        {member, Entry{Kind: Updated, Seq: 20}, nil, true},
		"one from before":                             {member, Entry{Kind: Created, Seq: 10}, nil, false},
		"one from before, deleted":                    {member, Entry{Kind: Deleted, Seq: 10}, nil, false},
		"one from after":                              {member, Entry{Kind: Created, Seq: 21}, nil, false},
		"one of its time, barred":                     {barred, Entry{Kind: Created, Seq: 15}, nil, false},
		"one of a public channel":                     {public, Entry{Kind: Created, Seq: 1}, nil, true},
		"one of no channel of its":                    {grant{}, Entry{Kind: Created, Seq: 15}, nil, false},
		"another tenant's":                            {public, Entry{Tenant: "other", Kind: Created, Seq: 15}, nil, false},
		"its own joining, in another tenant":          {member, Entry{Tenant: "other", Kind: Joined, User: me}, nil, false},
		"somebody joins":                              {member, Entry{Kind: Joined, User: other, Seq: 15}, nil, true},
		"somebody joins with it":                      {member, Entry{Kind: Joined, User: other, Seq: 10}, nil, true},
		"somebody had joined before":                  {member, Entry{Kind: Joined, User: other, Seq: 9}, nil, false},
		"somebody leaves after it":                    {member, Entry{Kind: Left, User: other, Seq: 21}, nil, false},
		"its own leaving":                             {barred, Entry{Kind: Left, User: me, Seq: 30}, nil, true},
		"the channel is renamed":                      {member, Entry{Kind: Channel, Seq: 12}, nil, true},
		"it had been, before":                         {member, Entry{Kind: Channel, Seq: 5}, nil, false},
		"it is no more, and barred":                   {barred, Entry{Kind: Gone, Seq: 15}, nil, false},
		"it is made public":                           {public, Entry{Kind: Opened}, nil, true},
		"it is opened, not to the barred":             {barred, Entry{Kind: Opened}, nil, false},
		"its choice of what to hear":                  {member, Entry{Kind: Notify, User: me}, nil, true},
		"another's choice":                            {member, Entry{Kind: Notify, User: other}, nil, false},
		"its choice, barred":                          {barred, Entry{Kind: Notify, User: me}, nil, false},
		"its own mark":                                {member, Entry{Kind: Mark, User: me}, nil, true},
		"its own mark, barred":                        {barred, Entry{Kind: Mark, User: me}, nil, false},
		"another's, over a message of its":            {member, Entry{Kind: Mark, User: other, Ref: 1}, sender, true},
		"another's, over others' alone":               {member, Entry{Kind: Mark, User: other, Ref: 1}, map[uuid.UUID]struct{}{other: {}}, false},
		"another's that nobody may learn of":          {member, Entry{Kind: Mark, User: other}, nil, false},
		"another's, over a message of its, barred":    {barred, Entry{Kind: Mark, User: other, Ref: 1}, sender, false},
		"what this server does not know":              {public, Entry{Kind: "news", User: me, Seq: 15}, sender, false},
		"another's mark in a public channel":          {public, Entry{Kind: Mark, User: other, Ref: 1}, nil, false},
		"another's choice of a public channel's news": {public, Entry{Kind: Notify, User: other}, nil, false},
	} {
		c.e.Channel = in
		if c.e.Tenant == "" {
			c.e.Tenant = v.Tenant
		}
		if got := (grants{in: c.g}).sees(v, c.e, c.senders); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

// TestTheMovesOfAPage: of what its entries' moves tell, a sync is told what it is the
// sender of, and asks of no other.
func TestTheMovesOfAPage(t *testing.T) {
	t.Parallel()
	me, other := uuid.UUID{1}, uuid.UUID{2}
	b := &builder{v: viewer.Of("primary", me), s: &Service{o: Options{Senders: func(_ context.Context, _ postgres.DB, moves []int64) (map[int64][]uuid.UUID, error) {
		if !slices.Equal(moves, []int64{1, 2}) {
			t.Errorf("asked of %v", moves)
		}
		return map[int64][]uuid.UUID{1: {other}, 2: {other, me}}, nil
	}}}}
	got, err := b.senders(t.Context(), []Entry{{Kind: Mark, Ref: 1, User: other}, {Kind: Mark, Ref: 2, User: other}, {Kind: Mark, User: other}, {Kind: Mark, Ref: 3, User: me}, {Kind: Created, Ref: 4}})
	if _, mine := got[2][me]; err != nil || len(got) != 1 || len(got[2]) != 1 || !mine {
		t.Errorf("%v, %v", got, err)
	}
}
