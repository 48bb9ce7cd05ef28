package feed

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

// passes puts into the log what nobody may learn of.
func passes(t *testing.T, pool *pgxpool.Pool, s *Service, channel uuid.UUID, n int) {
	t.Helper()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `insert into realtime.log (pos, at, tenant, channel_id, kind, user_id, seq, ref, mark)
		select p.last + i, now(), 'primary', $1, 'mark', gen_random_uuid(), 0, -i, 1
		  from (select realtime.last_pos() as last offset 0) p cross join generate_series(1, $2::int) i`, channel, n)
}

// TestWhatIsPassedEndsNoStatement: however much the viewer may not learn of lies between
// what it is told, one statement looks through a part of it. That is not seen in the
// page, but where the time for it is over: then the next one goes on, and nothing is lost.
func TestWhatIsPassedEndsNoStatement(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	at := func(cursor string) Page { return mustSync(t, s, v, Query{Cursor: cursor}) }
	start := mustSync(t, s, v, Query{})
	for start.More {
		start = at(start.Cursor)
	}
	var want []uuid.UUID
	for range 2 {
		passes(t, pool, s, channels[0], 500)
		want = append(want, say(t, pool, channels[0]))
	}
	s.look = looking{part: 100, during: time.Hour, counts: time.Hour}
	if p := at(start.Cursor); p.More || !slices.Equal(ids(texts(p.Messages)), want) {
		t.Errorf("with all the time: %+v", p)
	}
	s.look.during = 0
	var got []uuid.UUID
	p, pages := at(start.Cursor), 1
	for ; p.More && pages < 100; pages++ {
		if p.Total != p.Done {
			t.Errorf("page %d counts what remains: %d of %d", pages, p.Done, p.Total)
		}
		got = append(got, ids(texts(p.Messages))...)
		p = at(p.Cursor)
	}
	if got = append(got, ids(texts(p.Messages))...); !slices.Equal(got, want) || pages < 11 || pages > 20 {
		t.Errorf("%d pages, of %v and %v", pages, got, want)
	}
	if p = mustSync(t, s, v, Query{Cursor: start.Cursor, Wait: time.Nanosecond}); !p.More || len(p.Messages) > 0 {
		t.Errorf("once it has waited: %+v", p)
	}

	run(t, s) // its tail begins after all of that
	x, err := s.Open(t.Context(), v, start.Cursor, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	before := x.pos
	if b, err := x.read(t.Context()); err != nil || len(b.Items) > 0 || x.pos <= before || x.pos > before+100 {
		t.Fatalf("a stream reads from %d to %d: %+v %v", before, x.pos, b, err)
	}
	if got, _ := told(t, x, want[1]); !slices.Equal(got, want) {
		t.Errorf("the stream was told %v", got)
	}
}

// TestPartsGrowWhereTheyTakeNoTime: whoever has little in a log of a hundred million has it
// looked through in some hundreds of statements, and not in thousands; where there is much to
// pass a statement is what the first was.
func TestPartsGrowWhereTheyTakeNoTime(t *testing.T) {
	t.Parallel()
	l := newLooking()
	statements := func(each func(part int64) time.Duration) (n int, largest int64) {
		part := l.part
		for left := int64(100_000_000); left > 0; n++ {
			left -= part
			largest = max(largest, part)
			part = l.after(part, each(part))
		}
		return n, largest
	}
	if n, largest := statements(func(int64) time.Duration { return time.Millisecond }); n > 400 || largest > wider*l.part {
		t.Errorf("%d statements, of %d at most", n, largest)
	}
	if n, largest := statements(func(part int64) time.Duration { return time.Duration(part) * time.Microsecond }); largest > l.part {
		t.Errorf("%d statements, of %d at most", n, largest)
	}
}

// TestCountingWhatRemainsIsGivenUp where that takes too long; the page is whole.
func TestCountingWhatRemainsIsGivenUp(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := resting(t)
	start := mustSync(t, s, v, Query{})
	for start.More {
		start = mustSync(t, s, v, Query{Cursor: start.Cursor})
	}
	first := say(t, pool, channels[0])
	say(t, pool, channels[0])
	passes(t, pool, s, channels[0], 30_000)
	for counts, want := range map[time.Duration]int{time.Hour: 2, time.Millisecond: 1} {
		s.look.counts = counts
		p := mustSync(t, s, v, Query{Cursor: start.Cursor, First: 1})
		if !p.More || p.Total != want || len(p.Messages) != 1 || texts(p.Messages)[0].ID != first {
			t.Errorf("within %s: %+v", counts, p)
		}
	}
}
