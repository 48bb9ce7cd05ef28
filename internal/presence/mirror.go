package presence

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
)

const (
	readMost    = 1000            // records in one statement
	pollLeast   = 5 * time.Second // how often everything watched is read although no doorbell rang
	pollShare   = 20              // and never more than a twentieth of the time
	readTimeout = 5 * time.Second
)

// spot is what a stream can be told about: a user's record, or (channel) a
// channel's list of members, whose id stands in User.
type spot struct {
	Key
	channel bool
}

// mirror holds the records that streams of this node watch, each read by one
// goroutine and so never overwritten by an older read. A doorbell only marks;
// time that passes only marks: every change comes out of a fresh read, so that
// while Postgres is away nothing changes for anybody.
type mirror struct {
	w     *world
	hub   *hub.Hub[spot]
	alarm *clock.Alarm[Key]
	wake  chan struct{}

	mu      sync.Mutex
	entries map[Key]*entry    // guarded by mu
	dirty   map[Key]struct{}  // guarded by mu: to be read
	tenants map[string]int    // guarded by mu: entries in each
	rooms   map[uuid.UUID]int // guarded by mu: windows on each channel
}

type entry struct {
	rec    *record // nil until read
	refs   int
	marks  int64         // how often it was marked, or will be by a doorbell on its way
	read   int64         // of those, how many the record is newer than
	stored chan struct{} // closed and replaced with each read
}

func newMirror(w *world) *mirror {
	m := &mirror{w: w, hub: hub.New[spot](), wake: make(chan struct{}, 1), entries: map[Key]*entry{},
		dirty: map[Key]struct{}{}, tenants: map[string]int{}, rooms: map[uuid.UUID]int{}}
	m.alarm = clock.NewAlarm(w.clock, func(keys []Key) { m.mark(keys...) })
	return m
}

// mark says that users are to be read again.
func (m *mirror) mark(keys ...Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		m.markLocked(k)
	}
	m.pokeLocked()
}

// await says that a doorbell of users has been rung and will mark them when it
// comes round: a stream that begins meanwhile waits for the read that follows.
func (m *mirror) await(keys ...Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		if e, ok := m.entries[k]; ok {
			e.marks++
		}
	}
}

func (m *mirror) markLocked(k Key) {
	if e, ok := m.entries[k]; ok {
		e.marks++
		m.dirty[k] = struct{}{}
	}
}

// markUser is mark for a user of any tenant.
func (m *mirror) markUser(u uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.tenants {
		m.markLocked(Key{Tenant: t, User: u})
	}
	m.pokeLocked()
}

// markAll reads everything again: doorbells may have been lost.
func (m *mirror) markAll() {
	m.mu.Lock()
	for k := range m.entries {
		m.markLocked(k)
	}
	m.pokeLocked()
	m.mu.Unlock()
	m.markRooms()
}

func (m *mirror) markRooms() {
	m.mu.Lock()
	rooms := make([]uuid.UUID, 0, len(m.rooms))
	for c := range m.rooms {
		rooms = append(rooms, c)
	}
	m.mu.Unlock()
	for _, c := range rooms {
		m.markRoom(c)
	}
}

func (m *mirror) markRoom(channel uuid.UUID) { m.hub.Mark(spot{Key{User: channel}, true}) }

func (m *mirror) pokeLocked() {
	if len(m.dirty) == 0 {
		return
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// hold begins watching users; drop ends it.
func (m *mirror) hold(keys []Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		e, ok := m.entries[k]
		if !ok {
			e = &entry{stored: make(chan struct{})}
			m.entries[k] = e
			m.tenants[k.Tenant]++
			m.markLocked(k)
		}
		e.refs++
	}
	m.pokeLocked()
}

func (m *mirror) drop(keys []Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		e := m.entries[k]
		if e.refs--; e.refs > 0 {
			continue
		}
		delete(m.entries, k)
		delete(m.dirty, k)
		m.alarm.Clear(k)
		if m.tenants[k.Tenant]--; m.tenants[k.Tenant] == 0 {
			delete(m.tenants, k.Tenant)
		}
	}
}

// get is a user's record as last read, waiting for the first read.
func (m *mirror) get(ctx context.Context, k Key) (*record, error) {
	return m.wait(ctx, k, func(e *entry) bool { return e.rec != nil })
}

// settled waits until everything marked so far has been read, so that a stream
// does not begin with what its reader already knows to be past. Not for long:
// there is always a next change.
func (m *mirror) settled(ctx context.Context, keys ...Key) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, k := range keys {
		m.mu.Lock()
		marks := m.entries[k].marks
		m.mu.Unlock()
		if _, err := m.wait(ctx, k, func(e *entry) bool { return e.read >= marks }); err != nil {
			return
		}
	}
}

func (m *mirror) wait(ctx context.Context, k Key, ok func(*entry) bool) (*record, error) {
	for {
		m.mu.Lock()
		e := m.entries[k]
		if ok(e) {
			defer m.mu.Unlock()
			return e.rec, nil
		}
		stored := e.stored
		m.mu.Unlock()
		select {
		case <-stored:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// run reads what is dirty until ctx ends, with back-off while Postgres is away.
func (m *mirror) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { m.alarm.Run(ctx) })
	poll := time.NewTimer(pollLeast)
	defer poll.Stop()
	wait, n := retryFirst, 0
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			began := time.Now()
			m.poll(ctx)
			if n++; n%3 == 0 {
				m.markRooms()
			}
			poll.Reset(max(pollLeast, pollShare*time.Since(began)))
			continue
		case <-m.wake:
		}
		if err := m.read(ctx, m.takeDirty(), true); err != nil {
			m.w.log.WarnContext(ctx, "watched presence not read, trying again", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, retryMost)
			continue
		}
		wait = retryFirst
	}
}

func (m *mirror) takeDirty() []Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]Key, 0, min(len(m.dirty), readMost))
	for k := range m.dirty {
		if len(keys) == readMost {
			m.pokeLocked()
			break
		}
		keys = append(keys, k)
		delete(m.dirty, k)
	}
	return keys
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
	recs, err := loadRecords(ctx, m.w.pool, keys)
	if err != nil {
		m.mark(keys...)
		return err
	}
	for i, rec := range recs {
		if m.store(rec, marks[i]) || tell {
			m.hub.Mark(spot{rec.key, false})
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

// store keeps a record and sets the alarm for its next change by time; true:
// it differs from the one before.
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
	if next := nextChange(rec, m.w.rules, o, now); next.IsZero() {
		m.alarm.Clear(rec.key)
	} else {
		m.alarm.Set(rec.key, next)
	}
	return changed
}
