package receipt_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/presence"
)

// TestAMoveKeepsWhomItsChannelKnows: however long the lists of its user are, a move
// has those on it alone who may have something to learn of it; and it is kept from
// each of those as from before: who is a member, who was one and wrote, and who wrote
// without ever having been.
func TestAMoveKeepsWhomItsChannelKnows(t *testing.T) {
	t.Parallel()
	const outsiders = 300
	block := func(r *rig) {
		r.exec(`insert into public.nchat_users (id, email, display_name, username)
		        select gen_random_uuid(), 'x' || n || '@example.com', 'x', 'x' || n from generate_series(1, $1::int) n`, outsiders)
		r.exec(`delete from public.nchat_contacts where user_id = $1`, demo.Bob)
		r.exec(`insert into public.nchat_blocked_users (blocker_id, blocked_user_id)
		        select $1, u.id from public.nchat_users u where u.display_name = 'x' or u.id = any ($2)`, demo.Bob, []uuid.UUID{demo.Carol, demo.Dave, demo.Frank})
	}
	list := func(r *rig) { // Frank is listed too, and no member
		r.exec(`insert into public.nchat_contacts (user_id, contact_user_id)
		        select $1, u.id from public.nchat_users u where u.display_name = 'x' or u.id = any ($2)`, demo.Bob, []uuid.UUID{demo.Alice, demo.Frank})
		r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Contacts)})
	}
	others := uuid.Nil // stands for those who are not there
	hidden := []uuid.UUID{others, demo.Carol, demo.Dave, demo.Frank}
	for name, c := range map[string]struct {
		held, thread bool
		shown        []uuid.UUID
	}{
		"in the channel":                        {},
		"in a thread":                           {thread: true},
		"in the channel, released":              {held: true},
		"in a thread, released":                 {held: true, thread: true},
		"in the channel, to contacts":           {shown: []uuid.UUID{demo.Alice}},
		"in a thread, to contacts":              {thread: true, shown: []uuid.UUID{demo.Alice}},
		"in the channel, released, to contacts": {held: true, shown: []uuid.UUID{demo.Alice}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			var thread uuid.UUID
			say := func(who uuid.UUID) uuid.UUID {
				if c.thread {
					return r.reply(thread, who)
				}
				return r.say(demo.Team, who)
			}
			if c.thread {
				thread = r.thread()
			}
			r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Dave)
			say(demo.Dave)
			r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Dave)
			say(demo.Frank)
			m := say(demo.Alice)
			change := func() {
				if block(r); c.shown != nil {
					list(r)
				}
			}
			if !c.held {
				change()
			}
			r.invisible(demo.Bob, c.held)
			r.ack(demo.Bob, demo.Team, m, true)
			if c.held {
				change()
				r.invisible(demo.Bob, false)
			}
			var shown, from []uuid.UUID
			var toAll bool
			const q = `select v.shown_to, realtime.sorted(v.hidden_from), realtime.told_to_all(v) from realtime.moves v where v.user_id = $1 and not v.held`
			if err := r.pool.QueryRow(t.Context(), q, demo.Bob).Scan(&shown, &from, &toAll); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(from, hidden) || !slices.Equal(shown, c.shown) || (shown == nil) != (c.shown == nil) {
				t.Errorf("shown to %d, %v; hidden from %d, %v", len(shown), shown, len(from), from)
			}
			if toAll {
				t.Error("it is told to all, though it is hidden from some who are not there")
			}
			if d := r.delivery(demo.Alice, m); d.ReadCount != 1 {
				t.Errorf("to whom it is shown: %+v", d)
			}
		})
	}
}

// TestWhatNobodyThereMayLearnIsNoMove: of a channel where none of its user's contacts
// is or was.
func TestWhatNobodyThereMayLearnIsNoMove(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	room := uuid.New()
	r.exec(`insert into public.nchat_channels (id, name, slug, type) values ($1, 'room', 'room', 'private')`, room)
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) select $1, unnest($2::uuid[])`, room, []uuid.UUID{demo.Erin, demo.Carol})
	r.exec(`insert into public.nchat_contacts (user_id, contact_user_id) values ($1, $2)`, demo.Erin, demo.Frank)
	r.set(demo.Erin, presence.Change{Visibility: ptr(presence.Contacts)})
	r.ack(demo.Erin, room, r.say(room, demo.Carol), true)
	if n := r.count(`select count(*) from realtime.moves where user_id = $1`, demo.Erin); n != 0 {
		t.Errorf("%d moves that nobody may ever learn of", n)
	}
}
