package presence

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/hub"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// mirror holds the records that streams of this node watch, each read by one
// goroutine and so never overwritten by an older read. A doorbell only marks;
// time that passes only marks: every change comes out of another read, so that
// while Postgres is away nothing changes for anybody.
type mirror struct {
	w     *world
	hub   *hub.Hub[subject]
	rooms *rooms
	alarm *clock.Alarm[Key]
	wake  wait.Flag // something is dirty

	mu      sync.Mutex
	entries map[Key]*entry   // guarded by mu
	dirty   map[Key]struct{} // guarded by mu: to be read
	tenants map[string]int   // guarded by mu: entries in each
	marked  int64            // guarded by mu: how often anything was marked, or will be by a doorbell on its way
}

type entry struct {
	rec     *record // nil until read
	refs    int
	paid    time.Time     // until when its reads so far are paid for, one each rereadEvery
	hurried bool          // somebody waits for the next read
	next    time.Time     // when time alone changes what the record says, for which its alarm is set; zero: never
	marks   int64         // mirror.marked when it was last marked: a read that began before that, even before the entry, is older
	read    int64         // the marks that the record is newer than
	stored  chan struct{} // closed and replaced with each read
}

func newMirror(w *world) *mirror {
	h := hub.New[subject]()
	m := &mirror{w: w, hub: h, rooms: &rooms{hub: h, windows: map[uuid.UUID]int{}}, wake: wait.NewFlag(),
		entries: map[Key]*entry{}, dirty: map[Key]struct{}{}, tenants: map[string]int{}}
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
}

func (m *mirror) markLocked(k Key) {
	if e, ok := m.entries[k]; ok {
		m.marked++
		e.marks = m.marked
		m.dirty[k] = struct{}{}
		m.wake.Raise()
	}
}

// markUser is mark for a user of any tenant.
func (m *mirror) markUser(u uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.tenants {
		m.markLocked(Key{Tenant: t, User: u})
	}
}

// markAll reads everything again, lists of members too: doorbells may have been lost.
func (m *mirror) markAll() {
	m.mu.Lock()
	for k := range m.entries {
		m.markLocked(k)
	}
	m.mu.Unlock()
	m.rooms.tellAll()
}

// await says that a doorbell of users has been rung and will mark them when it
// comes round: a stream that begins meanwhile waits for the read that follows.
func (m *mirror) await(keys ...Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		if e, ok := m.entries[k]; ok {
			m.marked++
			e.marks = m.marked
		}
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

// peek is a record that has been read; nil: none has.
func (m *mirror) peek(k Key) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[k]; e != nil {
		return e.rec
	}
	return nil
}

// peekFresh are the records of users that are watched; false: one has not been read
// since it was marked last, or is not watched.
func peekFresh(m *mirror, keys []Key) ([]*record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*record, len(keys))
	for i, k := range keys {
		e := m.entries[k]
		if e == nil || e.rec == nil || e.marks > e.read {
			return nil, false
		}
		out[i] = e.rec
	}
	return out, true
}

// catchUp waits until everything marked so far has been read, so that a stream
// does not begin with what its reader already knows to be past. Not for long:
// there is always a next change.
func (m *mirror) catchUp(ctx context.Context, keys ...Key) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, k := range keys {
		m.mu.Lock()
		e := m.entries[k]
		marks := e.marks
		if e.read < marks {
			e.hurried = true
			m.wake.Raise() // it may be dirty already
		}
		m.mu.Unlock()
		if _, err := m.wait(ctx, k, func(e *entry) bool { return e.read >= marks }); err != nil {
			return
		}
	}
}

// fresh has everything marked so far read, at once though its doorbell has not come
// round, and waits for it: for what is not to be told by a record from before.
// Errors: ctx's end, and that it could not be read in time.
func (m *mirror) fresh(ctx context.Context, keys ...Key) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	marks := m.hurry(keys)
	for i, k := range keys {
		if _, err := m.wait(ctx, k, func(e *entry) bool { return e.read >= marks[i] }); err != nil {
			return err
		}
	}
	return nil
}

// hurry makes dirty what is marked and not read, and says how often each is marked.
func (m *mirror) hurry(keys []Key) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks := make([]int64, len(keys))
	for i, k := range keys {
		e := m.entries[k]
		if marks[i] = e.marks; e.read < e.marks {
			m.dirty[k] = struct{}{}
			e.hurried = true
			m.wake.Raise()
		}
	}
	return marks
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
