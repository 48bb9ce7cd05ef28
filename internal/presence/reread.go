package presence

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	readMost    = 1000             // records in one statement
	pollLeast   = 5 * time.Second  // how often everything watched is read although no doorbell rang
	pollShare   = 20               // no more than a twentieth of the time,
	pollRarest  = 30 * time.Second // unless that were rarer
	pollMembers = 3                // every which of these times lists of members are
	readTimeout = 5 * time.Second
	// One user is read again so often at most, after a number of times at once: each
	// read has all look who watch the user.
	rereadEvery = 50 * time.Millisecond
	rereadBurst = 20
)

// run reads what is dirty until ctx ends, with back-off while Postgres is away.
func (m *mirror) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.alarm.Run(ctx) })
	poll := time.NewTimer(pollLeast)
	defer poll.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	again, polls := retryFirst, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			began := time.Now()
			m.poll(ctx)
			if polls++; polls%pollMembers == 0 {
				m.rooms.tellAll()
			}
			poll.Reset(min(max(pollLeast, pollShare*time.Since(began)), pollRarest))
			continue
		case <-m.wake:
		case <-pace.C:
		}
		keys, later := m.takeDirty()
		if later > 0 {
			pace.Reset(later)
		}
		if err := m.read(ctx, keys, true); err != nil {
			m.w.log.WarnContext(ctx, "watched presence not read, trying again", "error", err)
			wait.For(ctx, again)
			again = min(2*again, retryMost)
			continue
		}
		again = retryFirst
	}
}

// takeDirty is what is to be read now; later: until when the first of the others has to
// wait for its pace; 0: none has. What somebody waits for does not.
func (m *mirror) takeDirty() (keys []Key, later time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	keys = make([]Key, 0, min(len(m.dirty), readMost))
	for k := range m.dirty {
		if len(keys) == readMost {
			m.wake.Raise()
			break
		}
		e := m.entries[k]
		if e.paid.Before(now) {
			e.paid = now
		}
		if early := e.paid.Sub(now) - (rereadBurst-1)*rereadEvery; early > 0 && !e.hurried {
			if later == 0 || early < later {
				later = early
			}
			continue
		}
		if e.paid = e.paid.Add(rereadEvery); e.paid.Sub(now) > rereadBurst*rereadEvery {
			e.paid = now.Add(rereadBurst * rereadEvery) // nobody pays long for what others waited for
		}
		e.hurried = false
		keys = append(keys, k)
		delete(m.dirty, k)
	}
	return keys, later
}

// poll reads everything watched, a page at a time.
func (m *mirror) poll(ctx context.Context) {
	m.mu.Lock()
	keys := make([]Key, 0, len(m.entries))
	for k := range m.entries {
		keys = append(keys, k)
	}
	m.mu.Unlock()
	for len(keys) > 0 {
		page := keys[:min(len(keys), readMost)]
		keys = keys[len(page):]
		if m.read(ctx, page, false) != nil {
			return
		}
	}
}

// read brings records up to date and tells those who watch them. What could
// not be read stays dirty.
func (m *mirror) read(ctx context.Context, keys []Key, tell bool) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	marks := m.marksOf(keys)
	recs, err := loadRecords(ctx, m.w.vital, keys)
	if err != nil {
		m.mark(keys...)
		return err
	}
	for i, rec := range recs {
		if m.store(rec, marks[i]) || tell {
			m.hub.Mark(subject{Key: rec.key})
		}
	}
	return nil
}

func (m *mirror) marksOf(keys []Key) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := make([]int64, len(keys))
	for i, k := range keys {
		if e, ok := m.entries[k]; ok {
			marks[i] = e.marks
		}
	}
	return marks
}

// store keeps a record and sets the alarm for its next change by time; true: it says
// otherwise than the one before did, or time has come that this is so: its alarm, which
// would have it read again, may be late, and is set anew.
func (m *mirror) store(rec *record, marks int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[rec.key]
	if !ok {
		return false
	}
	now, o := m.w.now(), m.w.outage()
	if e.rec != nil {
		rec.held = e.rec.held
	}
	rec.held = derive(rec, m.w.rules, o, now).status
	changed := e.rec == nil || !reflect.DeepEqual(e.rec, rec)
	e.rec, e.read = rec, max(e.read, marks)
	close(e.stored)
	e.stored = make(chan struct{})
	due := !e.next.IsZero() && !now.Before(e.next)
	if e.next = nextChange(rec, m.w.rules, o, now); e.next.IsZero() {
		m.alarm.Clear(rec.key)
	} else {
		m.alarm.Set(rec.key, e.next)
	}
	return changed || due
}
