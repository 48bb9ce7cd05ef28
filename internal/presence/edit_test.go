package presence

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

func TestBlocksAndContactsTakeEffectAtOnceOnLiveStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	if _, err := n.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil); err != nil {
		t.Fatal(err)
	}
	dave := r.watch(n, as(demo.Dave), demo.Alice)
	if v := next(t, dave); v.Status != Offline {
		t.Fatalf("dave wrote to alice, she never wrote: %+v", v)
	}
	bell := func() { n.Watch.Notify("audience/" + demo.Alice.String()) } // as the trigger's doorbell
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'hi')`, demo.DaveAlice, demo.Alice)
	r.exec(`select realtime.sequence(1000, false)`)
	bell()
	if v := next(t, dave); v.Status != Online {
		t.Fatalf("alice wrote: dave is a contact now: %+v", v)
	}
	if err := n.Lists.Block(t.Context(), alice, demo.Dave); err != nil {
		t.Fatal(err)
	}
	bell()
	if v := next(t, dave); !v.equal(neverSeen(demo.Alice)) {
		t.Fatalf("blocked: %+v", v)
	}
	if err := n.Lists.Unblock(t.Context(), alice, demo.Dave); err != nil {
		t.Fatal(err)
	}
	bell()
	if v := next(t, dave); v.Status != Online {
		t.Fatalf("unblocked: %+v", v)
	}
	if err := n.Lists.AddContact(t.Context(), alice, demo.Frank); err != nil {
		t.Fatal(err)
	}
	if v := r.see(n, as(demo.Frank), demo.Alice); v.Status != Online {
		t.Fatalf("frank is listed: %+v", v)
	}
	if err := n.Lists.RemoveContact(t.Context(), alice, demo.Frank); err != nil {
		t.Fatal(err)
	}
	if v := r.see(n, as(demo.Frank), demo.Alice); v.Status != Offline {
		t.Fatalf("frank's own list gives frank nothing: %+v", v)
	}
	for _, unknown := range []uuid.UUID{uuid.New(), demo.Alice} {
		for _, do := range []func(context.Context, viewer.Viewer, uuid.UUID) error{n.Lists.AddContact, n.Lists.RemoveContact, n.Lists.Block, n.Lists.Unblock} {
			if err := do(t.Context(), alice, unknown); err != nil {
				t.Fatalf("an unknown id is told apart: %v", err)
			}
		}
	}
}

func TestWhoSeesWhatByEachVisibility(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	for _, c := range []struct {
		vis  Visibility
		sees map[uuid.UUID]Status
	}{
		{Everyone, map[uuid.UUID]Status{demo.Alice: Online, demo.Bob: Online, demo.Carol: Online, demo.Dave: Online, demo.Erin: Offline, demo.Frank: Online}},
		{Contacts, map[uuid.UUID]Status{demo.Alice: Online, demo.Bob: Online, demo.Carol: Online, demo.Dave: Offline, demo.Erin: Offline, demo.Frank: Offline}},
		{Nobody, map[uuid.UUID]Status{demo.Alice: Online, demo.Bob: Offline, demo.Carol: Offline, demo.Dave: Offline, demo.Erin: Offline, demo.Frank: Offline}},
	} {
		if _, err := n.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: &c.vis}, nil); err != nil {
			t.Fatal(err)
		}
		for who, want := range c.sees {
			if got := r.see(n, as(who), demo.Alice); got.Status != want {
				t.Errorf("%s: %s sees %s, want %s", c.vis, who, got.Status, want)
			}
			asUser, err := n.Read.Preview(t.Context(), alice, AsUser, &who)
			if err != nil || asUser.Status != want {
				t.Errorf("%s: preview as %s is %s (%v)", c.vis, who, asUser.Status, err)
			}
		}
	}
	for name, v := range map[string]viewer.Viewer{"no user": {}, "unknown user": as(uuid.New()), "other tenant": {Key: Key{Tenant: "other", User: demo.Bob}}} {
		if got := r.see(n, v, demo.Alice); !got.equal(neverSeen(demo.Alice)) {
			t.Errorf("%s sees %+v", name, got)
		}
	}
}

func TestListsAndCountsAreTheViewersOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice, bob := r.connect(n, demo.Alice), r.connect(n, demo.Bob)
	r.connect(n, demo.Carol)
	if _, err := n.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "alice looks gone", func() bool { return r.see(n, bob, demo.Alice).Status == Offline })
	count := func(v viewer.Viewer, channel uuid.UUID) Counts {
		found, err := n.Read.ChannelCounts(t.Context(), v, []uuid.UUID{channel, uuid.New()})
		c, ok := found[channel]
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return c
	}
	if got, want := count(bob, demo.Team), (Counts{Online: 2, Offline: 1}); got != want {
		t.Errorf("bob counts %+v", got)
	}
	if got, want := count(alice, demo.Team), (Counts{Online: 3}); got != want {
		t.Errorf("alice counts %+v", got)
	}
	page := func(v viewer.Viewer, only []Status, first int, after *string) Page {
		p, ok, err := n.Read.Channel(t.Context(), v, demo.General, only, &first, after)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return p
	}
	if p := page(bob, []Status{Online}, 10, nil); p.Total != 2 || len(p.Views) != 2 {
		t.Errorf("online for bob: %+v", p)
	}
	if p := page(bob, []Status{Offline}, 10, nil); p.Total != 4 {
		t.Errorf("the invisible are among the offline: %+v", p)
	}
	var seen []uuid.UUID
	for p := page(bob, nil, 4, nil); ; {
		for _, v := range p.Views {
			seen = append(seen, v.UserID)
		}
		if !p.More {
			break
		}
		p = page(bob, nil, 4, &p.Cursors[len(p.Cursors)-1])
	}
	want := []uuid.UUID{demo.Bob, demo.Carol, demo.Alice, demo.Dave, demo.Erin, demo.Frank}
	if len(seen) != len(want) {
		t.Fatalf("paged %v", seen)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Fatalf("paged %v, want %v", seen, want)
		}
	}
	for name, c := range map[string]struct {
		v viewer.Viewer
		c uuid.UUID
	}{
		"not a member": {as(demo.Dave), demo.Team}, "unknown": {bob, uuid.New()}, "no user": {viewer.Viewer{}, demo.General},
		"other tenant": {viewer.Of("other", demo.Bob), demo.Team},
	} {
		if _, ok, err := n.Read.Channel(t.Context(), c.v, c.c, nil, nil, nil); ok || err != nil {
			t.Errorf("%s: %v %v", name, ok, err)
		}
		if found, err := n.Read.ChannelCounts(t.Context(), c.v, []uuid.UUID{c.c}); len(found) > 0 || err != nil {
			t.Errorf("%s: %v %v", name, found, err)
		}
	}
}

func TestCustomStatusRunsOutForWatchers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	bob := r.watch(n, as(demo.Bob), demo.Alice)
	next(t, bob)
	late := n.Read.w.now().Add(time.Hour)
	if _, err := n.Edit.SetCustom(t.Context(), as(demo.Alice), Custom{Text: ptr("brb"), ExpiresAt: &late}); err != nil {
		t.Fatal(err)
	}
	if v := next(t, bob); v.CustomStatus == nil {
		t.Fatalf("%+v", v)
	}
	at := n.Read.w.now().Add(500 * time.Millisecond)
	r.exec(`update realtime.presence set custom_expires_at = $1`, at)
	n.Watch.Notify(presenceTopic(as(demo.Alice).Key))
	until(t, bob, func(v View) bool { return v.CustomStatus == nil })
	if now := n.Read.w.now(); now.Before(at) {
		t.Fatalf("cleared %v early", at.Sub(now))
	}
}

func TestBadInputIsRefusedByField(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	alice := r.connect(n, demo.Alice)
	past, far := time.Now().Add(-time.Minute), time.Now().AddDate(2, 0, 0)
	long := strings.Repeat("é", MaxStatusText+1)
	ctx := t.Context()
	for field, err := range map[string]error{
		"input.text":              second(n.Edit.SetCustom(ctx, alice, Custom{Text: &long})),
		"input.text ":             second(n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("a\x00b")})),
		"input.text  ":            second(n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("a\u202eb")})),
		"input.emoji":             second(n.Edit.SetCustom(ctx, alice, Custom{Emoji: ptr("ab")})),
		"input.expiresAt":         second(n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("x"), ExpiresAt: &past})),
		"input.expiresAt ":        second(n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("x"), ExpiresAt: &far})),
		"expiresAt":               second(n.Edit.SetStatus(ctx, alice, Busy, &past)),
		"status":                  second(n.Edit.SetStatus(ctx, alice, "BUSY", nil)),
		"status ":                 second(n.Edit.SetStatus(ctx, alice, "", nil)),
		"expiresAt ":              second(n.Edit.SetStatus(ctx, alice, Online, ptr(time.Now().Add(time.Hour)))),
		"input":                   second(n.Edit.UpdateSettings(ctx, alice, Change{}, nil)),
		"input.deviceId":          second(n.Edit.Heartbeat(ctx, alice, nil, Activity{DeviceID: &long})),
		"input.name":              second(n.Edit.Heartbeat(ctx, alice, nil, Activity{Name: &long})),
		"input.lastActivityAgoMs": second(n.Edit.Heartbeat(ctx, alice, nil, Activity{Active: true, Ago: -1})),
		"first":                   third(n.Read.Channel(ctx, alice, demo.General, nil, ptr(0), nil)),
		"first ":                  third(n.Read.Channel(ctx, alice, demo.General, nil, ptr(1001), nil)),
		"after":                   third(n.Read.Channel(ctx, alice, demo.General, nil, nil, ptr("nonsense"))),
		"userId":                  second(n.Read.Preview(ctx, alice, AsUser, nil)),
		"userId ":                 second(n.Read.Preview(ctx, alice, AsContact, &demo.Bob)),
	} {
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.Invalid || f.Field != strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	exact := strings.Repeat("é", MaxStatusText)
	if _, err := n.Edit.SetCustom(ctx, alice, Custom{Text: &exact}); err != nil {
		t.Error("the limit itself is refused:", err)
	}
	if v, err := n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("Lunch\n\u2068back\u2069 at 2")}); err != nil || *v.CustomStatus.Text != "Lunch \u2068back\u2069 at 2" {
		t.Error("two lines, copied:", v, err)
	}
	if v, err := n.Edit.SetCustom(ctx, alice, Custom{Text: ptr("\u202a+1 555")}); err != nil || *v.CustomStatus.Text != "+1 555" {
		t.Error("a part, copied:", v, err)
	}
	if s, err := n.Edit.Heartbeat(ctx, alice, nil, Activity{Name: ptr("\u2068Noa's phone")}); err != nil || *s.Name != "Noa's phone" {
		t.Error("a device's name, copied:", s, err)
	}
	for _, blank := range []string{"  ", "\u200b\u2068\u2069", "\n", "\u2068"} {
		if v, err := n.Edit.SetCustom(ctx, alice, Custom{Text: &blank, Emoji: ptr("")}); err != nil || v.CustomStatus != nil {
			t.Errorf("%q does not clear: %v %v", blank, v, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func TestWithoutAUserNothingIsDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	ctx, none := t.Context(), viewer.Of(primary, uuid.Nil)
	_, _, _, contacts := n.Lists.Contacts(ctx, none, nil, nil)
	for name, err := range map[string]error{
		"setPresence": second(n.Edit.SetStatus(ctx, none, Busy, nil)), "custom": second(n.Edit.SetCustom(ctx, none, Custom{})),
		"heartbeat": second(n.Edit.Heartbeat(ctx, none, nil, Activity{})), "settings": second(n.Read.Settings(ctx, none)),
		"update": second(n.Edit.UpdateSettings(ctx, none, Change{InvisibleMode: ptr(true)}, nil)), "invisible": second(n.Edit.SetInvisible(ctx, none, true)),
		"reset": second(n.Edit.ResetSettings(ctx, none)), "mine": second(n.Read.Mine(ctx, none)), "contacts": contacts,
		"block": n.Lists.Block(ctx, none, demo.Bob), "sign out": second(n.Edit.SignOut(ctx, none, uuid.New())),
		"stream": second(n.Watch.Mine(ctx, none)), "settings stream": second(n.Watch.Settings(ctx, none)),
		"preview": second(n.Read.Preview(ctx, none, AsStranger, nil)),
	} {
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestABeatOfWhatIsOver: a session that had lapsed comes back with a doorbell, for others
// were told by the time alone; a socket that closed does not, and its client has another.
func TestABeatOfWhatIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	n.stop()
	<-n.done // so that no sweep comes first
	first, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), nil, Activity{Active: true})
	if err != nil {
		t.Fatal(err)
	}
	r.exec(`update realtime.sessions set lapses_at = clock_timestamp() - interval '1 second'`)
	r.holdBack()
	again, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), &first.SessionID, Activity{Active: true})
	if err != nil || again.SessionID != first.SessionID {
		t.Fatal(again, err)
	}
	if want := presenceTopic(Key{Tenant: primary, User: demo.Alice}); !slices.Contains(r.held, want) {
		t.Errorf("rung %v", r.held)
	}
	id := uuid.New()
	r.exec(`insert into realtime.nodes (id, lease_until) values (gen_random_uuid(), now())`)
	r.exec(`insert into realtime.sessions (id, tenant, user_id, node_id, node_epoch, device, connected_at, last_active_at, ended_at)
select $1, 'primary', $2, id, epoch, 'web', now(), now(), now() from realtime.nodes limit 1`, id, demo.Alice)
	r.exec(`update realtime.sessions set parked_at = last_active_at where id = $1`, id)
	if same, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), &id, Activity{}); err != nil || same.SessionID != id {
		t.Error("whoever chose offline and does nothing comes back:", same, err)
	}
	r.exec(`update realtime.sessions set parked_at = null where id = $1`, id)
	if fresh, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), &id, Activity{}); err != nil || fresh.SessionID == id {
		t.Error("whoever goes on over HTTP does not:", fresh, err)
	}
	fresh, err := n.Edit.Heartbeat(t.Context(), as(demo.Alice), &id, Activity{Active: true})
	if err != nil || fresh.SessionID == id {
		t.Error("it beats for a socket that closed:", fresh, err)
	}
	if _, err := n.Edit.Heartbeat(t.Context(), as(demo.Bob), &id, Activity{}); err == nil {
		t.Error("of another's:", err)
	}
}
