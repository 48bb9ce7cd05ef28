package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const (
	roomSize = 8 // people in a room; all are in one more
	watches  = 6 // others whom each watches
	counted  = 5 // one of so many is asked how much there is to read
)

// size is how much there is in a rig.
type size struct {
	nodes, people int
	pages         int           // clients in TypeScript besides, where Node is
	pace          time.Duration // between two things that one writer does
	signal        time.Duration // for how long somebody types at most
}

// rig is a Postgres, servers, the links between them, clients, and what was recorded.
type rig struct {
	t       testing.TB
	size    size
	rand    *rand.Rand
	pg      *pgtest.Own
	db      *proxy // from the servers to Postgres
	bell    *proxy // the same for what listens
	nodes   []*node
	clients []*client
	pages   *pages
	rooms   []string
	general string

	stopWriting context.CancelFunc
	writers     sync.WaitGroup

	mu   sync.Mutex
	h    History // guarded by mu, as are the rest
	open map[string]time.Time
	odds map[string]int
	ends map[string]int // of sockets, by close code
	keys int
	last map[string]Ack // by sender
}

func pgAddr(t testing.TB, url string) string {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s/.s.PGSQL.%d", c.Host, c.Port)
}

// newRig starts everything and has everybody online.
func newRig(t testing.TB, s size, seed uint64) *rig {
	t.Helper()
	r := &rig{t: t, size: s, rand: rand.New(rand.NewPCG(seed, 1)), open: map[string]time.Time{}, odds: map[string]int{}, ends: map[string]int{}, last: map[string]Ack{}}
	r.h.Members, r.h.Grace, r.h.Signal = map[string][]string{}, 5*time.Second, s.signal
	r.pages = r.newPages(seed)
	r.pg = pgtest.Cluster(t)
	r.pg.Migrated()
	r.sql(`create role `+app+` login`, `grant usage on schema public, realtime to `+app, `grant all on all tables in schema public, realtime to `+app,
		`grant all on all sequences in schema public, realtime to `+app)
	r.fill()
	r.db, r.bell = newProxy(t, "unix", pgAddr(t, r.pg.URL())), newProxy(t, "unix", pgAddr(t, r.pg.URL()))
	dsn := func(p *proxy) string {
		return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres sslmode=disable", p.port(), app)
	}
	var ready sync.WaitGroup
	for range s.nodes {
		n := &node{t: t, link: newProxy(t, "tcp", "")}
		n.env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + dsn(r.db), "LISTEN_DATABASE_URL=" + dsn(r.bell), "HASURA_GRAPHQL_JWT_SECRET=" + secret,
			"HOST=127.0.0.1", "PORT=0", "ADMIN_ADDR=127.0.0.1:0", "DRAIN_TIMEOUT=1s", "LOG_LEVEL=info",
			"MAX_SOCKETS_PER_IP=100000", "MAX_CONNECTIONS_PER_IP=100000", "MAX_OPENING_SOCKETS_PER_IP=100000", "MAX_SOCKETS_PER_USER=100",
			"MESSAGES_PER_MINUTE=100000", "OPERATIONS_PER_MINUTE=100000", "POINTS_PER_MINUTE=10000000"}
		r.nodes = append(r.nodes, n)
		ready.Go(n.start)
	}
	ready.Go(r.pages.start)
	ready.Wait()
	if t.Failed() {
		t.FailNow()
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		for _, c := range r.clients {
			<-c.over
		}
	})
	for i := range s.people {
		r.clients = append(r.clients, r.newClient(i, seed))
	}
	for _, c := range r.clients {
		go c.run(c.ctxOf(ctx))
	}
	r.pages.open()
	eventually(t, "everybody is online", func() bool { return r.up() == s.people && r.pages.all(nil, nil) })
	return r
}

func (r *rig) newClient(i int, seed uint64) *client {
	user := userID(i)
	c := &client{r: r, at: i, user: user.String(), token: mint(r.t, user.String(), 48*time.Hour), web: newWeb(), rand: rand.New(rand.NewPCG(seed, uint64(i)+2)), over: make(chan struct{}),
		told: &Client{User: user.String()}, known: map[string]int64{}, newest: map[string]string{}, versions: map[string]int{},
		out: map[string]bool{}, asked: map[string]chan json.RawMessage{}, pictures: map[string][]string{}}
	r.h.Clients = append(r.h.Clients, c.told)
	return c
}

func mint(t testing.TB, user string, life time.Duration) string {
	t.Helper()
	j, err := auth.ParseJWTConfig(secret)
	if err != nil {
		t.Fatal(err)
	}
	token, err := auth.Mint(j, auth.Claims{User: uuid.MustParse(user), Role: "user", TTL: life})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ctxOf is the client's own context, which leave ends.
func (c *client) ctxOf(ctx context.Context) context.Context {
	ctx, c.stop = context.WithCancel(ctx)
	return ctx
}

func userID(i int) uuid.UUID {
	return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1))
}

func (r *rig) fill() {
	r.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, r.pg.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(ctx)
	room := func(n int) string { return fmt.Sprintf("00000000-0000-4000-9000-%012d", n) }
	r.general = room(0)
	for i := range r.size.people {
		if i%roomSize == 0 {
			r.rooms = append(r.rooms, room(len(r.rooms)+1))
		}
		for _, c := range []string{r.general, r.rooms[i/roomSize]} {
			r.h.Members[c] = append(r.h.Members[c], userID(i).String())
		}
	}
	for _, p := range r.pages.list {
		for _, c := range r.channelsOf(0) {
			r.h.Members[c] = append(r.h.Members[c], p.user)
		}
	}
	for c, members := range r.h.Members {
		for _, q := range []string{
			`insert into public.nchat_users (id, email, display_name) select u::uuid, u || '@example.com', 'T' from unnest($2::text[]) u where $1::text is not null on conflict do nothing`,
			`insert into public.nchat_channels (id, name, slug, type) select $1::text::uuid, $1, $1, 'private' where $2::text[] is not null`,
			`insert into public.nchat_channel_members (channel_id, user_id) select $1::text::uuid, u::uuid from unnest($2::text[]) u`} {
			if _, err := conn.Exec(ctx, q, c, members); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func (r *rig) channelsOf(at int) []string { return []string{r.general, r.rooms[at/roomSize]} }

func (r *rig) watched(at int) (list []string) {
	for i := range min(watches, r.size.people-1) {
		list = append(list, userID((at+1+i)%r.size.people).String())
	}
	if i := at / 2; i < len(r.pages.list) {
		list = append(list, r.pages.list[i].user)
	}
	return list
}

// up is how many clients are connected, and have fetched what was there before.
func (r *rig) up() (n int) {
	for _, c := range r.clients {
		c.mu.Lock()
		if c.up && c.cursor != "" {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// writing has everybody write until quiet.
func (r *rig) writing() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stopWriting = cancel
	for _, c := range r.clients {
		if !r.left(c.user) {
			r.writers.Go(func() { c.write(ctx, r.size.pace) })
		}
	}
	for _, p := range r.pages.list {
		r.writers.Go(func() { p.write(ctx, r.size.pace/2) })
	}
}

func (r *rig) left(user string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.h.Gone, func(g Gone) bool { return g.User == user })
}

// rows are what the database holds of what was sent.
func (r *rig) rows(ctx context.Context) ([]Row, error) {
	conn, err := pgx.Connect(ctx, r.pg.URL())
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `
		select split_part(p.content, ' ', 2), p.channel_id::text, p.user_id::text, p.id::text, coalesce(m.seq, 0), coalesce(v.version, 1)
		  from public.nchat_messages p left join realtime.messages m on m.message_id = p.id left join realtime.revisions v on v.message_id = p.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x Row, err error) {
		err = row.Scan(&x.Key, &x.Channel, &x.Sender, &x.ID, &x.Seq, &x.Version)
		return x, err
	})
}

// quiet ends the writing and waits until everybody has been told everything, as far
// as patience goes: what is missing then is the checker's to say.
func (r *rig) quiet() time.Duration {
	r.t.Helper()
	from := time.Now()
	r.stopWriting()
	r.writers.Wait()
	var rows []Row
	for end := from.Add(patient); ; {
		sent := r.pages.sent() // before it is looked what there is
		got, err := r.rows(r.t.Context())
		if err == nil {
			rows = got
		}
		if err == nil && sent && r.all(rows) || time.Now().After(end) {
			break
		}
		t := time.NewTimer(50 * time.Millisecond)
		<-t.C
	}
	took := time.Since(from)
	r.mu.Lock()
	r.h.Rows = rows
	r.mu.Unlock()
	return took
}

// all reports whether everybody who is there knows every number and version, and
// sees everybody as they are.
func (r *rig) all(rows []Row) bool {
	last := map[string]int64{}
	for _, x := range rows {
		last[x.Channel] = max(last[x.Channel], x.Seq)
	}
	for _, c := range r.clients {
		if r.left(c.user) {
			continue
		}
		c.mu.Lock()
		ok := c.up && c.cursor != "" // else it was reset, and fetches anew
		for _, ch := range r.channelsOf(c.at) {
			ok = ok && c.known[ch] >= last[ch]
		}
		for _, x := range rows {
			v, told := c.versions[x.ID]
			ok = ok && x.Seq > 0 && (!told || v >= x.Version)
		}
		c.mu.Unlock()
		if !ok {
			return false
		}
	}
	return r.pages.all(rows, last) && r.seenRight()
}

func (r *rig) seenRight() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[[2]string]bool{}
	for _, s := range r.h.Seen {
		last[[2]string{s.Viewer, s.Target}] = s.Online
	}
	gone := map[string]bool{}
	for _, g := range r.h.Gone {
		gone[g.User] = true
	}
	for p, online := range last {
		if !gone[p[0]] && online == gone[p[1]] {
			return false
		}
	}
	return true
}

// check asks for the counts, and has the checker judge.
func (r *rig) check() Verdict {
	r.t.Helper()
	r.mu.Lock()
	r.h.Counts = nil
	last := maps.Clone(r.last)
	r.mu.Unlock()
	var asked sync.WaitGroup
	errs := make([]error, len(r.clients))
	for i, c := range r.clients {
		if i%counted == 0 && !r.left(c.user) {
			asked.Go(func() { errs[i] = c.counts(context.Background(), last[c.user]) })
		}
	}
	asked.Wait()
	if err := errors.Join(errs...); err != nil {
		r.t.Error(err)
	}
	tally := r.settledTallies()
	for _, c := range r.clients {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pictured(time.Now())
		c.told.Live = !slices.ContainsFunc(r.h.Gone, func(g Gone) bool { return g.User == c.user })
	}
	defer r.pages.still()()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Tallies = append(r.h.Tallies, tally)
	h := r.h
	h.End = time.Now()
	h.Spans = slices.Clone(h.Spans)
	for user, from := range r.open {
		h.Spans = append(h.Spans, Span{User: user, From: from, Open: true})
	}
	return Check(&h)
}

func (r *rig) record(note func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	note()
}

func (r *rig) ended(code string, err error) {
	r.record(func() {
		r.ends[code]++
		if os.Getenv("RIG_DEBUG") != "" {
			r.ends[err.Error()]++
		}
	})
}
func (r *rig) enter(user string, at time.Time) { r.record(func() { r.open[user] = at }) }
func (r *rig) span(user string, to time.Time) {
	r.record(func() {
		r.h.Spans = append(r.h.Spans, Span{User: user, From: r.open[user], To: to})
		delete(r.open, user)
	})
}
func (r *rig) see(s Seen)         { r.record(func() { r.h.Seen = append(r.h.Seen, s) }) }
func (r *rig) pictured(p Typing)  { r.record(func() { r.h.Typing = append(r.h.Typing, p) }) }
func (r *rig) signalled(s Signal) { r.record(func() { r.h.Signals = append(r.h.Signals, s) }) }
func (r *rig) synced(s Read)      { r.record(func() { r.h.Reads = append(r.h.Reads, s) }) }
func (r *rig) marked(m Mark)      { r.record(func() { r.h.Marks = append(r.h.Marks, m) }) }
func (r *rig) counted(c Count)    { r.record(func() { r.h.Counts = append(r.h.Counts, c) }) }
func (r *rig) odd(what string)    { r.record(func() { r.odds[what]++ }) }
func (r *rig) acked(a Ack)        { r.record(func() { r.h.Acks = append(r.h.Acks, a); r.last[a.Sender] = a }) }
func (r *rig) key() (k string)    { r.record(func() { r.keys++; k = fmt.Sprint("k", r.keys) }); return k }
