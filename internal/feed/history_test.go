package feed

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// whole reads a channel's past by pages of any size, from one end to the other.
func whole(t *testing.T, s *Service, v viewer.Viewer, r *rand.Rand, q HistoryQuery, forward bool) (out []text, err error) {
	t.Helper()
	for {
		q.First = 1 + r.IntN(9)
		p, err := s.Past.Page(t.Context(), v, q)
		if err != nil {
			return nil, err
		}
		if len(p.Messages) > q.First {
			t.Fatalf("%d messages in a page of %d", len(p.Messages), q.First)
		}
		out = append(out, texts(p.Messages)...)
		if !p.More {
			return out, nil
		}
		if q.Before = p.End; forward {
			q.Before, q.After = "", p.End
		}
	}
}

// expected is a channel's past by the rule of the log, newest first.
func (l *lawCase) expected(channel, thread uuid.UUID) (out []uuid.UUID, readable bool) {
	l.t.Helper()
	gs, err := loadGrants(l.t.Context(), l.pool, l.v, []uuid.UUID{channel}, true)
	if err != nil {
		l.t.Fatal(err)
	}
	rows, err := l.pool.Query(l.t.Context(), `
select m.message_id, m.seq from realtime.messages m
 where m.channel_id = $1 and not m.gone and ($2::uuid = '00000000-0000-0000-0000-000000000000' or m.thread = $2) order by m.seq desc`, channel, thread)
	if err != nil {
		l.t.Fatal(err)
	}
	var id uuid.UUID
	var seq int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
		if gs[channel].covers(seq) {
			out = append(out, id)
		}
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return out, gs[channel].readable
}

// TestHistoryLaw: whatever happens to messages, memberships and channels, the pages
// of a channel, in whichever direction and of whatever size, are what the log's rule
// lets the viewer see, no message twice; a fresh sync has the newest of them, and
// what a client gathered by syncs is among them.
func TestHistoryLaw(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			l := newLawCase(t, pgtest.New(t), seed)
			c := &client{}
			read := 0
			for range 40 {
				for range l.r.IntN(12) {
					l.step()
				}
				l.catchUp(c)
				for _, channel := range l.channels {
					read += l.compareHistory(channel, c)
				}
			}
			if read < 200 {
				t.Errorf("only %d messages were ever read", read)
			}
		})
	}
}

func (l *lawCase) compareHistory(channel uuid.UUID, c *client) int {
	l.t.Helper()
	want, readable := l.expected(channel, uuid.Nil)
	down, err := whole(l.t, l.node, l.v, l.r, HistoryQuery{Channel: channel}, false)
	if !readable {
		if f := fault.From(err); err == nil || f.Code != fault.Denied {
			l.t.Fatalf("a channel that may not be read: %v, %v", down, err)
		}
		return 0
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if got := ids(down); !slices.Equal(got, want) {
		l.t.Fatalf("downwards %v, want %v", got, want)
	}
	seal := l.node.lastSealer()
	bottom, err := seal.spot(l.v, HistoryQuery{Channel: channel}, math.MinInt64)
	if err != nil {
		l.t.Fatal(err)
	}
	up, err := whole(l.t, l.node, l.v, l.r, HistoryQuery{Channel: channel, After: bottom}, true)
	if err != nil {
		l.t.Fatal(err)
	}
	slices.Reverse(up)
	if !slices.Equal(up, down) {
		l.t.Fatalf("upwards %v, downwards %v", up, down)
	}
	ofThread, _ := l.expected(channel, l.thread)
	got, err := whole(l.t, l.node, l.v, l.r, HistoryQuery{Channel: channel, Thread: l.thread}, false)
	if err != nil || !slices.Equal(ids(got), ofThread) {
		l.t.Fatalf("of a thread %v (%v), want %v", got, err, ofThread)
	}
	live := slices.DeleteFunc(slices.Clone(down), func(m text) bool { return m.Erased })
	for _, m := range c.messages {
		if m.Channel == channel && !slices.Contains(live, m) {
			l.t.Fatalf("sync told of %v, which is not in %v", m, live)
		}
	}
	if _, member := c.channels[channel]; member {
		fresh, cursor := []text(nil), ""
		for more := true; more; {
			p := mustSync(l.t, l.node, l.v, Query{Channels: []uuid.UUID{channel}, Cursor: cursor})
			fresh, cursor, more = append(fresh, texts(p.Messages)...), p.Cursor, p.More
		}
		if !slices.Equal(ids(fresh), ids(live[:min(len(live), Newest)])) {
			l.t.Fatalf("a fresh sync has %v, a page %v", fresh, live)
		}
	}
	may, err := l.node.Past.Visible(l.t.Context(), l.v, append(everyMessage(l.t, l), uuid.New()))
	if err != nil {
		l.t.Fatal(err)
	}
	n := 0
	for id, body := range may {
		if at, _ := body.Place(); at == channel {
			if n++; !slices.Contains(want, id) {
				l.t.Fatalf("message %v is shown by its id alone", id)
			}
		}
	}
	if n != len(want) {
		l.t.Fatalf("%d messages by id, %d in pages", n, len(want))
	}
	return len(want)
}

func everyMessage(t *testing.T, l *lawCase) []uuid.UUID {
	t.Helper()
	rows, err := l.pool.Query(t.Context(), `select message_id from realtime.messages`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is asked wrongly is refused in one way, and a channel that is not there, is
// another tenant's or is not the viewer's are refused alike.
func TestHistoryRefuses(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	for range 3 {
		say(t, pool, channels[0])
		say(t, pool, channels[1])
	}
	page := func(q HistoryQuery) History {
		t.Helper()
		p, err := s.Past.Page(t.Context(), v, q)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	here, there := page(HistoryQuery{Channel: channels[0], First: 1}), page(HistoryQuery{Channel: channels[1], First: 1})
	ofThread := page(HistoryQuery{Channel: channels[0], Thread: uuid.New()})
	if len(ofThread.Messages) != 0 || ofThread.More || ofThread.End != "" {
		t.Errorf("a thread that is not there: %+v", ofThread)
	}
	log := mustSync(t, s, v, Query{}).Cursor
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type, source_account_id) values ($1, 'c', 'elsewhere', 'public', 'other')`, fixed('c', 77))
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', 'closed', 'private')`, fixed('c', 78))
	say(t, pool, fixed('c', 77))
	say(t, pool, fixed('c', 78))
	other := viewer.Of("primary", uuid.New())
	seal := s.lastSealer()
	theirs, err := seal.spot(other, HistoryQuery{Channel: channels[0]}, 2)
	if err != nil {
		t.Fatal(err)
	}
	thread, err := seal.spot(v, HistoryQuery{Channel: channels[0], Thread: channels[1]}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q    HistoryQuery
		code fault.Code
	}{
		"first 0 said":          {HistoryQuery{Channel: channels[0], First: -1}, fault.Invalid},
		"first too large":       {HistoryQuery{Channel: channels[0], First: MaxFirst + 1}, fault.Invalid},
		"before and after":      {HistoryQuery{Channel: channels[0], Before: here.End, After: here.End}, fault.Invalid},
		"malformed":             {HistoryQuery{Channel: channels[0], Before: "§"}, fault.Invalid},
		"malformed after":       {HistoryQuery{Channel: channels[0], After: strings.Repeat("A", len(here.End))}, fault.Invalid},
		"cut short":             {HistoryQuery{Channel: channels[0], After: here.End[:20]}, fault.Invalid},
		"of another channel":    {HistoryQuery{Channel: channels[0], Before: there.End}, fault.Invalid},
		"of another user":       {HistoryQuery{Channel: channels[0], Before: theirs}, fault.Invalid},
		"of a thread":           {HistoryQuery{Channel: channels[0], Before: thread}, fault.Invalid},
		"of the channel":        {HistoryQuery{Channel: channels[0], Thread: channels[1], Before: here.End}, fault.Invalid},
		"of the log":            {HistoryQuery{Channel: channels[0], Before: log}, fault.Invalid},
		"a channel nowhere":     {HistoryQuery{Channel: uuid.New()}, fault.Denied},
		"another tenant's":      {HistoryQuery{Channel: fixed('c', 77)}, fault.Denied},
		"a closed channel":      {HistoryQuery{Channel: fixed('c', 78)}, fault.Denied},
		"a thread of it":        {HistoryQuery{Channel: fixed('c', 78), Thread: uuid.New()}, fault.Denied},
		"a channel none at all": {HistoryQuery{}, fault.Denied},
	} {
		p, err := s.Past.Page(t.Context(), v, c.q)
		f, typed := errors.AsType[*fault.Error](err)
		if !typed || f.Code != c.code || f.Retryable || len(p.Messages) > 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if c.code == fault.Denied && *f != *fault.Access() {
			t.Errorf("%s is told from others: %v", name, err)
		}
	}
	if _, err := s.Sync(t.Context(), v, Query{Cursor: here.End}); fault.From(err).Code != fault.Invalid {
		t.Errorf("a page's cursor for sync: %v", err)
	}
	if _, err := s.Past.Page(t.Context(), viewer.Viewer{}, HistoryQuery{Channel: channels[0]}); fault.From(err).Code != fault.Denied {
		t.Errorf("nobody: %v", err)
	}
	if got, err := s.Past.Visible(t.Context(), viewer.Viewer{}, ids(texts(here.Messages))); err != nil || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
	// Where nothing was sealed yet, a cursor costs one question more and holds good.
	again := newService(pool, &bells{})
	if p, err := again.Past.Page(t.Context(), v, HistoryQuery{Channel: channels[0], Before: here.End}); err != nil || len(p.Messages) != 2 {
		t.Errorf("on another node: %+v, %v", p, err)
	}
}

// A page has few bytes whatever is in it, and goes on where it ended.
func TestBytesOfAPageOfHistory(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := newService(pool, &bells{})
	s.o.Load = loadSized
	v := viewer.Of("primary", fixed('u', 0))
	sizes := []int{PageBytes * 3, 1, PageBytes, 1, 1, PageBytes - 1, 1, PageBytes / 2, PageBytes / 2, 1, PageBytes * 2}
	for range 300 {
		sizes = append(sizes, 20<<10)
	}
	for i, n := range sizes {
		mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, $3)`, fixed('m', i), fixed('c', 0), fmt.Sprint(n))
	}
	for _, first := range []int{MaxFirst, DefaultHistory, 2} {
		q, at := HistoryQuery{Channel: fixed('c', 0), First: first}, len(sizes)
		for more := true; more; {
			p, err := s.Past.Page(t.Context(), v, q)
			if err != nil {
				t.Fatal(err)
			}
			bytes := 0
			for _, m := range p.Messages {
				bytes += m.Size()
				if at--; m.(sized).ID != fixed('m', at) {
					t.Fatalf("first %d: %v is not message %d", first, m, at)
				}
			}
			if len(p.Messages) == 0 || len(p.Messages) > 1 && bytes > PageBytes {
				t.Fatalf("first %d: %d messages of %d bytes", first, len(p.Messages), bytes)
			}
			q.Before, more = p.End, p.More
		}
		if at != 0 {
			t.Errorf("first %d: ended at message %d", first, at)
		}
	}
	var all []uuid.UUID
	for i := range sizes {
		all = append(all, fixed('m', i))
	}
	if got, err := s.Past.Visible(t.Context(), v, all); fault.From(err).Code != fault.Invalid || len(got) > 0 {
		t.Errorf("%d messages by id, more than an answer has room for: %v", len(got), err)
	}
	if got, err := s.Past.Visible(t.Context(), v, all[20:220]); err != nil || len(got) != 200 {
		t.Errorf("%d messages by id: %v", len(got), err)
	}
}

// Pages are read by an index that has them in their order, of a thread too,
// whatever else the channel has.
func TestPagesGoByAnIndex(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	thread := uuid.New()
	mustExec(t, pool, `select realtime.sequence(10000, false, true)`)
	mustExec(t, pool, `insert into realtime.messages (message_id, channel_id, seq, thread, members, countable)
	  select gen_random_uuid(), $1, i, case when i % 500 = 0 then $2::uuid end, 1, true from generate_series(1, 50000) i`, fixed('c', 0), thread)
	mustExec(t, pool, `update realtime.channels set seq = 50000 where channel_id = $1`, fixed('c', 0))
	mustExec(t, pool, `vacuum analyze realtime.messages`)
	for name, c := range map[string]struct {
		text   string
		at     int64
		after  bool
		thread *uuid.UUID
	}{"older": {olderIn, 25000, false, nil}, "newer": {newerIn, 25000, true, nil}, "older of a thread": {olderOf, 25000, false, &thread}, "newer of a thread": {newerOf, 25000, true, &thread}} {
		rows, err := pool.Query(t.Context(), "explain (analyze, buffers, costs off, timing off, summary off, format text) "+c.text, "primary", fixed('u', 0), fixed('c', 0), c.at, 51, c.after, c.thread)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(plan, "\n")
		if strings.Contains(all, "Seq Scan on messages") || strings.Contains(all, "Bitmap") && strings.Contains(all, "on messages") {
			t.Errorf("%s:\n%s", name, all)
		}
		looked := false
		for _, line := range plan {
			var rows int
			if _, cut, ok := strings.Cut(line, "on messages k (actual rows="); ok {
				looked = true
				if _, err := fmt.Sscanf(cut, "%d", &rows); err != nil || rows > 60 {
					t.Errorf("%s reads %d rows (%v):\n%s", name, rows, err, all)
				}
			}
		}
		if !looked {
			t.Errorf("%s reads no messages:\n%s", name, all)
		}
	}
}

// A page costs a look into the inbox, its places and its messages, however deep it is.
func TestRoundTripsOfAPage(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	for i := range 300 {
		mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`, fixed('m', i), fixed('c', 0))
	}
	counted, trips := pgtest.Counted(t, pool.Config().ConnString())
	s, v := newService(counted, &bells{}), viewer.Of("primary", fixed('u', 0))
	q := HistoryQuery{Channel: fixed('c', 0)}
	page := func() {
		p, err := s.Past.Page(t.Context(), v, q)
		if err != nil || len(p.Messages) != DefaultHistory {
			t.Fatal(len(p.Messages), err)
		}
		if q.Before == "" {
			q.Before = p.End
		}
	}
	page()
	if n := trips.Fewest(page); n > 3 {
		t.Errorf("%d round trips", n)
	}
	if n := trips.Fewest(func() {
		if m, err := s.Past.Visible(t.Context(), v, []uuid.UUID{fixed('m', 0), fixed('m', 299)}); err != nil || len(m) != 2 {
			t.Fatal(m, err)
		}
	}); n > 3 {
		t.Errorf("%d round trips for messages by id", n)
	}
}
