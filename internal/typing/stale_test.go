package typing

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/roster"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// TestOnlyWhereWhoChangedTypesIsLookedAt: who typed once and changes its presence all the
// time has nobody look at anything; who is shown, or types and is hidden, the rooms where
// that is; and where it is not known who changed, all are looked at.
func TestOnlyWhereWhoChangedTypesIsLookedAt(t *testing.T) {
	t.Parallel()
	watching(t, func(t *testing.T, s *Service, _ *Changes, g *some, _ wait.Flag) {
		here, there, empty := room, roomKey{room.Tenant, uuid.UUID{7}, uuid.Nil}, roomKey{room.Tenant, uuid.UUID{8}, uuid.Nil}
		all, once := []roomKey{here, there, empty}, uuid.UUID{5}
		typesIn := func(at roomKey, user uuid.UUID) {
			s.board.apply(signal{roomKey: at, user: user, at: s.board.clock.Now()})
		}
		typesIn(empty, once)
		c := newChanges(s, viewer.Of(room.Tenant, uuid.UUID{99}), []Room{{Channel: here.Channel}, {Channel: there.Channel}, {Channel: empty.Channel}})
		s.enter(&c.stream)
		c.begin()
		defer c.Close()
		if _, err := c.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.people, c.read = map[uuid.UUID]roster.Person{ann: {}, bo: {}, once: {}}, time.Now().Add(time.Hour)
		pass(Expiry)
		typesIn(here, ann)
		typesIn(there, bo)
		g.hidden = bo
		looks := func(what string, want []roomKey, told int, whose ...uuid.UUID) {
			t.Helper()
			pass(s.o.Batch)
			var looked []roomKey
			var out []RoomTyping
			for g.whose = whose; c.due(); {
				list, err := c.changed(func(x *shown) (RoomTyping, error) {
					looked = append(looked, x.at)
					return c.peek(x)
				})
				if err != nil {
					t.Fatal(what, err)
				}
				out = append(out, list...)
			}
			if !slices.Equal(looked, want) || len(out) != told {
				t.Errorf("%s: looked at %v, want %v; told %+v", what, looked, want, out)
			}
		}
		looks("at first", all, 1)
		if !slices.Contains(g.kept(), bo) {
			t.Error("of who types and is hidden nobody hears that it shows itself:", g.kept())
		}
		for range 20 {
			looks("who typed once", nil, 0, once, uuid.New())
		}
		looks("who is shown", []roomKey{here}, 0, once, ann)
		looks("who types and is hidden", []roomKey{there}, 0, bo)
		g.hidden = ann
		looks("who is shown hides", []roomKey{here}, 1, ann)
		looks("whom nobody sees goes on", []roomKey{here}, 0, ann)
		g.hidden = uuid.Nil
		looks("who was hidden shows itself", []roomKey{there}, 1, bo)
		looks("two", []roomKey{here, there}, 1, bo, ann)
		g.stale = true
		looks("anybody", all, 0)
		delete(s.board.index.typists, ann) // as though the board knew nothing of it
		g.hidden = ann
		looks("who is shown still, and hides", []roomKey{here}, 1, ann)
	})
}

// nameless is a rig's privacy, after whose first answer names cannot be read.
type nameless struct {
	*rig
	t *testing.T
}

func (n *nameless) Typists(ctx context.Context, v viewer.Viewer, users []uuid.UUID) (map[uuid.UUID]time.Time, error) {
	n.do(n.t, `alter function realtime.nchat_users() rename to gone`)
	return n.rig.Typists(ctx, v, users)
}

// TestWhereNamesCannotBeReadAtFirst nobody is shown, and everybody once they can.
func TestWhereNamesCannotBeReadAtFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, demoWorld(t))
	r.o.Privacy = &nameless{r, t}
	r.board.apply(signal{roomKey: roomKey{alice.Tenant, team.Channel, uuid.Nil}, user: demo.Bob, at: r.board.clock.Now()})
	c, err := r.Changes(t.Context(), alice, []Room{team})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, want := range []int{0, 1} {
		list, err := c.Next(ctx)
		if err != nil || len(list) != 1 || list[0].TotalCount() != want {
			t.Fatal(list, err)
		}
		if want == 0 {
			r.do(t, `alter function realtime.gone() rename to nchat_users`)
		}
	}
}
