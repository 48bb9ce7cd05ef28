package feed

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// client is what an app keeps of what it was brought.
type client struct {
	cursor   string
	channels map[uuid.UUID]ChannelState
	messages map[uuid.UUID]text
}

func (c *client) clone() *client {
	return &client{c.cursor, maps.Clone(c.channels), maps.Clone(c.messages)}
}

// apply takes a page in, in the order the schema names.
func (c *client) apply(p Page) {
	if p.Reset != "" || c.channels == nil {
		c.channels, c.messages = map[uuid.UUID]ChannelState{}, map[uuid.UUID]text{}
	}
	for _, id := range p.Left {
		delete(c.channels, id)
		maps.DeleteFunc(c.messages, func(_ uuid.UUID, m text) bool { return m.Channel == id })
	}
	for _, x := range p.Channels {
		c.channels[x.ChannelID] = x
	}
	for _, m := range texts(p.Messages) {
		c.messages[m.ID] = m
	}
	for _, id := range p.Deleted {
		delete(c.messages, id)
	}
	c.cursor = p.Cursor
}

// differs names the first difference of two clients.
func (c *client) differs(o *client) string {
	for id, m := range c.messages {
		if x, ok := o.messages[id]; !ok || x != m {
			return fmt.Sprintf("message %v against %v (there: %t)", m, x, ok)
		}
	}
	for id, m := range o.messages {
		if _, ok := c.messages[id]; !ok {
			return fmt.Sprintf("message %v is missing", m)
		}
	}
	plain := func(m map[uuid.UUID]ChannelState) []ChannelState {
		var out []ChannelState
		for _, id := range slices.SortedFunc(maps.Keys(m), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
			x := m[id]
			x.LastNumber = 0 // told with the messages
			out = append(out, x)
		}
		return out
	}
	if a, b := plain(c.channels), plain(o.channels); !slices.Equal(a, b) {
		return fmt.Sprintf("channels %v against %v", a, b)
	}
	return ""
}

// lawCase is a database, one reader and dice.
type lawCase struct {
	t        *testing.T
	pool     *pgxpool.Pool
	node     *Service
	v        viewer.Viewer
	r        *rand.Rand
	channels []uuid.UUID
	thread   uuid.UUID // in whichever channel
	said     []string
}

func newLawCase(t *testing.T, pool *pgxpool.Pool, seed uint64) *lawCase {
	t.Helper()
	reader, _ := lawWorld(t, pool)
	l := &lawCase{t: t, pool: pool, node: runService(t, pool, &bells{}), v: viewer.Of("primary", reader), thread: uuid.New(), r: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // a test's dice
	mustExec(t, pool, `delete from public.nchat_channels`)
	for range 4 {
		l.channels = append(l.channels, l.channel())
	}
	return l
}

func (l *lawCase) catchUp(c *client) {
	l.t.Helper()
	for {
		p, err := l.node.Sync(l.t.Context(), l.v, Query{Cursor: c.cursor, First: 1 + l.r.IntN(12)})
		if err != nil {
			l.t.Fatal(err)
		}
		c.apply(p)
		if !p.More {
			return
		}
	}
}

// step is one thing that happens in the reader's channels or to its rights.
func (l *lawCase) step() {
	l.t.Helper()
	a, b := l.channels[l.r.IntN(len(l.channels))], l.channels[l.r.IntN(len(l.channels))]
	reader := l.v.User
	pick := `(select id from public.nchat_messages where channel_id = $1 order by md5(id::text || $2) limit 1)`
	type op struct {
		q    string
		args []any
	}
	dice := fmt.Sprint(l.r.Uint64())
	ops := []op{
		{`insert into public.nchat_messages (channel_id, content) values ($1, $2)`, []any{a, dice}},
		{`insert into public.nchat_messages (channel_id, content, thread_id) values ($1, $2, $3)`, []any{a, dice, l.thread}},
		{`insert into public.nchat_messages (channel_id, content, scheduled_at) values ($1, $2, now())`, []any{a, dice}},
		{`update public.nchat_messages set published_at = now() where channel_id = $1 and scheduled_at is not null and published_at is null and $2::text <> ''`, []any{a, dice}},
		{`update public.nchat_messages set published_at = null where scheduled_at is not null and id = ` + pick, []any{a, dice}},
		{`update public.nchat_messages set content = $2 where id = ` + pick, []any{a, dice}},
		{`update public.nchat_messages set is_deleted = not is_deleted where id = ` + pick, []any{a, dice}},
		{`delete from public.nchat_messages where id = ` + pick, []any{a, dice}},
		{`update public.nchat_messages set channel_id = $3 where id = ` + pick, []any{a, dice, b}},
		{`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, []any{a, reader}},
		{`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2) on conflict do nothing`, []any{a, reader}},
		{`insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2) on conflict do nothing`, []any{b, reader}},
		{`update public.nchat_channel_members set can_read = not coalesce(can_read, true) where channel_id = $1 and user_id = $2`, []any{a, reader}},
		{`update public.nchat_channel_members set can_write = not coalesce(can_write, true) where channel_id = $1 and user_id = $2`, []any{a, reader}},
		{`update public.nchat_channels set name = left($2, 20), is_archived = not is_archived where id = $1`, []any{a, dice}},
		{`update public.nchat_channels set type = case type when 'public' then 'private'::public.channel_type else 'public' end where id = $1 and $2::text <> ''`, []any{a, dice}},
	}
	k := l.r.IntN(len(ops))
	if l.r.IntN(2) == 0 {
		k = 0
	}
	if l.r.IntN(150) == 0 {
		ops[k] = op{`delete from public.nchat_channels where id = $1`, []any{a}}
		l.channels = slices.DeleteFunc(l.channels, func(id uuid.UUID) bool { return id == a })
		l.channels = append(l.channels, l.channel())
	}
	l.said = append(l.said, fmt.Sprint(ops[k].q, ops[k].args))
	if _, err := l.pool.Exec(l.t.Context(), ops[k].q, ops[k].args...); err != nil {
		l.t.Fatal(ops[k], err)
	}
}

func (l *lawCase) channel() uuid.UUID {
	l.t.Helper()
	id := uuid.New()
	typ := []string{"private", "public"}[l.r.IntN(2)]
	if _, err := l.pool.Exec(l.t.Context(), `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', $2, $3::text::public.channel_type)`, id, id.String(), typ); err != nil {
		l.t.Fatal(err)
	}
	return id
}

// TestSyncLaw: to go c0→c1→c2 is to go c0→c2, whatever the pages, and either is
// what a fresh start brings.
func TestSyncLaw(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	pool, err := postgres.Open(t.Context(), pgtest.NewURL(t), postgres.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	rounds := 40
	if n, err := strconv.Atoi(os.Getenv("FEED_ROUNDS")); err == nil {
		rounds = n
	}
	seed := rand.Uint64() //nolint:gosec // a test's dice
	if n, err := strconv.ParseUint(os.Getenv("FEED_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("FEED_SEED=%d", seed)
	l := newLawCase(t, pool, seed)
	old := &client{}
	l.catchUp(old)
	steps := 0
	for round := range rounds {
		l.said = nil
		twice, once := old.clone(), old.clone()
		for range 1 + l.r.IntN(15) {
			l.step()
			steps++
		}
		l.catchUp(twice)
		for range 1 + l.r.IntN(15) {
			l.step()
			steps++
		}
		l.catchUp(twice)
		l.catchUp(once)
		fresh := &client{}
		l.catchUp(fresh)
		if d := twice.differs(once); d != "" {
			t.Fatalf("round %d: in two steps against one: %s\n%v", round, d, l.said)
		}
		if d := once.differs(fresh); d != "" {
			t.Fatalf("round %d: delta against fresh: %s\n%v", round, d, l.said)
		}
		old = once
		// A fresh start brings the newest of each channel: keep the channels below that.
		if _, err := pool.Exec(t.Context(), `delete from public.nchat_messages where id in (
		  select id from (select id, row_number() over (partition by channel_id order by created_at desc) n from public.nchat_messages) x where n > 15)`); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d steps", steps)
}

// TestChannelsTakeRoomInAPage: whoever is a member of many channels where nobody has
// written gets them by pages, each once.
func TestChannelsTakeRoomInAPage(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	const more = pageEntries + 1
	mustSync(t, s, v, Query{})
	// As if placed, which takes its time.
	mustExec(t, pool, fmt.Sprintf(`begin; set local session_replication_role = replica;
		insert into public.nchat_channels (name, slug) select 'c', 'many-' || i from generate_series(1, %d) i;
		insert into public.nchat_channel_members (channel_id, user_id) select id, '%[2]s' from public.nchat_channels where slug like 'many-%%';
		insert into realtime.channels (channel_id, tenant, members) select id, 'primary', 1 from public.nchat_channels where slug like 'many-%%';
		insert into realtime.stints (channel_id, user_id, from_seq) select id, '%[2]s', 0 from public.nchat_channels where slug like 'many-%%';
		commit; analyze`, more, v.User))
	got, pages := map[uuid.UUID]bool{}, 0
	for q := (Query{}); ; pages++ {
		p := mustSync(t, s, v, q)
		if len(p.Channels) > pageEntries || len(p.Read) > pageEntries || pages > 3 {
			t.Fatalf("page %d has %d channels", pages, len(p.Channels))
		}
		for _, c := range p.Channels {
			if got[c.ChannelID] {
				t.Errorf("%v comes twice", c.ChannelID)
			}
			got[c.ChannelID] = true
		}
		if q.Cursor = p.Cursor; !p.More {
			break
		}
	}
	if len(got) < more || len(got) > more+len(channels) {
		t.Errorf("%d channels come of %d and those of the world", len(got), more)
	}
}
