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
	if loose, err := two.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil); err != nil || loose.Visibility != Contacts || loose.ShowLastSeen {
		t.Fatalf("without a base a change is made as it is: %+v %v", loose, err)
	}
	reset, err := one.Edit.ResetSettings(t.Context(), alice)
	if err != nil || reset.Visibility != Everyone || !reset.ShowLastSeen {
		t.Fatal(reset, err)
	}
	until(t, s, func(x Settings) bool { return x.UpdatedAt.Equal(*reset.UpdatedAt) })
}

// TestOldSwitchesAreTakenOnce: they are the first settings of those who have
// none, and nobody's word later on, whoever writes them.
func TestOldSwitchesAreTakenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	if _, err := n.Edit.UpdateSettings(t.Context(), as(demo.Carol), Change{ShowOnlineStatus: ptr(true)}, nil); err != nil {
		t.Fatal(err)
	}
	r.exec(`create table public.nchat_user_settings (user_id uuid primary key, show_online_status boolean, show_typing_indicator boolean, read_receipts boolean)`)
	r.exec(`insert into public.nchat_user_settings values ($1, false, false, null), ($2, false, false, false), ($3, false, false, false)`, demo.Alice, demo.Carol, uuid.New())
	settings := func(user uuid.UUID) Settings {
		t.Helper()
		s, err := n.Read.Settings(t.Context(), as(user))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := settings(demo.Alice); !s.ShowOnlineStatus {
		t.Errorf("believed before they are taken over: %+v", s)
	}
	for range 2 {
		pgtest.Migrate(t, r.pool)
		if s := settings(demo.Alice); s.ShowOnlineStatus || s.BroadcastTyping || !s.AllowReadReceipts || s.CreatedAt == nil {
			t.Fatalf("%+v", s)
		}
		if s := settings(demo.Carol); !s.ShowOnlineStatus || !s.BroadcastTyping {
			t.Errorf("who had chosen: %+v", s)
		}
		r.exec(`update public.nchat_user_settings set show_online_status = true, show_typing_indicator = true`)
		r.exec(`insert into public.nchat_user_settings values ($1, false, false, false) on conflict do nothing`, demo.Bob)
		r.exec(`alter table public.nchat_user_settings add column if not exists more text`) // the columns are others: all is installed again
		if s := settings(demo.Bob); !s.ShowOnlineStatus || s.CreatedAt != nil {
			t.Errorf("who got a row later: %+v", s)
		}
	}
	r.connect(n, demo.Alice)
	if v := r.see(n, as(demo.Bob), demo.Alice); v.Status != Offline {
		t.Fatalf("%+v", v)
	}
}

// TestOldSwitchesAreNoWayAroundReciprocity: whoever shares by a switch that was
// taken over waits as long as one who turned it on; and to turn it on in nchat's
// table shows nothing at all.
func TestOldSwitchesAreNoWayAroundReciprocity(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mutual := quick
	mutual.Reciprocity, mutual.ReceiptReciprocity = true, true
	n := r.node(mutual)
	r.exec(`create table public.nchat_user_settings (user_id uuid primary key, show_online_status boolean, read_receipts boolean)`)
	r.exec(`insert into public.nchat_user_settings values ($1, true, true), ($2, false, false)`, demo.Bob, demo.Carol)
	pgtest.Migrate(t, r.pool)
	r.connect(n, demo.Alice)
	peek := func(who uuid.UUID, want Status) {
		t.Helper()
		if v := r.see(n, as(who), demo.Alice); v.Status != want {
			t.Errorf("%v sees %v", who, v.Status)
		}
		list, err := n.Read.Unshared(t.Context(), r.pool, primary, []uuid.UUID{who})
		if err != nil || (len(list) == 0) != (want == Online) {
			t.Errorf("%v may see readings: %v %v", who, list, err)
		}
	}
	peek(demo.Dave, Online) // has shared for ever
	peek(demo.Bob, Offline)
	peek(demo.Carol, Offline)
	r.exec(`update public.nchat_user_settings set show_online_status = true, read_receipts = true`)
	peek(demo.Carol, Offline)
	r.exec(`update realtime.presence_settings set status_shared_since = status_shared_since - $1::interval, receipts_shared_since = receipts_shared_since - $1::interval`, hysteresis)
	peek(demo.Bob, Online)
	peek(demo.Carol, Offline)
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
