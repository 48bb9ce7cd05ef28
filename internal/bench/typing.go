package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	typists   = 500 // each in four rooms of its own and its neighbours'
	roomsEach = 4
	pairs     = 10 // that are measured, each in a room of its own
)

// crowdOf makes users and rooms for the load: room i holds typists i-3 to i.
// The users after them are pairs that share a room each, after the others.
func crowdOf(ctx context.Context, db string) ([]uuid.UUID, []uuid.UUID, error) {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	people, err := populate(ctx, conn, typists+2*pairs)
	rooms := make([]uuid.UUID, typists+pairs)
	for i := range rooms {
		rooms[i] = uuid.New()
	}
	if err == nil {
		_, err = conn.Exec(ctx, `insert into public.nchat_channels (id, name, slug) select c, c::text, c::text from unnest($1::uuid[]) c`, rooms)
	}
	var c, u []uuid.UUID
	for i := range 2 * pairs {
		c, u = append(c, rooms[typists+i/2]), append(u, people[typists+i])
	}
	for i := range typists {
		for k := range roomsEach {
			c, u = append(c, rooms[(i+k)%typists]), append(u, people[i])
		}
	}
	if err == nil {
		_, err = conn.Exec(ctx, `insert into public.nchat_channel_members (channel_id, user_id) select * from unnest($1::uuid[], $2::uuid[])`, c, u)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making the crowd: %w", err)
	}
	return people, rooms, nil
}

func startTyping(room uuid.UUID) string {
	return `mutation { startTyping(room: {channelId: \"` + room.String() + `\"}) { accepted } }`
}

// typing: how long a signal takes from one node to a watcher's socket of
// another, while many others type.
func typing(ctx context.Context, db string, s sizes) error {
	people, rooms, err := crowdOf(ctx, db)
	if err != nil {
		return err
	}
	one, err := start(ctx, kindOurs, db)
	if err != nil {
		return err
	}
	defer one.stop()
	two, err := start(ctx, kindOurs, db)
	if err != nil {
		return err
	}
	defer two.stop()
	load, stop := context.WithCancel(ctx)
	defer stop()
	var signals atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for i, p := range people[:typists] {
		c, err := dial(ctx, one.url, p)
		if err != nil {
			return err
		}
		defer c.close()
		wg.Go(func() { keepTyping(load, c, rooms, i, s.signals, &signals) })
	}
	notes, err := countNotifications(load, db)
	if err != nil {
		return err
	}
	took, err := probeAll(ctx, one.url, two.url, people[typists:], rooms[typists:], s.probes)
	if err != nil {
		return err
	}
	fmt.Printf("## Typing from one node to a socket of another, under load\n\n")
	fmt.Printf("| signals a second | rooms | notifications a second | measured | median | p99 | longest |\n|---|---|---|---|---|---|---|\n| %.0f | %d | %.0f | %d | %s | %s | %s |\n\n",
		notes.rate(signals.Load()), typists, notes.rate(notes.heard.Load()), len(took), ms(at(took, 50)), ms(at(took, 99)), ms(at(took, 100)))
	return nil
}

// keepTyping signals in turn in a typist's rooms, as fast as its share is.
func keepTyping(ctx context.Context, c *client, rooms []uuid.UUID, i, perSecond int, n *atomic.Int64) {
	go func() { // what is acknowledged is not looked at
		for {
			if _, _, err := c.ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	t := time.NewTicker(time.Second * typists / time.Duration(max(perSecond, 1)))
	defer t.Stop()
	for k := 0; ; k++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if c.start(startTyping(rooms[(i+k%roomsEach)%typists]), "{}") != nil {
				return
			}
			n.Add(1)
		}
	}
}

type notifications struct {
	heard atomic.Int64
	began time.Time
}

func (n *notifications) rate(count int64) float64 {
	return float64(count) / time.Since(n.began).Seconds()
}

func countNotifications(ctx context.Context, db string) (*notifications, error) {
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if _, err := conn.Exec(ctx, "listen nchat_realtime"); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	n := &notifications{began: time.Now()}
	go func() {
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return
			}
			n.heard.Add(1)
		}
	}()
	return n, nil
}

// probeAll lets the pairs measure beside each other, n times in all.
func probeAll(ctx context.Context, one, two string, people, rooms []uuid.UUID, n int) ([]time.Duration, error) {
	type probed struct {
		took []time.Duration
		err  error
	}
	results := make(chan probed, pairs)
	for i := range pairs {
		go func() {
			took, err := probeTyping(ctx, one, two, people[2*i:2*i+2], rooms[i], (n+i)/pairs)
			results <- probed{took, err}
		}()
	}
	var took []time.Duration
	var err error
	for range pairs {
		r := <-results
		took, err = append(took, r.took...), errors.Join(err, r.err)
	}
	return took, err
}

// probeTyping starts and stops in a pair's room and times the starts.
func probeTyping(ctx context.Context, one, two string, pair []uuid.UUID, in uuid.UUID, n int) ([]time.Duration, error) {
	alice, err := dial(ctx, one, pair[0])
	if err != nil {
		return nil, err
	}
	defer alice.close()
	bob, err := dial(ctx, two, pair[1])
	if err != nil {
		return nil, err
	}
	defer bob.close()
	room := `{channelId: \"` + in.String() + `\"}`
	if err := bob.subscribe(`subscription { typingChanged(rooms: [`+room+`]) { totalCount } }`, "{}"); err != nil {
		return nil, err
	}
	var took []time.Duration
	for len(took) < n {
		began := time.Now()
		if err := alice.mutate(`mutation { startTyping(room: ` + room + `) { accepted } }`); err != nil {
			return nil, err
		}
		if err := bob.until(`"totalCount":1`); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := alice.mutate(`mutation { stopTyping(room: ` + room + `) { accepted } }`); err != nil {
			return nil, err
		}
		if err := bob.until(`"totalCount":0`); err != nil {
			return nil, err
		}
		select { // one signal a second is all that is taken
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second - time.Since(began)%time.Second):
		}
	}
	return took, nil
}
