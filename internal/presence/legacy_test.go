package presence

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// nchatPresence makes nchat's own table. Migrate is for the caller, when it is as it is to be.
func (r *rig) nchatPresence() {
	r.t.Helper()
	r.exec(`create type public.presence_status as enum ('online', 'away', 'dnd', 'offline', 'invisible')`)
	r.exec(`create table public.nchat_presence (id uuid primary key default gen_random_uuid(), user_id uuid unique not null references public.nchat_users (id),
  status public.presence_status not null default 'offline', custom_message varchar(255), last_heartbeat_at timestamptz not null default now(), current_channel_id uuid,
  device_info jsonb not null default '{}', is_mobile boolean default false, source_account_id text not null default 'primary', check (custom_message <> 'refused'))`)
}

// legacyOf is what nchat's own tables say of a user.
func (r *rig) legacyOf(user uuid.UUID) (got string) {
	r.t.Helper()
	const q = `
select concat_ws(' ', coalesce(p.status::text, 'no row'), p.custom_message, case when u.last_seen_at is not null then 'seen' end)
  from public.nchat_users u left join public.nchat_presence p on p.user_id = u.id where u.id = $1`
	if err := r.pool.QueryRow(r.t.Context(), q, user).Scan(&got); err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *rig) legacySays(user uuid.UUID, want string) {
	r.t.Helper()
	eventuallySaying(r.t, func() bool { return r.legacyOf(user) == want }, func() string { return fmt.Sprintf("%q, not %q", r.legacyOf(user), want) })
}

// TestLegacyWhoIsHeldHoldsUpNobody: while a transaction of the app holds a user's row of
// nchat's own, or makes it, the others are told there and by the view as ever; and of
// whom it held the newest is told, or taken back, once it has ended.
func TestLegacyWhoIsHeldHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.nchatPresence()
	r.exec(`insert into public.nchat_presence (user_id) select id from public.nchat_users where id <> $1`, demo.Carol)
	r.exec(`update public.nchat_users set last_seen_at = now() where id = $1`, demo.Frank) // there is nothing to see of
	pgtest.Migrate(t, r.pool)
	letFrank := r.hold(map[uuid.UUID]string{demo.Frank: `update public.nchat_users set display_name = 'F' where id = $1`})
	n := r.shows(true)
	alice, dave, bob := r.connect(n, demo.Alice), r.connect(n, demo.Dave), r.connect(n, demo.Bob)
	r.legacySays(demo.Alice, "online")
	r.legacySays(demo.Dave, "online")
	release := r.hold(map[uuid.UUID]string{
		demo.Alice: `update public.nchat_users set display_name = 'A' where id = $1`,
		demo.Dave:  `update public.nchat_presence set is_mobile = true where user_id = $1`,
		demo.Carol: `insert into public.nchat_presence (user_id, status) values ($1, 'away')`,
	})
	carol := r.connect(n, demo.Carol)
	for _, c := range []viewer.Viewer{dave, carol} {
		if _, err := n.Edit.SetStatus(t.Context(), c, Busy, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	r.everybodySees(demo.Alice, "offline seen")
	r.everybodySees(demo.Carol, "busy")
	r.everybodySees(demo.Dave, "busy")
	for i, status := range []Status{Busy, Online} { // again, when they have been passed by
		if _, err := n.Edit.SetStatus(t.Context(), bob, status, nil); err != nil {
			t.Fatal(err)
		}
		r.legacySays(demo.Bob, []string{"dnd", "online"}[i])
		r.everybodySees(demo.Bob, string(status))
	}
	if _, err := n.Edit.SetCustom(t.Context(), dave, Custom{Text: ptr("newest")}); err != nil {
		t.Fatal(err)
	}
	r.everybodySees(demo.Dave, "busy newest")
	for user, want := range map[uuid.UUID]string{demo.Alice: "offline", demo.Dave: "online", demo.Carol: "no row"} { // whose other row is free is hidden there at once
		if got := r.legacyOf(user); got != want {
			t.Errorf("while it is held %q is said, not %q", got, want)
		}
	}
	release()
	r.legacySays(demo.Alice, "offline seen")
	r.legacySays(demo.Dave, "dnd newest")
	r.legacySays(demo.Carol, "dnd")
	if got := r.legacyOf(demo.Frank); got != "offline seen" {
		t.Errorf("while it is held %q is said of frank", got)
	}
	letFrank()
	r.legacySays(demo.Frank, "offline")
}

// TestLegacyHeldIsToldByWhoTakesOver: whom a node passed by the next one tells, which knows
// nothing but the database; and of those passed by one that is refused costs only itself.
func TestLegacyHeldIsToldByWhoTakesOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.nchatPresence()
	r.exec(`insert into public.nchat_presence (user_id) select id from public.nchat_users`)
	pgtest.Migrate(t, r.pool)
	keeps := func() *keeper {
		t.Helper()
		r.exec(`update realtime.showing set until = '-infinity'`) // whoever did died
		k := &keeper{s: New(Options{Pool: r.pool, Clock: clock.New(), Log: slog.New(slog.DiscardHandler), Legacy: true}).showcase}
		if holds, err := k.hold(t.Context()); err != nil || !holds {
			t.Fatal(holds, err)
		}
		return k
	}
	tell := func(k *keeper) {
		t.Helper()
		r.exec(`update realtime.public_presence set legacy_due = legacy_due - interval '1 second' where legacy_due is not null`) // it has passed
		if err := k.legacy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	said := func(user uuid.UUID, want string) {
		t.Helper()
		if got := r.legacyOf(user); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	r.exec(`insert into realtime.public_presence (tenant, user_id, status, version) values ('primary', $1, 'online', 1), ('primary', $2, 'busy', 2), ('primary', $3, 'away', 3)`,
		demo.Alice, demo.Dave, demo.Bob)
	const row = `select from public.nchat_presence where user_id = $1 for update`
	release := r.hold(map[uuid.UUID]string{demo.Alice: row, demo.Dave: row})
	k := keeps()
	tell(k)
	said(demo.Bob, "away")
	tell(k)
	said(demo.Alice, "offline")
	r.exec(`update realtime.public_presence set custom_text = 'refused' where user_id = $1`, demo.Alice)
	k = keeps()
	tell(k)
	said(demo.Dave, "offline")
	release()
	tell(k)
	said(demo.Dave, "dnd")
	said(demo.Alice, "offline")
	var late int
	if err := r.pool.QueryRow(t.Context(), `select count(legacy_due) from realtime.public_presence`).Scan(&late); err != nil || late != 0 {
		t.Errorf("%d are still to be told, %v", late, err)
	}
}
