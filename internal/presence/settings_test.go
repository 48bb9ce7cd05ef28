package presence

import (
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func TestStricterWins(t *testing.T) {
	t.Parallel()
	old := Settings{Visibility: Contacts, ShowOnlineStatus: false, ShowLastSeen: true, InvisibleMode: true, TypingVisibility: Nobody, BroadcastTyping: true}
	c := Change{Visibility: ptr(Everyone), ShowOnlineStatus: ptr(true), ShowLastSeen: ptr(false), InvisibleMode: ptr(false), TypingVisibility: ptr(Everyone)}
	got := c.apply(old, true)
	want := old
	want.ShowLastSeen = false
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got := c.apply(old, false).sharing(old, noon); got.Visibility != Everyone || !got.ShowOnlineStatus || got.InvisibleMode || got.statusSharedSince == nil {
		t.Fatalf("%+v", got)
	}
}

func TestSettingsStreamAndStaleBase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.node(quick), r.node(quick)
	alice := as(demo.Alice)
	s, err := two.Watch.Settings(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, s); got.Visibility != Everyone || got.UpdatedAt != nil || !got.AllowReadReceipts {
		t.Fatalf("defaults: %+v", got)
	}
	first, err := one.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, s); got.Visibility != Contacts || !got.UpdatedAt.Equal(*first.UpdatedAt) {
		t.Fatalf("%+v", got)
	}
	later, err := one.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Nobody)}, first.UpdatedAt)
	if err != nil || later.Visibility != Nobody {
		t.Fatal(later, err)
	}
	stale, err := two.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Everyone), ShowLastSeen: ptr(false)}, first.UpdatedAt)
	if err != nil || stale.Visibility != Nobody || stale.ShowLastSeen {
		t.Fatalf("two devices at odds show more than either chose: %+v %v", stale, err)
	}
	reset, err := one.Edit.ResetSettings(t.Context(), alice)
	if err != nil || reset.Visibility != Everyone || !reset.ShowLastSeen {
		t.Fatal(reset, err)
	}
	until(t, s, func(x Settings) bool { return x.UpdatedAt.Equal(*reset.UpdatedAt) })
}

func TestOldSwitchesOfNchatAreTheFirstSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	r.exec(`create table public.nchat_user_settings (user_id uuid primary key, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean)`)
	r.exec(`insert into public.nchat_user_settings values ($1, false, false, null)`, demo.Alice)
	pgtest.Migrate(t, r.pool)
	s, err := n.Read.Settings(t.Context(), as(demo.Alice))
	if err != nil || s.ShowOnlineStatus || s.BroadcastTyping || !s.AllowReadReceipts {
		t.Fatalf("%+v %v", s, err)
	}
	r.connect(n, demo.Alice)
	if v := r.see(n, as(demo.Bob), demo.Alice); v.Status != Offline {
		t.Fatalf("%+v", v)
	}
}

// The database's own defaults are nobody's choice either: a row without one reads
// as no row does, and as defaultSettings says.
func TestDefaultsHaveOneHome(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	r.exec(`insert into realtime.presence_settings (tenant, user_id) values ('primary', $1)`, demo.Alice)
	for _, user := range []uuid.UUID{demo.Alice, demo.Bob} {
		got, err := n.Read.Settings(t.Context(), as(user))
		if err != nil {
			t.Fatal(err)
		}
		got.CreatedAt, got.UpdatedAt = nil, nil
		if want := defaultSettings(user); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
