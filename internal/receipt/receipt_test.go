package receipt_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// rig is the demo world with receipts and the presence that decides about them.
type rig struct {
	t        *testing.T
	pool     *pgxpool.Pool
	presence *presence.Service
	s        *receipt.Service
}

type nobell struct{}

func (nobell) Ring(...string) {}

// nonode: no socket is opened here.
type nonode struct{}

func (nonode) Identity() (uuid.UUID, int64, bool) { return uuid.Nil, 0, false }
func (nonode) Lost(int64)                         {}

func newRig(t *testing.T, reciprocal bool) *rig {
	t.Helper()
	r := &rig{t: t, pool: pgtest.New(t)}
	if _, err := demo.Load(t.Context(), r.pool); err != nil {
		t.Fatal(err)
	}
	return r.on(r.pool, reciprocal, true)
}

// on is the same world by way of another pool.
func (r *rig) on(pool *pgxpool.Pool, reciprocal, legacy bool, change ...func(*receipt.Options)) *rig {
	r = &rig{t: r.t, pool: pool}
	log := slog.New(slog.DiscardHandler)
	r.presence = presence.New(presence.Options{Pool: r.pool, Clock: clock.New(), Bell: nobell{}, Node: nonode{}, Log: log,
		Rules: presence.Rules{IdleAfter: time.Hour, HiddenAfter: time.Hour, Grace: time.Second, HTTPLapse: time.Minute, ReceiptReciprocity: reciprocal},
		Unhidden: func(ctx context.Context, tx pgx.Tx, user viewer.Key) error {
			return r.s.Release(ctx, tx, user)
		}})
	o := receipt.Options{Pool: r.pool, Privacy: r.presence.Read, Committed: func() {}, Settle: r.settle, Reciprocal: reciprocal, Legacy: legacy, Log: log}
	for _, f := range change {
		f(&o)
	}
	r.s = receipt.New(o)
	return r
}

// settle gives numbers to what is committed, as the log does.
func (r *rig) settle(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, `select realtime.sequence(10000, false, true)`)
	return err
}

func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), q, args...); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
}

func (r *rig) count(q string, args ...any) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), q, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
	return n
}

func (r *rig) say(channel, sender uuid.UUID) (id uuid.UUID) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'x') returning id`, channel, sender).Scan(&id); err != nil {
		r.t.Fatal(err)
	}
	return id
}

func as(user uuid.UUID) viewer.Viewer { return viewer.Of("primary", user) }

func (r *rig) ack(user, channel, message uuid.UUID, read bool) receipt.State {
	r.t.Helper()
	list, err := r.s.Acknowledge(r.t.Context(), as(user), []receipt.Mark{{Channel: channel, Message: message}}, read)
	if err != nil || len(list) != 1 {
		r.t.Fatal(list, err)
	}
	return list[0]
}

func (r *rig) delivery(user, message uuid.UUID) receipt.Delivery {
	r.t.Helper()
	list, err := r.s.Deliveries(r.t.Context(), as(user), []uuid.UUID{message})
	if err != nil || len(list) != 1 {
		r.t.Fatal(list, err)
	}
	return list[0]
}

func (r *rig) set(user uuid.UUID, c presence.Change) {
	r.t.Helper()
	if _, err := r.presence.Edit.UpdateSettings(r.t.Context(), as(user), c, nil); err != nil {
		r.t.Fatal(err)
	}
}

func ptr[T any](x T) *T { return &x }

// TestMarksOnlyMoveForward: many devices, any order, and what repeats says nothing.
func TestMarksOnlyMoveForward(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	var ids []uuid.UUID
	for range 60 {
		ids = append(ids, r.say(demo.Team, demo.Alice))
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // a test's dice
			for range 20 {
				m := receipt.Mark{Channel: demo.Team, Message: ids[dice.IntN(len(ids))]}
				if _, err := r.s.Acknowledge(t.Context(), as(demo.Bob), []receipt.Mark{m}, dice.IntN(2) == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := r.count(`select count(*) from (select read_to.*, lag(to_seq) over (order by id) as before from
	  (select id, from_seq, to_seq from realtime.moves where read and user_id = $1) read_to) x where before is not null and from_seq <> before`, demo.Bob); n != 0 {
		t.Errorf("%d moves do not begin where the last one ended", n)
	}
	state := r.ack(demo.Bob, demo.Team, ids[59], true)
	if state.UnreadCount != 0 || *state.LastReadMessageID != ids[59] || *state.LastDeliveredMessageID != ids[59] {
		t.Errorf("%+v", state)
	}
	moves := r.count(`select count(*) from realtime.moves`) + r.count(`select count(*) from realtime.inbox where kind = 'mark'`)
	for _, id := range []uuid.UUID{ids[59], ids[3], ids[59]} {
		if again := r.ack(demo.Bob, demo.Team, id, true); *again.LastReadMessageID != ids[59] || !again.LastReadAt.Equal(*state.LastReadAt) {
			t.Errorf("%+v", again)
		}
	}
	if n := r.count(`select count(*) from realtime.moves`) + r.count(`select count(*) from realtime.inbox where kind = 'mark'`); n != moves {
		t.Error("what moves nothing is written down")
	}
}

// TestOneRowForAThousand: any batch is one move, and delivers what it reads.
func TestOneRowForAThousand(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) select md5('m' || i)::uuid, $1, $2, 'x' from generate_series(1, 1000) i`, demo.Team, demo.Alice)
	var marks []receipt.Mark
	for i := 1; i <= 1000; i++ {
		marks = append(marks, receipt.Mark{Channel: demo.Team, Message: uuid.MustParse(md5(r, fmt.Sprint("m", i)))})
	}
	if _, err := r.s.Acknowledge(t.Context(), as(demo.Bob), marks, true); err != nil {
		t.Fatal(err)
	}
	if n := r.count(`select count(*) from realtime.moves`); n != 1 {
		t.Errorf("%d rows", n)
	}
	list, err := r.s.Deliveries(t.Context(), as(demo.Alice), []uuid.UUID{marks[0].Message, marks[999].Message})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, d := range list {
		if d.Status() != receipt.Read || d.DeliveredCount != 1 || d.ReadCount != 1 || d.TotalRecipients != 2 || d.DeliveredAt.Second() != 0 || d.DeliveredAt.After(*d.ReadAt) {
			t.Errorf("%+v", d)
		}
	}
}

func md5(r *rig, s string) (out string) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), `select md5($1)::uuid::text`, s).Scan(&out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// TestWhatMayNotBeAcknowledged: all that is not a message of a channel of the
// caller's is refused alike and named, and what stands beside it is counted.
func TestWhatMayNotBeAcknowledged(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	good, scheduled := r.say(demo.Team, demo.Alice), uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, scheduled_at) values ($1, $2, $3, 'later', now() + interval '1 hour')`, scheduled, demo.Team, demo.Alice)
	for what, c := range map[string]struct {
		who viewer.Viewer
		m   receipt.Mark
	}{
		"no member":             {as(demo.Dave), receipt.Mark{Channel: demo.Team, Message: good}},
		"another channel's":     {as(demo.Bob), receipt.Mark{Channel: demo.AliceBob, Message: good}},
		"unknown":               {as(demo.Bob), receipt.Mark{Channel: demo.Team, Message: uuid.New()}},
		"not published":         {as(demo.Bob), receipt.Mark{Channel: demo.Team, Message: scheduled}},
		"an unknown channel":    {as(demo.Bob), receipt.Mark{Channel: uuid.New(), Message: good}},
		"another tenant":        {viewer.Of("other", demo.Bob), receipt.Mark{Channel: demo.Team, Message: good}},
		"nobody":                {viewer.Of("primary", uuid.Nil), receipt.Mark{Channel: demo.Team, Message: good}},
		"a public non-member's": {as(uuid.New()), receipt.Mark{Channel: demo.General, Message: uuid.MustParse("00000000-0000-4000-b000-000000000001")}},
	} {
		list, err := r.s.Acknowledge(t.Context(), c.who, []receipt.Mark{c.m}, true)
		if f := fault.From(err); err == nil || *f != *fault.Access() || len(list) > 0 {
			t.Errorf("%s: %v %v", what, list, err)
		}
	}
	if n := r.count(`select count(*) from realtime.moves`); n != 0 {
		t.Errorf("%d moves", n)
	}
	if _, err := r.s.Acknowledge(t.Context(), as(demo.Bob), nil, true); fault.From(err).Code != fault.Invalid {
		t.Errorf("nothing: %v", err)
	}
	if s := r.ack(demo.Alice, demo.Team, good, true); s.UnreadCount != 0 {
		t.Errorf("up to a message of one's own: %+v", s)
	}
}

// TestWhoLearnsOfReading: by each setting, at the moment of reading; nothing
// shown is taken back, nothing private is shown later.
func TestWhoLearnsOfReading(t *testing.T) {
	t.Parallel()
	block := `insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`
	for name, c := range map[string]struct {
		reciprocal    bool
		before, after func(r *rig)
		delivered     int
		read          int
	}{
		"by default":           {delivered: 1, read: 1},
		"no read receipts":     {before: func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)}) }, delivered: 1},
		"no delivery receipts": {before: func(r *rig) { r.set(demo.Bob, presence.Change{AllowDeliveryReceipts: ptr(false)}) }, delivered: 1, read: 1},
		"neither": {before: func(r *rig) {
			r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false), AllowDeliveryReceipts: ptr(false)})
		}},
		"visible to nobody":      {before: func(r *rig) { r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Nobody)}) }},
		"to contacts, who wrote": {before: func(r *rig) { r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Contacts)}) }, delivered: 1, read: 1}, // bob wrote to alice directly
		"to contacts, others": {before: func(r *rig) {
			r.exec(`delete from public.nchat_messages where channel_id = $1`, demo.AliceBob)
			r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Contacts)})
		}},
		"the sender blocked":      {before: func(r *rig) { r.exec(block, demo.Bob, demo.Alice) }},
		"the sender blocks":       {before: func(r *rig) { r.exec(block, demo.Alice, demo.Bob) }, delivered: 1, read: 1},
		"invisible":               {before: func(r *rig) { r.invisible(demo.Bob, true) }},
		"invisible, then visible": {before: func(r *rig) { r.invisible(demo.Bob, true) }, after: func(r *rig) { r.invisible(demo.Bob, false) }, delivered: 1, read: 1},
		"invisible, blocked, visible": {before: func(r *rig) { r.invisible(demo.Bob, true) },
			after: func(r *rig) {
				r.exec(block, demo.Bob, demo.Alice)
				r.invisible(demo.Bob, false)
			}},
		"invisible, for contacts, visible": {before: func(r *rig) { r.invisible(demo.Bob, true) },
			after: func(r *rig) {
				r.exec(`delete from public.nchat_messages where channel_id = $1`, demo.AliceBob)
				r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Contacts)})
				r.invisible(demo.Bob, false)
			}},
		"invisible, off, visible": {before: func(r *rig) { r.invisible(demo.Bob, true) },
			after: func(r *rig) {
				r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)})
				r.invisible(demo.Bob, false)
			}, delivered: 1},
		"invisible, all off, visible": {before: func(r *rig) { r.invisible(demo.Bob, true) },
			after: func(r *rig) {
				r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false), AllowDeliveryReceipts: ptr(false)})
				r.invisible(demo.Bob, false)
			}},
		"for contacts, invisible, a contact, visible": {before: func(r *rig) {
			r.exec(`delete from public.nchat_messages where channel_id = $1`, demo.AliceBob)
			r.exec(`insert into public.nchat_contacts (user_id, contact_user_id) values ($1, $2) on conflict do nothing`, demo.Bob, demo.Carol)
			r.set(demo.Bob, presence.Change{Visibility: ptr(presence.Contacts)})
			r.invisible(demo.Bob, true)
		},
			after: func(r *rig) {
				r.exec(`insert into public.nchat_contacts (user_id, contact_user_id) values ($1, $2)`, demo.Bob, demo.Alice)
				r.invisible(demo.Bob, false)
			}},
		"off, invisible, on, visible": {before: func(r *rig) {
			r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)})
			r.invisible(demo.Bob, true)
		},
			after: func(r *rig) {
				r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(true)})
				r.invisible(demo.Bob, false)
			}, delivered: 1},
		"turned on later":        {before: func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)}) }, after: func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(true)}) }, delivered: 1},
		"turned off later":       {after: func(r *rig) { r.set(demo.Bob, presence.Change{AllowReadReceipts: ptr(false)}) }, delivered: 1, read: 1},
		"blocked later":          {after: func(r *rig) { r.exec(block, demo.Bob, demo.Alice) }, delivered: 1, read: 1},
		"unblocked later":        {before: func(r *rig) { r.exec(block, demo.Bob, demo.Alice) }, after: func(r *rig) { r.exec(`delete from public.nchat_blocked_users`) }},
		"left later":             {after: func(r *rig) { r.exec(`delete from public.nchat_channel_members where user_id = $1`, demo.Bob) }, delivered: 1, read: 1},
		"reciprocal":             {reciprocal: true, delivered: 1, read: 1},
		"the sender shares none": {reciprocal: true, before: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)}) }, delivered: 1},
		"the sender looks now": {reciprocal: true, before: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)}) },
			after: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(true)}) }, delivered: 1},
		"the sender looks a day later": {reciprocal: true, before: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)}) },
			after: func(r *rig) {
				r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(true)})
				r.exec(`update realtime.presence_settings set receipts_shared_since = now() - interval '25 hours'`)
			}, delivered: 1}, // shared none when it was read
		"the sender stopped sharing": {reciprocal: true, after: func(r *rig) { r.set(demo.Alice, presence.Change{AllowReadReceipts: ptr(false)}) }, delivered: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.reciprocal)
			m := r.say(demo.Team, demo.Alice)
			if c.before != nil {
				c.before(r)
			}
			if s := r.ack(demo.Bob, demo.Team, m, true); s.UnreadCount != 0 || *s.LastReadMessageID != m {
				t.Errorf("one's own state: %+v", s)
			}
			if c.after != nil {
				c.after(r)
			}
			d := r.delivery(demo.Alice, m)
			if d.DeliveredCount != c.delivered || d.ReadCount != c.read || d.TotalRecipients != 2 {
				t.Errorf("%+v, want %d delivered, %d read", d, c.delivered, c.read)
			}
			ledger, err := r.s.Ledger(t.Context(), as(demo.Alice), []uuid.UUID{m})
			if err != nil {
				t.Fatal(err)
			}
			list, _, total, err := ledger.Receipts(m, 10, "")
			if err != nil || len(list) != c.delivered || total != c.delivered || len(list) == 1 && (list[0].ReadAt != nil) != (c.read == 1) {
				t.Errorf("list: %+v %v", list, err)
			}
			moves := r.moves()
			learns, err := receipt.Senders(t.Context(), r.pool, moves)
			passed, errPassed := r.s.Passed(t.Context(), as(demo.Alice), moves)
			told := false
			for _, users := range learns {
				told = told || slices.Contains(users, demo.Alice)
			}
			if err != nil || errPassed != nil || c.delivered == 0 && (told || len(passed) > 0) || c.delivered == 1 && !told {
				t.Errorf("told %v of %v: %v %v", told, passed, err, errPassed)
			}
			if other, err := r.s.Deliveries(t.Context(), as(demo.Carol), []uuid.UUID{m}); err != nil || len(other) != 0 {
				t.Errorf("another member sees %v %v", other, err)
			}
		})
	}
}

func (r *rig) invisible(user uuid.UUID, on bool) {
	r.t.Helper()
	if _, err := r.presence.Edit.SetInvisible(r.t.Context(), as(user), on); err != nil {
		r.t.Fatal(err)
	}
}

// TestUnread: own messages, the system's, deleted, scheduled and those in
// threads do not count; mentions do.
func TestUnread(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	first := r.say(demo.Team, demo.Alice)
	r.ack(demo.Bob, demo.Team, first, true)
	state := func() receipt.State {
		list, err := r.s.Current(t.Context(), as(demo.Bob), []uuid.UUID{demo.Team})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0]
	}
	counted := r.say(demo.Team, demo.Alice)
	r.say(demo.Team, demo.Bob)
	mention := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, mentions) values ($1, $2, $3, '@bob', array[$4::uuid])`, mention, demo.Team, demo.Carol, demo.Bob)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, type) values ($1, $2, 'joined', 'system')`, demo.Team, demo.Carol)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, is_system) values ($1, $2, 'joined', true)`, demo.Team, demo.Carol)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content, thread_id) values ($1, $2, 'in a thread', gen_random_uuid())`, demo.Team, demo.Carol)
	scheduled := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, scheduled_at) values ($1, $2, $3, 'later', now() + interval '1 hour')`, scheduled, demo.Team, demo.Carol)
	want := func(unread, mentions int) {
		t.Helper()
		if s := state(); s.UnreadCount != unread || s.MentionCount != mentions {
			t.Errorf("%+v, want %d unread, %d mentions", s, unread, mentions)
		}
	}
	want(2, 1)
	r.exec(`update public.nchat_messages set published_at = now() where id = $1`, scheduled)
	want(3, 1)
	r.exec(`update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`, counted)
	want(2, 1)
	r.exec(`update public.nchat_messages set mentions = null where id = $1`, mention)
	want(2, 0)
	r.exec(`delete from public.nchat_messages where id = $1`, mention)
	want(1, 0)
	r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	if list, err := r.s.States(t.Context(), as(demo.Bob), nil); err != nil || slices.ContainsFunc(list, func(s receipt.State) bool { return s.ChannelID == demo.Team }) {
		t.Errorf("of a channel left: %v %v", list, err)
	}
	r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, demo.Bob)
	want(0, 0)
	r.say(demo.Team, demo.Alice)
	want(1, 0)
}

// TestUnreadOfAll: counted for all members in one pass, for each of them, or
// message by message as the words say it, it is the same.
func TestUnreadOfAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	dice := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test's dice
	users := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol, demo.Dave}
	const differ = `
select count(*) from realtime.unread($1) a
  full join (select u.* from realtime.stints s cross join lateral realtime.unread(s.channel_id, s.user_id) u where s.channel_id = $1 and s.to_seq is null) b using (user_id)
  full join (select s.user_id, count(x.*) as n, count(*) filter (where s.user_id = any (x.mentions)) as mentioned
               from realtime.stints s
               left join realtime.marks m on m.user_id = s.user_id and m.channel_id = s.channel_id
               left join realtime.messages x on x.channel_id = s.channel_id and x.seq > greatest(m.read_seq, s.from_seq)
                                            and x.countable and x.sender is distinct from s.user_id
              where s.channel_id = $1 and s.to_seq is null group by s.user_id) c using (user_id)
 where (a.n, a.mentioned) is distinct from (b.n, b.mentioned) or (a.n, a.mentioned) is distinct from (c.n, c.mentioned)`
	var said []uuid.UUID
	for step := range 120 {
		who := users[dice.IntN(len(users))]
		switch n := dice.IntN(12); {
		case n < 5:
			id := r.say(demo.Team, who)
			said = append(said, id)
			r.exec(`update public.nchat_messages set mentions = $2 where id = $1`, id, []uuid.UUID{users[dice.IntN(4)], users[dice.IntN(4)]})
		case n < 9 && len(said) > 0:
			_, _ = r.s.Acknowledge(t.Context(), as(who), []receipt.Mark{{Channel: demo.Team, Message: said[dice.IntN(len(said))]}}, n < 8)
		case n == 9 && len(said) > 0:
			r.exec(`update public.nchat_messages set is_deleted = not is_deleted where id = $1`, said[dice.IntN(len(said))])
		case n == 10:
			r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, who)
		case n == 11:
			r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2) on conflict do nothing`, demo.Team, who)
		}
		r.exec(`select realtime.sequence(1000, false)`)
		if n := r.count(differ, demo.Team); n != 0 {
			t.Fatalf("step %d: %d members differ", step, n)
		}
	}
	if len(said) < 20 || r.count(`select count(*) from realtime.unread($1) where n > 0 and mentioned > 0`, demo.Team) == 0 {
		t.Fatal("nothing was tested")
	}
}

// TestOldMarksAreTakenOver: an install's own read columns are where it begins.
func TestOldMarksAreTakenOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.exec(`update public.nchat_channel_members set last_read_message_id = $1, last_read_at = now() where channel_id = $2 and user_id = $3`,
		uuid.MustParse("00000000-0000-4000-b000-000000000005"), demo.Team, demo.Carol)
	r.exec(`update public.nchat_channel_members set last_read_at = 'infinity' where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob)
	r.exec(`select realtime.sequence(1000, false)`)
	r.exec(`select realtime.adopt_marks($1)`, demo.Team)
	for user, want := range map[uuid.UUID]int{demo.Carol: 0, demo.Bob: 0, demo.Alice: 1} { // 5 is alice's own, 6 carol's
		list, err := r.s.States(t.Context(), as(user), []uuid.UUID{demo.Team})
		if err != nil || len(list) != 1 || list[0].UnreadCount != want {
			t.Errorf("%s: %+v %v, want %d", user, list, err, want)
		} else if at := list[0].LastReadAt; at != nil && at.After(time.Now().Add(time.Hour)) {
			t.Errorf("%s has read at %v", user, at)
		}
	}
}
