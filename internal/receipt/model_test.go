package receipt_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// model is who has read what, counted the slow way.
type model struct {
	members map[uuid.UUID]bool
	sent    []sent
}

type sent struct {
	id        uuid.UUID
	sender    uuid.UUID
	readers   map[uuid.UUID]bool // whose reading the sender learned of
	received  map[uuid.UUID]bool
	total     int
	couldRead map[uuid.UUID]bool
}

// TestCountsAgainstAModel: random sends, receipts, joins, leaves, settings,
// blocks, and moves folded at any moment; counts equal the model's and never go down.
func TestCountsAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, false)
			r.exec(`delete from public.nchat_blocked_users`)
			dice := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a test's dice
			users := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol, demo.Dave, demo.Erin, demo.Frank}
			m := model{members: map[uuid.UUID]bool{demo.Alice: true, demo.Bob: true, demo.Carol: true}}
			off := map[uuid.UUID]bool{}
			best := map[uuid.UUID][2]int{}
			for range 250 {
				who := users[dice.IntN(len(users))]
				switch n := dice.IntN(10); {
				case n < 3 && m.members[who]:
					x := sent{id: r.say(demo.Team, who), sender: who, readers: map[uuid.UUID]bool{}, received: map[uuid.UUID]bool{}, couldRead: map[uuid.UUID]bool{}}
					for u, in := range m.members {
						if in && u != who {
							x.couldRead[u] = true
							x.total++
						}
					}
					m.sent = append(m.sent, x)
				case n < 7 && m.members[who] && len(m.sent) > 0:
					m.acknowledge(r, who, dice.IntN(len(m.sent)), dice.IntN(2) == 0, off[who])
				case n == 7:
					m.members[who] = !m.members[who]
					if m.members[who] {
						r.exec(`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, demo.Team, who)
					} else {
						r.exec(`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, who)
					}
				case n == 8:
					off[who] = !off[who]
					r.set(who, presence.Change{AllowReadReceipts: ptr(!off[who])})
				case n == 9:
					r.age(dice.Float64())
					r.fold()
				}
				m.compare(r, best)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// acknowledge marks up to the i-th message. A member that may not see it (it
// was not there yet) is refused.
func (m *model) acknowledge(r *rig, who uuid.UUID, i int, read, private bool) {
	target := m.sent[i]
	_, err := r.s.Acknowledge(r.t.Context(), as(who), []receipt.Mark{{Channel: demo.Team, Message: target.id}}, read)
	if err != nil {
		if target.couldRead[who] || target.sender == who || fault.From(err).Code != fault.Denied {
			r.t.Error(err)
		}
		return
	}
	if !target.couldRead[who] && target.sender != who {
		r.t.Errorf("a receipt for a message from before its time")
	}
	// Of what is before its present stint a mark says nothing new.
	from := r.count(`select count(*) from realtime.messages m join realtime.stints s on s.channel_id = m.channel_id and s.user_id = $2 and s.to_seq is null
	  where m.channel_id = $1 and m.seq <= s.from_seq and m.message_id = any ($3)`, demo.Team, who, m.ids())
	for j := from; j <= i; j++ {
		x := m.sent[j]
		if x.sender == who || !x.couldRead[who] {
			continue
		}
		x.received[who] = true
		if read && !private && !m.readPrivately(who, j) {
			x.readers[who] = true
		}
		if read && private {
			m.sent[j].couldRead[who] = true
			m.notePrivate(who, j)
		}
	}
}

// private reading is remembered under a made-up reader: it is not shown later.
func (m *model) notePrivate(who uuid.UUID, j int) { m.sent[j].readers[hidden(who)] = true }

func (m *model) readPrivately(who uuid.UUID, j int) bool {
	return m.sent[j].readers[hidden(who)]
}

func hidden(who uuid.UUID) uuid.UUID { return uuid.NewSHA1(who, []byte("hidden")) }

func (m *model) ids() []uuid.UUID {
	out := make([]uuid.UUID, len(m.sent))
	for i, x := range m.sent {
		out[i] = x.id
	}
	return out
}

func (m *model) compare(r *rig, best map[uuid.UUID][2]int) {
	for sender, in := range m.members {
		if !in {
			continue
		}
		list, err := r.s.Deliveries(r.t.Context(), as(sender), m.ids())
		if err != nil {
			r.t.Fatal(err)
		}
		got := map[uuid.UUID]receipt.Delivery{}
		for _, d := range list {
			got[d.MessageID] = d
		}
		for _, x := range m.sent {
			if x.sender != sender {
				continue
			}
			read := 0
			for u := range x.readers {
				if x.couldRead[u] {
					read++
				}
			}
			d := got[x.id]
			if d.TotalRecipients != x.total || d.DeliveredCount != len(x.received) || d.ReadCount != read || d.ReadCount > d.DeliveredCount || d.DeliveredCount > d.TotalRecipients {
				r.t.Errorf("%+v, want %d of %d, %d read", d, len(x.received), x.total, read)
			}
			if b := best[x.id]; d.DeliveredCount < b[0] || d.ReadCount < b[1] {
				r.t.Errorf("counts went down: %v to %+v", b, d)
			}
			best[x.id] = [2]int{d.DeliveredCount, d.ReadCount}
		}
	}
}

// TestWhatIsReadInPrivateIsNotAnnounced: whoever reads without telling is not
// told on by events about messages of which nothing has changed.
func TestWhatIsReadInPrivateIsNotAnnounced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reciprocal bool
		who        uuid.UUID // shares no reading
		more       int       // messages that come besides, not delivered yet
		moves      int
	}{
		"the reader, and one more comes": {who: demo.Bob, more: 1, moves: 1},
		"the reader":                     {who: demo.Bob},
		"the sender":                     {reciprocal: true, who: demo.Alice, moves: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.reciprocal)
			r.set(c.who, presence.Change{AllowReadReceipts: ptr(false)})
			for range 3 {
				r.ack(demo.Bob, demo.Team, r.say(demo.Team, demo.Alice), false)
			}
			before := len(r.moves())
			last := r.say(demo.Team, demo.Alice)
			fresh := []uuid.UUID{last}[:c.more]
			if c.more == 0 {
				r.ack(demo.Bob, demo.Team, last, false)
				before++
			}
			r.ack(demo.Bob, demo.Team, last, true)
			moves := r.moves()[before:]
			passed, err := r.s.Passed(t.Context(), as(demo.Alice), moves)
			if err != nil || !slices.Equal(passed, fresh) {
				t.Errorf("told of %v, want %v (%v)", passed, fresh, err)
			}
			learns, err := receipt.Senders(t.Context(), r.pool, moves)
			if err != nil || len(moves) != c.moves || len(moves) > 0 && slices.Contains(learns[moves[0]], demo.Alice) != (c.more > 0) {
				t.Errorf("%d moves, learnt of by %v (%v)", len(moves), learns, err)
			}
		})
	}
}

// TestAMarkOverYearsIsToldInPart: one receipt for a long history costs no more
// than another, and the status of each message is right all the same.
func TestAMarkOverYearsIsToldInPart(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	r.exec(`insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, 'x' from generate_series(1, 1500)`, demo.Team, demo.Alice)
	r.exec(`select realtime.sequence(10000, false)`)
	var first, last uuid.UUID
	if err := r.pool.QueryRow(t.Context(), `select (array_agg(message_id order by seq))[1], (array_agg(message_id order by seq desc))[1] from realtime.messages where channel_id = $1 and seq > 0`,
		demo.Team).Scan(&first, &last); err != nil {
		t.Fatal(err)
	}
	r.ack(demo.Bob, demo.Team, last, true)
	passed, err := r.s.Passed(t.Context(), as(demo.Alice), r.moves())
	if err != nil || len(passed) != receipt.Reach || passed[len(passed)-1] != last {
		t.Errorf("told of %d: %v", len(passed), err)
	}
	if d := r.delivery(demo.Alice, first); d.ReadCount != 1 {
		t.Errorf("the first of them: %+v", d)
	}
}

func (r *rig) moves() []int64 {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `select id from realtime.moves`)
	if err != nil {
		r.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

// TestWhoWasRemovedReadsNoMore: at once, though the log hears of it a little later.
func TestWhoWasRemovedReadsNoMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, false)
	m := r.say(demo.Team, demo.Alice)
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`update public.nchat_channel_members set can_read = false where channel_id = $1 and user_id = $2`,
		`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`,
	} {
		r.exec(q, demo.Team, demo.Bob)
		if _, err := r.s.Acknowledge(t.Context(), as(demo.Bob), []receipt.Mark{{Channel: demo.Team, Message: m}}, true); fault.From(err).Code != fault.Denied {
			t.Errorf("%s: %v", q, err)
		}
	}
	if n := len(r.moves()); n != 0 {
		t.Errorf("%d moves", n)
	}
}
