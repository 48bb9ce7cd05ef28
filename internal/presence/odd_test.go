package presence

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// Whatever times an operator or a restored dump left in our own tables, they are
// read, and others are read with them.
func TestOddTimesStopNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	bob := r.watch(n, as(demo.Bob), demo.Alice, demo.Carol)
	next(t, bob)
	next(t, bob)
	everybody := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}
	for _, at := range []string{"infinity", "-infinity", "294276-12-31 00:00:00+00", "10000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC"} {
		r.exec(`insert into realtime.presence (tenant, user_id, custom_text) values ('primary', $1, 'x') on conflict do nothing`, demo.Alice)
		r.exec(`update realtime.presence set manual_status = 'busy', manual_until = $2, custom_expires_at = $2, last_seen_at = $2, hidden_since = $2,
		               frozen_expires_at = $2, frozen_text = 'y', updated_at = $2 where user_id = $1`, demo.Alice, at)
		r.exec(`insert into realtime.presence_settings (tenant, user_id) values ('primary', $1) on conflict do nothing`, demo.Alice)
		r.exec(`update realtime.presence_settings set created_at = $2, updated_at = $2, status_shared_since = $2, last_seen_shared_since = $2, receipts_shared_since = $2
		         where user_id = $1`, demo.Alice, at)
		r.exec(`delete from realtime.sessions where user_id = $1`, demo.Alice)
		r.exec(`insert into realtime.sessions (id, tenant, user_id, connected_at, last_active_at, parked_at, ended_at, idle_at, lapses_at, token_expires_at)
		        values (gen_random_uuid(), 'primary', $1, $2, $2, $2, $2, $2, greatest($2, now() + interval '1 hour'), $2)`, demo.Alice, at)
		r.exec(`insert into realtime.sessions (id, tenant, user_id, connected_at, last_active_at, lapses_at)
		        values (gen_random_uuid(), 'primary', $1, $2, $2, now() + interval '1 hour')`, demo.Alice, at)
		list, err := n.Read.Presences(t.Context(), as(demo.Bob), everybody)
		if err != nil || len(list) != 3 {
			t.Fatalf("%s: %v, %v", at, list, err)
		}
		own, err := n.Read.Mine(t.Context(), as(demo.Alice))
		if err != nil {
			t.Fatalf("%s: %+v, %v", at, own, err)
		}
		times := []*time.Time{own.UpdatedAt, own.ManualUntil, own.LastSeenAt}
		for _, s := range own.Sessions {
			times = append(times, &s.ConnectedAt, &s.LastActiveAt)
		}
		for _, when := range times {
			if when == nil {
				continue
			}
			if y := when.Year(); y < 1 || y > 9999 {
				t.Errorf("%s: told as of the year %d", at, y)
			}
		}
		if _, err := n.Read.Settings(t.Context(), as(demo.Alice)); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if err := n.Sweep(t.Context(), 0); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		n.Watch.Notify("user/" + demo.Alice.String())
		if _, err := n.Edit.SetCustom(t.Context(), as(demo.Carol), Custom{Text: ptr(at)}); err != nil {
			t.Fatal(err)
		}
		for v := next(t, bob); v.UserID != demo.Carol; v = next(t, bob) { // Alice may have changed meanwhile
			t.Log(at, v)
		}
	}
}

// Nobody can read a name of blanks: clients say what they say of whom has none.
func TestANameOfBlanksIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	for name, told := range map[string]bool{"Bob": true, " ": false, "\u200b\u3164": false, "\u2068\u2069": false} {
		r.exec(`update public.nchat_users set display_name = $2 where id = $1`, demo.Bob, name)
		list, _, _, err := n.Lists.Contacts(t.Context(), as(demo.Alice), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(c Contact) bool { return c.UserID == demo.Bob })
		if i < 0 || (list[i].DisplayName != nil) != told || told && *list[i].DisplayName != name {
			t.Errorf("%q: %+v", name, list)
		}
	}
}

// A picture that stands in the row itself would come with each name.
func TestAnEndlessPictureIsNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := r.node(quick)
	for _, c := range []struct {
		bytes int
		told  bool
	}{{100, true}, {8192, true}, {8193, false}, {20000000, false}} {
		r.exec(`update public.nchat_users set avatar_url = repeat('x', $2) where id = $1`, demo.Bob, c.bytes)
		list, _, _, err := n.Lists.Contacts(t.Context(), as(demo.Alice), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, x := range list {
			if x.UserID == demo.Bob {
				found = true
				if (x.AvatarURL != nil) != c.told {
					t.Errorf("%d bytes: told: %v", c.bytes, x.AvatarURL != nil)
				}
			}
		}
		if !found {
			t.Fatal("Bob is no contact of Alice's")
		}
	}
}
