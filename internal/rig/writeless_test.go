package rig

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// app is the role that the servers are: no superuser, whom no limit of connections stops.
const app = "app"

// sql has the superuser do something, past every link.
func (r *rig) sql(queries ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.pg.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, q := range queries {
		if _, err := conn.Exec(ctx, q); err != nil {
			r.t.Fatalf("%s: %v", q, err)
		}
	}
}

// readOnly has Postgres take no writes at all, as a primary that became a standby or
// whose operator stops it from filling its disk.
func readOnly(r *rig, long bool) string {
	r.sql(`alter system set default_transaction_read_only = on`, `select pg_reload_conf()`)
	did := r.writeless(pick(long, time.Second, 20*time.Second), true)
	if long {
		n, before := r.nodes[r.rand.IntN(len(r.nodes))], r.cut()
		sockets := r.on(n)
		n.link.cut(true)
		eventually(r.t, "who was cut off is back, and nothing can be written", func() bool { return r.cut() >= before+sockets && r.up() == r.present() })
		did += fmt.Sprintf(", then %d sockets cut; ", sockets) + r.writeless(10*time.Second, true)
	}
	r.sql(`alter system reset default_transaction_read_only`, `select pg_reload_conf()`)
	return did
}

// onEveryTable runs a statement for each table that is ours or nchat's.
const onEveryTable = `do $do$ declare t record; begin
  for t in select c.oid::regclass as name from pg_class c where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'realtime'::regnamespace) loop
    execute format('%s', t.name); commit;
  end loop;
end $do$`

// fullDisk has no table take a row more: what Postgres says of it is what it says
// where a file cannot grow.
func fullDisk(r *rig, long bool) string {
	r.sql(`create or replace function public.rig_full() returns trigger language plpgsql as
		$$ begin raise exception 'could not extend file "base/5/16384": No space left on device' using errcode = 'disk_full'; end $$`,
		fmt.Sprintf(onEveryTable, `create trigger a_rig_full before insert or update on %s for each statement execute function public.rig_full()`))
	did := r.writeless(pick(long, time.Second, 30*time.Second), true)
	r.sql(fmt.Sprintf(onEveryTable, `drop trigger a_rig_full on %s`))
	return did
}

// noConnections has Postgres let nobody in, and lose those whom it had; then a few for
// all nodes; then as before.
func noConnections(r *rig, long bool) string {
	const lose = `select pg_terminate_backend(pid) from pg_stat_activity where usename = '` + app + `'`
	d := pick(long, time.Second, 15*time.Second)
	r.sql(`alter role `+app+` connection limit 0`, lose)
	none := r.writeless(d, false)
	r.sql(fmt.Sprintf(`alter role `+app+` connection limit %d`, 4*len(r.nodes)))
	pause(d)
	r.sql(`alter role ` + app + ` connection limit -1`)
	return fmt.Sprintf("none: %s; then 4 a node", none)
}

const readsIt = `query ($c: uuid!, $u: uuid!, $k: String) { messages(channelId: $c, first: 10) { messages { id } } presence(userId: $u) { status } readStates { unreadCount }
		sync(cursor: $k, first: 10) { cursor } typing(room: {channelId: $c}) { totalCount } }`

// writeless is a time in which nothing can be written: every node refuses to write so
// that it is tried again, and, where it can read, answers who reads and keeps its sockets.
func (r *rig) writeless(d time.Duration, reads bool) string {
	r.t.Helper()
	before := r.cut()
	var asked sync.WaitGroup
	var refused, read atomic.Int64
	end := time.Now().Add(d)
	for n := range r.nodes {
		asked.Go(func() {
			for i := n; time.Now().Before(end); i++ {
				c := r.clients[i%len(r.clients)]
				if c.refused(n) {
					refused.Add(1)
				}
				if reads && c.reads(n) {
					read.Add(1)
				}
				pause(100 * time.Millisecond)
			}
		})
	}
	asked.Wait()
	if n := r.cut() - before; n > 0 && reads { // else a stream that was just to begin could not
		r.odd(fmt.Sprintf("%d sockets ended while nothing could be written", n))
	}
	return fmt.Sprintf("%s; %d writes asked for were refused, %d reads answered", d, refused.Load(), read.Load())
}

// refused: a node does not take a message, and says that it may later. One that it takes
// was written: a connection hears of what Postgres takes no more a moment later.
func (c *client) refused(n int) bool {
	var out sent
	err := c.ask(context.Background(), n, sendIt, map[string]any{"c": c.r.general, "k": c.r.key(), "t": "message refused"}, "sendMessage", &out)
	if err == nil && out.Status == "sent" {
		return false
	}
	if errors.Is(err, errFinal) || err == nil && !out.Error.Retryable {
		c.r.odd(fmt.Sprintf("a message while nothing can be written: %+v", out))
		return false
	}
	return true
}

// reads: a node answers.
func (c *client) reads(n int) bool {
	c.mu.Lock()
	cursor := c.cursor
	c.mu.Unlock()
	err := c.ask(context.Background(), n, readsIt, map[string]any{"c": c.r.general, "u": c.user, "k": orNull(cursor)}, "sync", &struct{}{})
	if err != nil {
		c.r.odd("who reads while nothing can be written: " + err.Error())
	}
	return err == nil
}

// present is how many clients have not left.
func (r *rig) present() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients) - len(r.h.Gone)
}

// cut is how many sockets have ended in this dose.
func (r *rig) cut() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.ends {
		n += k
	}
	return n
}
