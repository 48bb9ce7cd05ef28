package presence

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// shows is a node that keeps what everybody may see.
func (r *rig) shows(also bool) *node {
	r.t.Helper()
	r.showing, r.legacy = true, also
	defer func() { r.showing, r.legacy = false, false }()
	return r.node(quick)
}

// everybodySees waits until the view says that of a user: "" is no row.
func (r *rig) everybodySees(user uuid.UUID, want string) {
	r.t.Helper()
	var got string
	eventuallySaying(r.t, func() bool {
		const q = `select coalesce((select concat_ws(' ', v.status, v.custom_text, case when v.last_seen_at is not null then 'seen' end)
		                              from realtime.visible_presence v where v.tenant = $1 and v.user_id = $2), '')`
		if err := r.pool.QueryRow(r.t.Context(), q, primary, user).Scan(&got); err != nil {
			r.t.Fatal(err)
		}
		return got == want
	}, func() string { return fmt.Sprintf("everybody sees %q, not %q", got, want) })
}

func eventuallySaying(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}

// TestWhatEverybodySees: as a stranger would, and of the hidden what of one who
// went away: no row where nothing was ever seen.
func TestWhatEverybodySees(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.shows(false)
	alice := r.connect(n, demo.Alice)
	r.everybodySees(demo.Alice, "online")
	if _, err := n.Edit.SetCustom(t.Context(), alice, Custom{Text: ptr("lunch")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	r.everybodySees(demo.Alice, "busy lunch")
	if _, err := n.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	r.everybodySees(demo.Alice, "offline lunch seen")
	if _, err := n.Edit.SetCustom(t.Context(), alice, Custom{Text: ptr("secret")}); err != nil {
		t.Fatal(err)
	}
	bob := r.connect(n, demo.Bob) // whatever is to be shown of alice is shown before this
	r.everybodySees(demo.Bob, "online")
	r.everybodySees(demo.Alice, "offline lunch seen")
	for _, c := range []struct {
		change Change
		want   string
	}{{Change{Visibility: ptr(Contacts)}, ""}, {Change{Visibility: ptr(Everyone), ShowOnlineStatus: ptr(false)}, ""}, {Change{ShowOnlineStatus: ptr(true)}, "online"}, {Change{Visibility: ptr(Nobody)}, ""}} {
		if _, err := n.Edit.UpdateSettings(t.Context(), bob, c.change, nil); err != nil {
			t.Fatal(err)
		}
		r.everybodySees(demo.Bob, c.want)
	}
	r.connect(n, demo.Carol)
	r.everybodySees(demo.Carol, "online")
	r.exec(`update public.nchat_users set deleted_at = now() where id = $1`, demo.Carol)
	n.Watch.Notify("audience/" + demo.Carol.String()) // the trigger's doorbell
	r.everybodySees(demo.Carol, "")
	// Nobody keeps it: nobody is seen.
	n.stop()
	<-n.done
	r.exec(`update realtime.showing set until = now() - interval '61 seconds'`)
	r.everybodySees(demo.Alice, "")
}

// TestWhatEverybodySeesIsOneLaw: the table holds what project says, of whatever
// users, and by a pass alone: no doorbell is heard.
func TestWhatEverybodySeesIsOneLaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dice := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's dice
	statuses := []string{"online", "away", "busy", "offline"}
	some := func(x string) *string {
		if dice.IntN(2) == 0 {
			return nil
		}
		return &x
	}
	var ids []uuid.UUID
	for i := range 60 {
		id := uuid.New()
		ids = append(ids, id)
		r.exec(`insert into public.nchat_users (id, email, display_name) values ($1, $2, 'x')`, id, id.String())
		var hidden, expires *time.Time
		var frozen *string
		if dice.IntN(3) == 0 {
			hidden, frozen = ptr(time.Now().Add(-time.Duration(dice.IntN(100))*time.Second)), &statuses[i%4]
		}
		if dice.IntN(3) == 0 {
			expires = ptr(time.Now().Add(time.Duration(dice.IntN(3)-1) * time.Hour))
		}
		r.exec(`insert into realtime.presence (tenant, user_id, manual_status, custom_text, custom_emoji, custom_expires_at, last_seen_at, hidden_since, frozen_status, frozen_text)
values ('primary', $1, $2, $3, $4, $5, now() - $6 * interval '1 hour', $7, $8, $9)`,
			id, some("busy"), some("line"), some("x"), expires, dice.IntN(50), hidden, frozen, some("frozen"))
		if dice.IntN(2) == 0 {
			r.exec(`insert into realtime.presence_settings (tenant, user_id, visibility, show_online_status, show_last_seen, invisible_mode) values ('primary', $1, $2, $3, $4, $5)`,
				id, []Visibility{Everyone, Contacts, Nobody}[dice.IntN(3)], dice.IntN(2) == 0, dice.IntN(2) == 0, hidden != nil)
		}
		if dice.IntN(2) == 0 {
			r.exec(`insert into realtime.sessions (id, tenant, user_id, connected_at, last_active_at, lapses_at) values (gen_random_uuid(), 'primary', $1, now(), now(), now() + interval '1 hour')`, id)
		}
	}
	n := r.shows(false)
	stranger := as(demo.Frank)
	for _, id := range ids {
		v := r.see(n, stranger, id)
		want := ""
		if !v.equal(neverSeen(id)) {
			want = string(v.Status)
			if v.CustomStatus != nil && v.CustomStatus.Text != nil {
				want += " " + *v.CustomStatus.Text
			}
			if v.LastSeenAt != nil {
				want += " seen"
			}
		}
		r.everybodySees(id, want)
	}
}

// TestOneNodeKeepsIt at a time, and another goes on where it ends; versions rise with
// each change, also on a standby that never heard of the last.
func TestOneNodeKeepsIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one := r.shows(false)
	two := r.shows(false)
	r.connect(one, demo.Alice)
	r.everybodySees(demo.Alice, "online")
	r.connect(two, demo.Bob)
	r.everybodySees(demo.Bob, "online")
	versions := func() (last int64, n int) {
		if err := r.pool.QueryRow(t.Context(), `select max(version), count(distinct version) from realtime.public_presence`).Scan(&last, &n); err != nil {
			t.Fatal(err)
		}
		return last, n
	}
	last, n := versions()
	if n != 2 {
		t.Fatalf("%d versions for two changes", n)
	}
	r.exec(`update realtime.showing set version = 1`)
	one.stop()
	<-one.done
	r.everybodySees(demo.Alice, "offline seen")
	r.connect(two, demo.Carol)
	r.everybodySees(demo.Carol, "online")
	if later, _ := versions(); later <= last {
		t.Errorf("%d comes after %d", later, last)
	}
	// A node that was thought dead writes no more.
	var wrote *int64
	if err := r.pool.QueryRow(t.Context(), `select realtime.show($1, '{primary}', array[$2]::uuid[], '{online}', '{null}', '{null}', '{null}', '{null}')`, one.showcase.node, demo.Alice).Scan(&wrote); err != nil || wrote != nil {
		t.Errorf("it wrote %v, %v", wrote, err)
	}
}

// TestNchatsOwnPresence is told what everybody may see, whatever its clients had
// written there, and one user it refuses costs only itself.
func TestNchatsOwnPresence(t *testing.T) { //nolint:tparallel // its parts are steps on one database
	t.Parallel()
	r := newRig(t)
	r.nchatPresence()
	r.exec(`insert into public.nchat_presence (user_id, status, current_channel_id, device_info, is_mobile) select id, 'online', $1, '{"os": "x"}', true from public.nchat_users`, demo.Team)
	r.exec(`update public.nchat_users set last_seen_at = now()`)
	pgtest.Migrate(t, r.pool)
	says := func(user uuid.UUID, want string) {
		t.Helper()
		var got string
		eventuallySaying(t, func() bool {
			const q = `select concat_ws(' ', p.status, p.custom_message, p.current_channel_id, p.device_info, p.is_mobile, case when u.last_seen_at is not null then 'seen' end,
			             case when date_trunc('minute', u.last_seen_at) <> u.last_seen_at or date_trunc('minute', p.last_heartbeat_at) <> p.last_heartbeat_at then 'exact' end)
			             from public.nchat_presence p join public.nchat_users u on u.id = p.user_id where p.user_id = $1`
			if err := r.pool.QueryRow(t.Context(), q, user).Scan(&got); err != nil {
				t.Fatal(err)
			}
			return got == want
		}, func() string { return fmt.Sprintf("%q, not %q", got, want) })
	}
	n := r.shows(true)
	alice := r.connect(n, demo.Alice)
	says(demo.Alice, "online {} f")
	says(demo.Dave, "offline {} f") // of whom there is nothing to see, whatever a client wrote
	if _, err := n.Edit.SetStatus(t.Context(), alice, Busy, nil); err != nil {
		t.Fatal(err)
	}
	says(demo.Alice, "dnd {} f")
	bob := r.connect(n, demo.Bob)
	says(demo.Bob, "online {} f")
	if _, err := n.Edit.SetCustom(t.Context(), bob, Custom{Text: ptr("refused")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Edit.SetInvisible(t.Context(), alice, true); err != nil {
		t.Fatal(err)
	}
	says(demo.Alice, "offline {} f seen")
	if _, err := n.Edit.SetCustom(t.Context(), bob, Custom{Text: ptr("good")}); err != nil {
		t.Fatal(err)
	}
	says(demo.Bob, "online good {} f")
	// Nor does anybody wait for whom an app's own trigger refuses.
	r.exec(`create function public.picky() returns trigger language plpgsql as $$ begin if new.custom_message = 'raised' then raise 'no'; end if; return new; end $$`)
	r.exec(`create trigger picky before insert or update on public.nchat_presence for each row execute function public.picky()`)
	if _, err := n.Edit.SetCustom(t.Context(), bob, Custom{Text: ptr("raised")}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Edit.SetInvisible(t.Context(), alice, false); err != nil {
		t.Fatal(err)
	}
	says(demo.Alice, "dnd {} f seen")
	if _, err := n.Edit.UpdateSettings(t.Context(), alice, Change{Visibility: ptr(Contacts)}, nil); err != nil {
		t.Fatal(err)
	}
	says(demo.Alice, "offline {} f")
	n.stop()
	<-n.done
	t.Run("who could only not be told now is not passed by", func(t *testing.T) { toldLater(t, r) })
}

// toldLater: of two users nchat's own tables refuse one, and for the other an app's trigger
// waits just then.
func toldLater(t *testing.T, r *rig) {
	const next = `
with h as (update realtime.showing set version = version + 2 returning version)
update realtime.public_presence s set version = h.version - case s.user_id when $1 then 1 else 0 end, custom_text = case s.user_id when $1 then 'refused' else 'told' end
  from h where s.user_id in ($1, $2)`
	r.exec(next, demo.Bob, demo.Alice)
	cfg := r.pool.Config()
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, `set lock_timeout = '10ms'`)
		return err
	}
	hasty, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer hasty.Close()
	k := &keeper{s: New(Options{Pool: hasty, Clock: clock.New(), Log: slog.New(slog.DiscardHandler), Legacy: true}).showcase}
	if holds, err := k.hold(t.Context()); err != nil || !holds {
		t.Fatal(holds, err)
	}
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.exec(`create or replace function public.picky() returns trigger language plpgsql as $$ begin if new.custom_message = 'told' then perform pg_advisory_xact_lock(7); end if; return new; end $$`)
	if _, err := tx.Exec(t.Context(), `select pg_advisory_xact_lock(7)`); err != nil {
		t.Fatal(err)
	}
	if told, err := k.oneByOne(t.Context()); err == nil {
		t.Errorf("nobody is in the way: %v", told)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.legacy(t.Context()); err != nil {
		t.Error(err)
	}
	var got *string
	if err := r.pool.QueryRow(t.Context(), `select custom_message from public.nchat_presence where user_id = $1`, demo.Alice).Scan(&got); err != nil || got == nil || *got != "told" {
		t.Errorf("afterwards alice says %v, %v", got, err)
	}
}

// TestWhatCouldNotBeReadIsMarkedStill: whoever was marked is looked at when the database
// answers again.
func TestWhatCouldNotBeReadIsMarkedStill(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := New(Options{Pool: pool, Clock: clock.New(), Shown: true}).showcase
	s.holds = true
	s.mark(Key{User: demo.Bob}, Key{Tenant: primary, User: demo.Alice})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if keys, err := (&keeper{s: s}).next(ctx); err == nil {
		t.Fatal("it was read:", keys)
	}
	if len(s.dirty) != 2 {
		t.Errorf("marked are %v", s.dirty)
	}
}
