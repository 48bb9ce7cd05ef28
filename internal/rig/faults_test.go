package rig

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// fault is one way in which things break, and are whole again when do returns.
type fault struct {
	name, of string // of: the row of the list of faults that it is
	do       func(r *rig, long bool) (did string)
	odd      bool // clients are refused what they ask of messages that are gone
	longOnly bool // left to the soak: make test has its ten minutes
}

// faults are in an order: a node judges others only once it has lived for a lease,
// and the last one sets the database back.
var faults = []fault{
	{"sockets cut", "R13", cutSockets, false, false},
	{"LISTEN cut", "R5", cutListen, false, false},
	{"NOTIFY lost", "R6", loseNotify, false, false},
	{"removed and hidden", "R17", endRights, false, false},
	{"tokens end", "R14", endTokens, false, true},
	{"sequencer ended", "", endSequencer, false, true},
	{"kill -9", "R1", killNode, false, false},
	{"sockets stalled", "R12", stallSockets, false, false},
	{"rolling restart", "R19", roll, false, false},
	{"node paused", "R2", pauseNode, false, true},
	{"Postgres killed", "R3", killPostgres, false, false},
	{"Postgres takes no writes", "R22", readOnly, false, false},
	{"disk full", "R22", fullDisk, false, true},
	{"no connection left", "R22", noConnections, false, true},
	{"Postgres a black hole", "R10", stallPostgres, false, true},
	{"drain, Postgres a black hole", "R10", drainInHole, false, true},
	{"standby promoted", "R4", promote, true, true},
}

// pause lets the clients go on for so long: a dose.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}

func pick(long bool, d, longer time.Duration) time.Duration {
	if long {
		return longer
	}
	return d
}

func cutSockets(r *rig, long bool) string {
	times, n := 1, 0
	if long {
		times = 3
	}
	for i := range times {
		for _, x := range r.nodes {
			n += x.link.cut(i%2 == 0)
		}
		pause(time.Second)
	}
	return fmt.Sprintf("%d links, %d times all", n, times)
}

func cutListen(r *rig, long bool) string {
	times, n := 2, 0
	if long {
		times = 30
	}
	for i := range times {
		n += r.bell.cut(i%2 == 0)
		pause(300 * time.Millisecond)
	}
	hole := pick(long, time.Second, 10*time.Second)
	r.bell.stall(true)
	pause(hole)
	r.bell.stall(false)
	return fmt.Sprintf("%d times, %d links; then a black hole for %s", times, n, hole)
}

func loseNotify(r *rig, long bool) string {
	share, d := int64(500), time.Second
	if long {
		share, d = 100, 30*time.Second
	}
	before := r.bell.lost.Load()
	r.bell.lose.Store(share)
	pause(d)
	r.bell.lose.Store(0)
	return fmt.Sprintf("%d %% for %s: %d lost", share/10, d, r.bell.lost.Load()-before)
}

// endSequencer ends whichever session numbers messages, while it does.
func endSequencer(r *rig, long bool) string {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, r.pg.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(ctx)
	want, n := 3, 0
	if long {
		want = 50
	}
	const q = `select count(*) from (select pg_terminate_backend(l.pid) from pg_locks l where l.locktype = 'advisory'
		and (l.classid::bigint << 32 | l.objid::bigint) = 7249331607002 and l.granted offset 0) x`
	for end := time.Now().Add(pick(long, time.Second, patient)); n < want && time.Now().Before(end); {
		var hit int
		if err := conn.QueryRow(ctx, q).Scan(&hit); err != nil {
			r.t.Fatal(err)
		}
		if n += hit; hit > 0 {
			pause(100 * time.Millisecond)
		}
	}
	return fmt.Sprintf("%d sessions, each with the lock", n)
}

// settled waits until a node has lived for a lease, and may judge others.
func (r *rig) settled() {
	r.t.Helper()
	for _, n := range r.nodes {
		eventually(r.t, "a node is settled", func() bool { return n.age() > 7*time.Second })
	}
}

// killNode kills nodes, one after another; with each one of its users leaves for good.
// What the servers do of the bound is told apart: until a living one has buried it.
func killNode(r *rig, long bool) string {
	times := 1
	if long {
		times = 10
	}
	var worst time.Duration
	for range times {
		r.settled()
		worst = max(worst, r.killOne(pick(long, patient, 8*time.Second)))
	}
	return fmt.Sprintf("%d times 1 node of %d; it was buried after %.1f s at most", times, len(r.nodes), worst.Seconds())
}

// killOne is one kill, until everybody has been told, or is late: the next one must
// not cut off those who still wait to hear of this one.
func (r *rig) killOne(bound time.Duration) (buried time.Duration) {
	at := r.rand.IntN(len(r.nodes))
	leaving := slices.IndexFunc(r.clients, func(c *client) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.up && c.node == at && !r.left(c.user)
	})
	n := r.nodes[at]
	n.kill()
	killed := time.Now()
	if leaving >= 0 {
		c := r.clients[leaving]
		r.record(func() { r.h.Gone = append(r.h.Gone, Gone{c.user, killed, bound}) })
		c.stop()
	}
	n.start()
	for end := killed.Add(late); !r.seenRight() && time.Now().Before(end); {
		pause(20 * time.Millisecond)
	}
	eventually(r.t, "a killed node is buried", func() bool {
		for _, x := range r.nodes {
			if at, ok := x.buried(killed); ok && (buried == 0 || at.Sub(killed) < buried) {
				buried = at.Sub(killed)
			}
		}
		return buried > 0
	})
	return buried
}

// stallSockets has a half of the sockets swallow what the server says.
func stallSockets(r *rig, long bool) string {
	var before, after, stalled int64
	for _, n := range r.nodes {
		before += n.resident()
		stalled += int64(n.link.stallSome(0.5, r.rand))
	}
	d := pick(long, time.Second, 60*time.Second)
	pause(d)
	for _, n := range r.nodes {
		after += n.resident()
		n.link.stall(false)
	}
	return fmt.Sprintf("%d for %s; the nodes grew by %d KiB", stalled, d, max(0, after-before)>>10)
}

// roll restarts the nodes, one after another, as a deploy does.
func roll(r *rig, long bool) string {
	var worst time.Duration
	nodes := r.nodes
	if !long {
		nodes = []*node{slices.MaxFunc(nodes, func(a, b *node) int { return cmp.Compare(r.on(a), r.on(b)) })}
	}
	for _, n := range nodes {
		n.signal(sigterm)
		worst = max(worst, n.ended())
		n.link.turn("tcp", "")
		n.start()
	}
	return fmt.Sprintf("%d nodes of %d; a drain took %.1f s at most", len(nodes), len(r.nodes), worst.Seconds())
}

// on is how many clients are connected to a node.
func (r *rig) on(n *node) (k int) {
	for _, c := range r.clients {
		c.mu.Lock()
		if c.up && r.nodes[c.node] == n {
			k++
		}
		c.mu.Unlock()
	}
	return k
}

func pauseNode(r *rig, long bool) string {
	n := r.nodes[r.rand.IntN(len(r.nodes))]
	d := pick(long, 6*time.Second, 30*time.Second)
	n.signal(sigstop)
	pause(d)
	n.signal(sigcont)
	return "1 node for " + d.String()
}

func killPostgres(r *rig, long bool) string {
	times := 1
	if long {
		times = 5
	}
	for range times {
		r.pg.Abort()
		r.pg.Start()
		pause(500 * time.Millisecond)
	}
	return strconv.Itoa(times) + " times, at once"
}

func (r *rig) stallDB(held bool) {
	r.db.stall(held)
	r.bell.stall(held)
}

func stallPostgres(r *rig, long bool) string {
	d := pick(long, time.Second, 30*time.Second)
	r.stallDB(true)
	pause(d)
	r.stallDB(false)
	return d.String()
}

// drainBound is what a node of the rig has to end in: its DRAIN_TIMEOUT of a second,
// and as much again twice for a machine with much to do.
const drainBound = 3 * time.Second

// drainInHole has a node end while Postgres answers nothing.
func drainInHole(r *rig, _ bool) string {
	n := r.nodes[r.rand.IntN(len(r.nodes))]
	r.stallDB(true)
	n.signal(sigterm)
	took := n.ended()
	r.stallDB(false)
	if took > drainBound {
		r.t.Errorf("the process ended after %.1f s of a DRAIN_TIMEOUT of 1 s", took.Seconds())
	}
	n.link.turn("tcp", "")
	n.start()
	return fmt.Sprintf("the process ended after %.1f s of a DRAIN_TIMEOUT of 1 s", took.Seconds())
}

// promote has an asynchronous standby take over that never got the newest part.
func promote(r *rig, long bool) string {
	s := r.pg.Standby()
	pause(300 * time.Millisecond)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, q := range []string{`alter system set primary_conninfo = ''`, `select pg_reload_conf()`} {
		if _, err := conn.Exec(ctx, q); err != nil {
			r.t.Fatal(err)
		}
	}
	_ = conn.Close(ctx)
	d := pick(long, 700*time.Millisecond, 5*time.Second)
	pause(d)
	r.pg.Abort()
	r.record(func() { r.h.SetBack = time.Now() })
	s.Promote()
	r.db.turn("unix", pgAddr(r.t, s.URL()))
	r.bell.turn("unix", pgAddr(r.t, s.URL()))
	r.pg = s
	pause(500 * time.Millisecond)
	return "one that lacks the last " + d.String()
}

// TestFaults breaks things one after another under three servers and their clients,
// and has the checker judge the whole history after each. RIG_LONG=1 takes the stated
// doses, again and again for RIG_FOR; RIG_SEED replays, RIG_FAULTS names some.
func TestFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("RIG_SEED"), 10, 64); err == nil {
		seed = s
	}
	if os.Getenv("RIG_LONG") == "" {
		play(t, size{nodes: 3, people: 16, pages: 3, pace: 400 * time.Millisecond, signal: 12 * time.Second}, seed, false)
		return
	}
	d, err := time.ParseDuration(os.Getenv("RIG_FOR"))
	if err != nil {
		d = time.Minute
	}
	people, err := strconv.Atoi(os.Getenv("RIG_PEOPLE"))
	if err != nil {
		people = 100
	}
	for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			play(t, size{nodes: 3, people: people, pages: 4, pace: 400 * time.Millisecond, signal: 6 * time.Second}, seed, true)
		})
	}
}

func play(t *testing.T, s size, seed uint64, long bool) {
	t.Helper()
	t.Logf("RIG_SEED=%d", seed)
	r := newRig(t, s, seed)
	if r.pages.without != "" {
		t.Run("clients in TypeScript", func(t *testing.T) { t.Skip(r.pages.without) })
	}
	only := os.Getenv("RIG_FAULTS")
	var before Verdict
	for _, f := range faults {
		if only == "" && f.longOnly && !long || only != "" && !slices.Contains(strings.Split(only, ";"), f.name) {
			continue
		}
		t.Run(f.name, func(t *testing.T) { before = r.dose(t, f, long, before) })
		if t.Failed() && !long {
			return
		}
	}
}

// dose is one fault under load, until all is as it was, and what the checker says.
func (r *rig) dose(t *testing.T, f fault, long bool, before Verdict) Verdict {
	t.Helper()
	r.mu.Lock()
	r.odds, r.ends = map[string]int{}, map[string]int{}
	r.mu.Unlock()
	r.pages.anew()
	var resumes []time.Duration
	for _, c := range r.clients {
		c.mu.Lock()
		c.resumes = nil
		c.mu.Unlock()
	}
	r.writing()
	pause(200 * time.Millisecond)
	did := f.do(r, long)
	took := r.quiet()
	v := r.check()
	for _, c := range r.clients {
		c.mu.Lock()
		resumes = append(resumes, c.resumes...)
		c.mu.Unlock()
	}
	slices.Sort(resumes)
	p95 := time.Duration(0)
	if n := len(resumes); n > 0 {
		p95 = resumes[n*95/100]
	}
	t.Logf("%s %s: %s\n  %d events, %d acknowledged: %d lost, %d doubled, %d reordered, %d false absences, %d resets (%d acknowledged gone with the old database); %d came back, p95 %.2f s; all right %.2f s after; longest absence unseen %.1f s",
		f.of, f.name, did, v.Events-before.Events, v.Acked-before.Acked, v.Lost, v.Doubled, v.Reordered, v.Flaps, v.Resets-before.Resets, v.LostTail,
		len(resumes), p95.Seconds(), took.Seconds(), v.Absence.Seconds())
	for _, x := range v.Violations {
		if !slices.Contains(before.Violations, x) { // the history is one: what was wrong stays wrong
			t.Errorf("%s: %s", x.Invariant, x.What)
		}
	}
	t.Log(r.pages)
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Logf("sockets ended: %v", r.ends)
	for what, n := range r.odds {
		if f.odd {
			t.Logf("%d times %s", n, what)
		} else {
			t.Errorf("%d times %s", n, what)
		}
	}
	if t.Failed() || os.Getenv("RIG_DEBUG") != "" {
		for i, n := range r.nodes {
			said := n.heard()
			t.Logf("node %d said:\n%s", i, said[max(0, len(said)-3000):])
		}
	}
	return v
}
