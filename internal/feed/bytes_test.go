package feed

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// sized is a message of as many bytes as its text says.
type sized struct {
	text
	bytes int
}

func (x sized) Size() int { return x.bytes }

func loadSized(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
	list, err := loadText(ctx, db, tenant, ids)
	for id, body := range list {
		x := sized{text: body.(text)}
		if _, err := fmt.Sscan(x.Said, &x.bytes); err != nil {
			return nil, err
		}
		list[id] = x
	}
	return list, err
}

// However large messages are, a page and what a stream holds at once have few
// bytes of them, and each comes once and in order.
func TestBytesOfAPageAndOfABatch(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	s := newService(pool, &bells{})
	s.o.Load = loadSized
	v := viewer.Of("primary", fixed('u', 0))
	begun, err := s.Sync(t.Context(), v, Query{})
	if err != nil || begun.More {
		t.Fatalf("%+v, %v", begun, err)
	}
	sizes := []int{1, PageBytes, 1, PageBytes - 1, 1, 1, PageBytes * 3, 3 * PageBytes, 700 << 10, 700 << 10, 700 << 10, 700 << 10, 1, PageBytes / 2, PageBytes / 2, 1}
	for range 300 {
		sizes = append(sizes, 20<<10)
	}
	for i, n := range sizes {
		mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, $3)`, fixed('m', i), fixed('c', i%2), fmt.Sprint(n))
	}
	check := func(road string, got []Body, first int) int {
		t.Helper()
		bytes := 0
		for i, m := range got {
			bytes += m.Size()
			if id := m.(sized).ID; id != fixed('m', first+i) {
				t.Fatalf("%s: message %d is %v", road, first+i, id)
			}
		}
		if len(got) == 0 || len(got) > 1 && bytes > PageBytes {
			t.Fatalf("%s: %d messages of %d bytes at once", road, len(got), bytes)
		}
		return first + len(got)
	}
	for _, most := range []int{DefaultFirst, MaxFirst, 3} {
		cursor, done := begun.Cursor, 0
		for more := true; more; {
			p, err := s.Sync(t.Context(), v, Query{Cursor: cursor, First: most})
			if err != nil {
				t.Fatal(err)
			}
			done = check("sync", p.Messages, done)
			if more = p.More; more == (done == len(sizes)) || p.Done != len(p.Messages) || p.Total != len(sizes)-done+p.Done {
				t.Fatalf("%d of %d: more %t, progress %d of %d", done, len(sizes), p.More, p.Done, p.Total)
			}
			cursor = p.Cursor
		}
		fresh, got := "", map[uuid.UUID]int{}
		for more := true; more; {
			p, err := s.Sync(t.Context(), v, Query{Cursor: fresh, First: most})
			if err != nil {
				t.Fatal(err)
			}
			bytes := 0
			for _, m := range p.Messages {
				bytes += m.Size()
				got[m.(sized).ID]++
			}
			if len(p.Messages) > 1 && bytes > PageBytes {
				t.Fatalf("a fresh page of %d bytes", bytes)
			}
			fresh, more = p.Cursor, p.More
		}
		if len(got) != 2*Newest {
			t.Errorf("a fresh start brought %d messages", len(got))
		}
		for id, n := range got {
			if n != 1 {
				t.Errorf("a fresh start brought %v %d times", id, n)
			}
		}
	}
	mustExec(t, pool, `update realtime.log set mark = mark # pos where kind = 'created'`) // as if each had been placed by itself
	run(t, s)
	st, err := s.Open(t.Context(), v, begun.Cursor, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for done := 0; done < len(sizes); {
		b, err := st.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, it := range b.Items {
			if it.Message != fixed('m', done) {
				t.Fatalf("entry %d is of %v", done, it.Message)
			}
			done++
			bytes += it.size
		}
		if bytes > streamBytes+bodiesFirst*3*PageBytes { // the messages of these sizes stand together: a part of them goes past it
			t.Fatalf("a batch of %d bytes", bytes)
		}
	}
}
