package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// looking is how the log is looked through for one viewer. What is hidden from it is
// passed by, a microsecond each, and there is no end to how much of that there may be:
// one statement looks through a part, and one reading takes about as long as it may.
//
// How much was passed must not be told but by the time it took, which tells it already. So
// what is there decides nothing: parts are of positions, drawn anew each time so that
// nobody finds where one ends, and a reading that ends early does so by the clock. By the
// clock too parts grow where they take no time, as for whoever has little in a large log.
type looking struct {
	part   int64         // positions of the first statement at most; of any, wider as much
	during time.Duration // parts are begun for so long
	counts time.Duration // a count of what remains is given up then
}

func newLooking() looking {
	return looking{part: 100_000, during: time.Second, counts: 2 * time.Second}
}

// wider is how much larger a part may become: a statement may take ten seconds, which is
// then 25 µs for each that it passes, of which most take one.
const wider = 4

// after is how large the part after one may be that took so long.
func (l looking) after(part int64, took time.Duration) int64 {
	if took < l.during/20 {
		return min(2*part, wider*l.part)
	}
	return max(part/2, l.part)
}

// on reads loadFor's entries part by part, most of them at most. end is up to where it
// has looked: upTo, where that was not too much.
func (l looking) on(ctx context.Context, db postgres.DB, v viewer.Viewer, in []uuid.UUID, own bool, after, upTo int64, most int) (list []Entry, end int64, err error) {
	began, part := time.Now(), l.part
	for end = after; ; {
		from, asked := end, time.Now()
		end = min(from+part/2+rand.Int64N(part/2)+1, upTo)
		found, err := loadFor(ctx, db, v, in, own, from, end, most-len(list))
		if err != nil {
			return nil, from, err
		}
		if list = append(list, found...); len(list) == most {
			return list, list[most-1].Pos, nil
		}
		if end >= upTo || time.Since(began) >= l.during {
			return list, end, nil
		}
		part = l.after(part, time.Since(asked))
	}
}

// markAt is the mark of the entry at a position; 0: it is forgotten.
func markAt(ctx context.Context, db postgres.DB, pos int64) (mark int64, err error) {
	if err := db.QueryRow(ctx, `select coalesce(realtime.mark_at($1), 0)`, pos).Scan(&mark); err != nil {
		return 0, fmt.Errorf("reading an entry: %w", err)
	}
	return mark, nil
}
