package push

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestASecondLookIsOnesOwn: whether anybody else looks at a device, which may be somebody who
// hides, says nothing to who is told: it hears no more for that, and nothing at another time.
func TestASecondLookIsOnesOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	unread := func(user uuid.UUID) { // as markUnread does
		r.exec(`update realtime.marks set reached_seq = greatest(reached_seq, read_seq), read_seq = read_seq - 1 where user_id = $1 and channel_id = $2`, user, demo.Team)
	}
	r.is(demo.Bob, Attention{Looking: true})
	m := r.say(demo.Team, demo.Alice, "one")
	r.want("who does not look", TypeMessage, m, demo.Carol)
	r.read(demo.Carol, m)
	r.want("read", TypeWithdraw, m, demo.Carol)
	unread(demo.Carol)
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("unread again, and who looked has gone", TypeMessage, m, demo.Bob)

	r.is(demo.Bob, Attention{Looking: true})
	two := r.say(demo.Team, demo.Alice, "two")
	r.read(demo.Carol, two)
	r.want("read before it could be told", TypeWithdraw, m)
	unread(demo.Carol)
	r.due()
	r.want("unread again, and bob looks on", TypeMessage, two)

	three := r.say(demo.Team, demo.Alice, "three")
	r.want("who does not look", TypeMessage, three, demo.Carol)
	four := r.say(demo.Team, demo.Alice, "four")
	r.want("who does not look", TypeMessage, four, demo.Carol)
	r.exec(`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`, four)
	r.exec(`select realtime.sequence(1000, false)`)
	r.want("deleted", TypeWithdraw, four, demo.Carol)
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("the one before is there still, and who looked has gone", TypeMessage, three, demo.Bob)
}

// TestEachIsAskedAboutAtItsOwnTime: so long after the message that it looked at a device for,
// whenever others did.
func TestEachIsAskedAboutAtItsOwnTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	late := func(user, message uuid.UUID) {
		t.Helper()
		var after time.Duration
		var looked bool
		const q = `select h.until - m.created_at, h.looked from realtime.push_held h join public.nchat_messages m on m.id = $2 and m.channel_id = h.channel_id where h.user_id = $1`
		if err := r.pool.QueryRow(t.Context(), q, user, message).Scan(&after, &looked); err != nil || after != r.s.o.Looking || !looked {
			t.Errorf("asked about %v after it (it looked: %v), %v", after, looked, err)
		}
	}
	r.is(demo.Bob, Attention{Looking: true})
	one := r.say(demo.Team, demo.Alice, "one")
	r.want("at one", TypeMessage, one, demo.Carol)
	r.is(demo.Carol, Attention{Looking: true})
	two := r.say(demo.Team, demo.Alice, "two")
	r.want("at two", TypeMessage, two)
	late(demo.Bob, one)
	late(demo.Carol, two)
	r.is(demo.Bob, Attention{})
	r.is(demo.Carol, Attention{})
	r.exec(`update realtime.push_held set until = clock_timestamp() where user_id = $1`, demo.Bob)
	r.want("bob's time", TypeMessage, two, demo.Bob)
	r.due()
	r.want("carol's time", TypeMessage, two, demo.Carol)
}

// TestWhoIsDisturbedMeanwhile: who looked, and is not to be disturbed when it is asked about,
// has not been there all the while: it is asked about again when that is over. Nor is it
// asked about sooner for choosing other hours.
func TestWhoIsDisturbedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.is(demo.Bob, Attention{Looking: true})
	m := r.say(demo.AliceBob, demo.Alice, "one")
	r.want("looking", TypeMessage, m)
	r.is(demo.Bob, Attention{Busy: true, Looking: true})
	r.due()
	r.want("busy", TypeMessage, m)
	r.is(demo.Bob, Attention{Looking: true})
	r.due()
	r.want("looking again", TypeMessage, m)
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("gone", TypeMessage, m, demo.Bob)

	r.is(demo.Bob, Attention{Looking: true})
	two := r.say(demo.AliceBob, demo.Alice, "two")
	r.want("looking", TypeMessage, two)
	r.quiet(demo.Bob, time.Hour, 2*time.Hour)
	r.want("hours of its own that are not now", TypeMessage, two)
	r.is(demo.Bob, Attention{})
	r.due()
	r.want("gone", TypeMessage, two, demo.Bob)
}

// TestWhoMayReadNoMoreIsNotTold: who may is asked again for each try of a call.
func TestWhoMayReadNoMoreIsNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.status = []int{http.StatusServiceUnavailable, http.StatusOK}
	r.say(demo.AliceBob, demo.Alice, "one")
	r.told()
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.AliceBob, demo.Bob)
	r.due()
	for _, p := range r.told() {
		if p.Type == TypeMessage {
			t.Errorf("told %+v", p)
		}
	}
}
