package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A crowd in rooms: each socket is a user of its own, a member of one room, and
// subscribes to its messages.
type roomsOf struct {
	rooms, each int
	rate        int // messages a second, over all rooms
	seconds     int
}

const (
	roomSenders = 8 // sockets that send, each a member of every room
	stampPrefix = "at "
)

// fromRooms: messages to the sockets of their rooms, all peers in turns.
func fromRooms(ctx context.Context, db string, s sizes) error {
	all, missing := peers()
	var wanted []goal
	loads := []roomsOf{{1, s.sockets, 10, s.seconds}, {s.sockets / 10, 10, 500, s.seconds}, {s.sockets / 10, 10, 1000, s.seconds}}
	fmt.Println("## Messages to the sockets of their rooms\n\n| rooms | sockets each | messages a second | server | delivered | median | p99 | its CPU a delivery | ours to it | resident a socket |\n|---|---|---|---|---|---|---|---|---|---|")
	for i, load := range loads {
		if s.load > 0 && s.load != i+1 {
			continue
		}
		by, err := load.measure(ctx, db, all, s.rounds)
		if err != nil {
			return err
		}
		wanted = append(wanted, load.goals(by)...)
	}
	fmt.Println("\n| goal | this run | at most | |\n|---|---|---|---|")
	for _, g := range wanted {
		fmt.Println(g)
	}
	fmt.Println()
	for _, m := range missing {
		fmt.Printf("Not measured: %s.\n\n", m)
	}
	return nil
}

// measure prints a line for each peer, of its median round.
func (l roomsOf) measure(ctx context.Context, db string, all []peer, rounds int) (map[string]delivered, error) {
	people, rooms, err := l.crowd(ctx, db)
	if err != nil {
		return nil, err
	}
	got := map[string][]delivered{}
	for range rounds {
		for _, p := range all {
			d, err := l.once(ctx, p, db, people, rooms)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.kind, err)
			}
			got[p.kind] = append(got[p.kind], d)
		}
	}
	by := map[string]delivered{}
	for _, p := range all {
		by[p.kind] = median(got[p.kind])
		d := by[p.kind]
		fmt.Printf("| %d | %d | %d | %s | %.1f %% | %s | %s | %.1f µs | %.2f | %.1f KiB |\n", l.rooms, l.each, l.rate, p.kind, 100*float64(d.n)/float64(d.due),
			ms(at(d.took, 50)), ms(at(d.took, 99)), float64(d.cpu)/1e3, float64(by[kindOurs].cpu)/float64(max(d.cpu, 1)), float64(d.resident)/float64(l.rooms*l.each)/1024)
	}
	return by, nil
}

// median is the round with the median CPU.
func median(rounds []delivered) delivered {
	slices.SortFunc(rounds, func(a, b delivered) int { return int(a.cpu - b.cpu) })
	return rounds[len(rounds)/2]
}

// crowd makes the users, rooms and members; the senders are the last users.
func (l roomsOf) crowd(ctx context.Context, db string) (people, rooms []uuid.UUID, err error) {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if people, err = populate(ctx, conn, l.rooms*l.each+roomSenders); err != nil {
		return nil, nil, err
	}
	var c, u []uuid.UUID
	for i := range l.rooms {
		rooms = append(rooms, uuid.New())
		for k := range l.each {
			c, u = append(c, rooms[i]), append(u, people[i*l.each+k])
		}
		for k := range roomSenders {
			c, u = append(c, rooms[i]), append(u, people[l.rooms*l.each+k])
		}
	}
	if _, err = conn.Exec(ctx, `insert into public.nchat_channels (id, name, slug) select c, c::text, c::text from unnest($1::uuid[]) c`, rooms); err == nil {
		_, err = conn.Exec(ctx, `insert into public.nchat_channel_members (channel_id, user_id) select * from unnest($1::uuid[], $2::uuid[])`, c, u)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making the rooms: %w", err)
	}
	return people, rooms, nil
}

// delivered is what one server did in one round.
type delivered struct {
	n, due int
	took   []time.Duration
	cpu    time.Duration // of the server, for each delivery

	resident int64 // bytes more than before there were sockets
}

func (l roomsOf) once(ctx context.Context, p peer, db string, people, rooms []uuid.UUID) (d delivered, err error) {
	srv, err := startPeer(ctx, p, db)
	if err != nil {
		return d, err
	}
	defer srv.stop()
	empty, err := srv.ask(askRest)
	if err != nil {
		return d, err
	}
	var heard ears
	for i := range l.rooms * l.each {
		c, err := p.dial(ctx, srv.url, people[i])
		if err != nil {
			return d, err
		}
		defer c.close()
		if err := p.join(c, rooms[i/l.each]); err != nil {
			return d, err
		}
		heard.wg.Add(1)
		go heard.listen(c)
	}
	senders := make([]*client, roomSenders)
	for i := range senders {
		if senders[i], err = p.dial(ctx, srv.url, people[l.rooms*l.each+i]); err != nil {
			return d, err
		}
		defer senders[i].close()
	}
	warm := &roomsOf{l.rooms, l.each, 4 * l.rooms, 1}
	if err := warm.publish(p, senders, rooms); err != nil {
		return d, err
	}
	heard.settle(warm.rate * l.each)
	heard.reset()
	full, err := srv.ask(askRest)
	if err != nil {
		return d, err
	}
	d.resident = full.Resident - empty.Resident
	before, err := srv.ask(askCPU)
	if err != nil {
		return d, err
	}
	if err := l.publish(p, senders, rooms); err != nil {
		return d, err
	}
	d.due = l.rate * l.seconds * l.each
	heard.settle(d.due)
	after, err := srv.ask(askCPU)
	if err != nil {
		return d, err
	}
	d.n, d.took = heard.take()
	d.cpu = (after.CPU - before.CPU) / time.Duration(max(d.n, 1))
	return d, nil
}

const watchRoom = `subscription ($c: uuid!) { messageChanged(channelId: $c) { kind message { id senderId content seq createdAt } cursor } }`

// publish sends at the rate, each message to the next room.
func (l roomsOf) publish(p peer, senders []*client, rooms []uuid.UUID) error {
	var wg sync.WaitGroup
	errs := make([]error, len(senders))
	began, every := time.Now(), time.Second/time.Duration(l.rate)
	for k, c := range senders {
		wg.Go(func() {
			for i := k; i < l.rate*l.seconds && errs[k] == nil; i += len(senders) {
				time.Sleep(time.Until(began.Add(time.Duration(i) * every)))
				errs[k] = p.say(c, rooms[i%len(rooms)], stampPrefix+strconv.FormatInt(time.Now().UnixNano(), 10)+" and what one says in a chat besides")
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ears are all sockets that listen.
type ears struct {
	wg   sync.WaitGroup
	n    atomic.Int64
	last atomic.Int64
	mu   sync.Mutex
	took []time.Duration // guarded by mu
}

func (e *ears) listen(c *client) {
	defer e.wg.Done()
	for {
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if pong := map[string]string{"2": "3", "{}": "{}"}[string(b)]; pong != "" { // Socket.IO's and Centrifuge's own pings
			if c.write(pong) != nil {
				return
			}
			continue
		}
		_, stamp, ok := bytes.Cut(b, []byte(stampPrefix))
		if !ok || len(stamp) < 19 {
			continue
		}
		sent, err := strconv.ParseInt(string(stamp[:19]), 10, 64)
		if err != nil {
			continue
		}
		now := time.Now().UnixNano()
		e.last.Store(now)
		if e.n.Add(1)%7 == 0 { // a sample
			e.mu.Lock()
			e.took = append(e.took, time.Duration(now-sent))
			e.mu.Unlock()
		}
	}
}

// settle waits until so many have come, or none has come for three seconds.
func (e *ears) settle(due int) {
	e.last.Store(time.Now().UnixNano())
	for int(e.n.Load()) < due && time.Now().UnixNano()-e.last.Load() < int64(3*time.Second) {
		time.Sleep(20 * time.Millisecond)
	}
}

func (e *ears) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n.Store(0)
	e.took = nil
}

func (e *ears) take() (int, []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(e.n.Load()), e.took
}
