package presence

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestAnOperatorSeesSessionsAndNobody: that they are there, how many each node holds,
// which is the newest; nothing tells whose one is, or of one of an invisible user more
// or less than of another.
func TestAnOperatorSeesSessionsAndNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	alice, bob := r.connect(one, demo.Alice), r.connect(one, demo.Bob)
	carol := r.connectAs(two, demo.Carol, newSocket(), false)
	web, err := one.Edit.Heartbeat(t.Context(), as(demo.Dave), nil, Activity{Active: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	for i, id := range []uuid.UUID{alice.Session, bob.Session, carol.Session, web.SessionID} { // each node has its own idea of now
		r.exec(`update realtime.sessions set connected_at = timestamptz '2026-01-01' + $2 * interval '1 minute' where id = $1`, id, i)
	}
	counts, list, err := two.Read.Anonymously(t.Context(), 10)
	if err != nil || counts[one.lease.ID()] != 2 || counts[two.lease.ID()] != 1 || counts[uuid.Nil] != 1 || len(counts) != 3 {
		t.Fatal(counts, err)
	}
	var ids []uuid.UUID
	for _, s := range list {
		if (s.Node == nil) != (s.ID == web.SessionID) || s.ID == carol.Session && *s.Node != two.lease.ID() {
			t.Errorf("%+v", s)
		}
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []uuid.UUID{web.SessionID, carol.Session, bob.Session, alice.Session}) {
		t.Errorf("the newest are not first: %v", ids)
	}
	if _, few, err := two.Read.Anonymously(t.Context(), 1); err != nil || len(few) != 1 || few[0].ID != web.SessionID {
		t.Errorf("one: %v %v", few, err)
	}
	var fields []string
	for f := range reflect.TypeFor[Anonymous]().Fields() {
		fields = append(fields, f.Name)
	}
	if !slices.Equal(fields, []string{"ID", "Node", "Since"}) {
		t.Errorf("an operator sees %v: what tells one user's session from another's is its own", fields)
	}
	if text := fmt.Sprintf("%+v %+v", counts, list); strings.Contains(text, demo.Alice.String()) || strings.Contains(text, primary) {
		t.Error(text)
	}
}

// TestAnOperatorEndsAnySession: one whose socket another node holds, one held here,
// and one over HTTP alone, whose user is offline then; one that is not there is said to be none.
func TestAnOperatorEndsAnySession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	far, near := newSocket(), newSocket()
	alice, carol := r.connectAs(one, demo.Alice, far, true), r.connectAs(two, demo.Carol, near, true)
	for _, s := range []struct {
		id  uuid.UUID
		out <-chan struct{}
	}{{alice.Session, far.out}, {carol.Session, near.out}} {
		if ok, err := two.Edit.Kick(t.Context(), s.id); !ok || err != nil {
			t.Fatal(ok, err)
		}
		next(t, s.out)
	}
	web, err := one.Edit.Heartbeat(t.Context(), as(demo.Dave), nil, Activity{Active: true})
	if err != nil {
		t.Fatal(err)
	}
	bob := r.watch(two, as(demo.Bob), demo.Dave)
	until(t, bob, func(v View) bool { return v.Status == Online })
	if ok, err := two.Edit.Kick(t.Context(), web.SessionID); !ok || err != nil {
		t.Fatal(ok, err)
	}
	until(t, bob, func(v View) bool { return v.Status == Offline })
	if ok, err := two.Edit.Kick(t.Context(), uuid.New()); ok || err != nil {
		t.Error("what is not there was ended:", ok, err)
	}
}
