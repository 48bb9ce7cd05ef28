package rig

import (
	"context"
	"errors"
	"fmt"
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
	did := r.writeless(pick(long, time.Second, 30*time.Second), true)
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

const (
	readsIt = `query ($c: uuid!, $u: uuid!, $k: String) { messages(channelId: $c, first: 10) { messages { id } } presence(userId: $u) { status } readStates { unreadCount }
		sync(cursor: $k, first: 10) { cursor } typing(room: {channelId: $c}) { totalCount } }`
	most = 3 * time.Second // until a node has noticed
)

// writeless is a time in which nothing can be written: every node refuses to write so
// that it is tried again, answers who reads (where it can), and keeps its sockets.
func (r *rig) writeless(d time.Duration, reads bool) string {
	r.t.Helper()
	ctx := context.Background()
	before := r.cut()
	refused, read := 0, 0
	for end := time.Now().Add(d); time.Now().Before(end); pause(100 * time.Millisecond) {
		for n := range r.nodes {
			c := r.clients[(refused+n)%len(r.clients)]
			var out sent
			if err := c.ask(ctx, n, sendIt, map[string]any{"c": r.general, "k": r.key(), "t": "message refused"}, "sendMessage", &out); errors.Is(err, errFinal) ||
				err == nil && !out.Error.Retryable {
				r.odd(fmt.Sprintf("a message while nothing can be written: %+v", out))
			}
			refused++
			if !reads {
				continue
			}
			c.mu.Lock()
			cursor := c.cursor
			c.mu.Unlock()
			if err := c.ask(ctx, n, readsIt, map[string]any{"c": r.general, "u": c.user, "k": orNull(cursor)}, "sync", &struct{}{}); err != nil {
				r.odd("who reads while nothing can be written: " + err.Error())
			}
			read++
		}
	}
	if n := r.cut() - before; n > 0 {
		r.odd(fmt.Sprintf("%d sockets ended while nothing could be written", n))
	}
	return fmt.Sprintf("%s; %d writes asked for were refused, %d reads answered", d, refused, read)
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
