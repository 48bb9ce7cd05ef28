package feed

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// TestWhatMeetsAChangeOfAUser: somebody suspended, or let in again, while another
// transaction that is not committed yet makes them a member, or while one with an older
// snapshot is under way. Neither sees the other; the log is right once both are over.
func TestWhatMeetsAChangeOfAUser(t *testing.T) {
	t.Parallel()
	const leave = `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`
	const join = `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`
	const suspend = `update public.nchat_users set status = 'suspended' where id = $2 and $1::uuid is not null`
	const restore = `update public.nchat_users set status = 'active' where id = $2 and $1::uuid is not null`
	const touch = `update public.nchat_users set status = 'inactive' where id = $2 and $1::uuid is not null`
	for name, c := range map[string]struct {
		first         []string
		isolation     pgx.TxIsoLevel
		longer, other string // longer ends after other
		want          int64
	}{
		"suspended while joining":               {[]string{leave}, pgx.ReadCommitted, join, suspend, 0},
		"let in while joining":                  {[]string{leave, suspend}, pgx.ReadCommitted, join, restore, 1},
		"removed before an older snapshot":      {nil, pgx.RepeatableRead, touch, leave, 0},
		"added before an older snapshot":        {[]string{leave}, pgx.RepeatableRead, suspend, join, 0},
		"removed before one that is serialized": {nil, pgx.Serializable, touch, leave, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := placeWorld(t)
			s := newService(pool, &bells{})
			channel, user := fixed('c', 0), fixed('u', 0)
			for _, q := range c.first {
				mustExec(t, pool, q, channel, user)
			}
			err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{IsoLevel: c.isolation}, func(tx pgx.Tx) error {
				if c.isolation == pgx.ReadCommitted {
					if _, err := tx.Exec(t.Context(), c.longer, channel, user); err != nil {
						return err
					}
					mustExec(t, pool, c.other, channel, user)
					for range 2 { // too early
						if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
							t.Error(err)
						}
					}
					return nil
				}
				if _, err := tx.Exec(t.Context(), `select from public.nchat_users limit 1`); err != nil {
					return err
				}
				mustExec(t, pool, c.other, channel, user)
				_, err := tx.Exec(t.Context(), c.longer, channel, user)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, pool, `select realtime.sequence(1000, false)`)
			if c.longer == join { // as in a copy, made by a dump, whose cluster has not got so far
				mustExec(t, pool, `update realtime.rechecks set settled = '99999999999999'`)
			}
			if number(t, pool, `select count(*) from realtime.unnoted()`) == 0 {
				t.Fatal("they saw each other, and this tests nothing")
			}
			for deadline := time.Now().Add(time.Minute); number(t, pool, `select count(*) from realtime.rechecks`) > 0; { // until whatever was under way on this server is over
				if time.Now().After(deadline) {
					t.Fatal("nobody looks once more")
				}
				if err := sweep.All(t.Context(), s.Sweeps()...); err != nil {
					t.Fatal(err)
				}
			}
			mustExec(t, pool, `select realtime.sequence(1000, false)`)
			if n := number(t, pool, `select count(*) from realtime.stints where channel_id = $1 and user_id = $2 and to_seq is null`, channel, user); n != c.want {
				t.Errorf("%d memberships, want %d", n, c.want)
			}
			if n := number(t, pool, `select members from realtime.channels where channel_id = $1`, channel); n != 4+c.want {
				t.Errorf("%d members", n)
			}
			if n := number(t, pool, `select count(*) from realtime.unnoted()`); n != 0 {
				t.Errorf("%d changes are not in the log", n)
			}
		})
	}
}

// TestABlockMeetsAMove: a block notes the direct channels of the two, and does not say
// whose they are: it may not have seen that one has moved.
func TestABlockMeetsAMove(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	for i := range 2 {
		mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, fixed('c', 2), fixed('u', i))
	}
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, fixed('u', 0), fixed('u', 1))
		mustExec(t, pool, `update public.nchat_channels set source_account_id = 'other' where id = $1`, fixed('c', 2))
		mustExec(t, pool, `select realtime.sequence(1000, false)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	if n := number(t, pool, `select count(*) from realtime.channels where channel_id = $1 and tenant = 'other'`, fixed('c', 2)); n != 1 {
		t.Error("it is the former tenant's again")
	}
	if n := number(t, pool, `select count(*) from realtime.log where channel_id = $1 and kind = 'channel'`, fixed('c', 2)); n != 2 {
		t.Errorf("%d changes of it are told, want both", n)
	}
}

// TestSequencersThatAreKilled: in the middle of what they do, one after the other, of
// three, while messages are written, moved, deleted and members come and go. What was
// begun is undone as a whole, and another does it.
func TestSequencersThatAreKilled(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	var at sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 3 {
		at.Go(func() {
			for ctx.Err() == nil {
				_, _ = pool.Exec(ctx, `select realtime.sequence(7, true, $1)`, rand.IntN(2) == 0)
			}
		})
	}
	killed := 0
	const kill = `
select count(*) from (select pg_terminate_backend(l.pid) from pg_locks l
 where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_database where datname = current_database()) limit 1) x`
	for i := 0; killed < 10 || i < 300; i++ {
		message, channel, user := fixed('m', i), fixed('c', i%2), fixed('u', i%5)
		mustExec(t, pool, insertX, message, channel, user)
		switch i % 7 {
		case 2:
			mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, channel, user)
			mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, channel, user)
		case 3:
			mustExec(t, pool, `update public.nchat_messages set channel_id = $2 where id = $1`, message, fixed('c', 3))
		case 4:
			mustExec(t, pool, `delete from public.nchat_messages where id = $1`, message)
		}
		killed += int(number(t, pool, kill))
	}
	stop()
	at.Wait()
	for number(t, pool, `select realtime.sequence(1000, false, true)`) > 0 {
	}
	for what, q := range map[string]string{
		"gaps in the log":                `select count(*) from (select pos - lag(pos) over (order by pos) as step from realtime.log) x where x.step <> 1`,
		"gaps in a channel":              `select count(*) from (select seq - lag(seq, 1, 0::bigint) over (partition by channel_id order by seq) as step from realtime.log where kind = 'created') x where x.step <> 1`,
		"messages told more than once":   `select count(*) from (select from realtime.log where kind = 'created' group by message_id, channel_id having count(*) > 1) x`,
		"messages told in another order": `select count(*) from (select message_id < lag(message_id) over (order by pos) as back from realtime.log where kind = 'created' and channel_id <> '` + fixed('c', 3).String() + `') x where x.back`,
		"changes that are not in it":     `select count(*) from realtime.unnoted()`,
		"notes left":                     `select count(*) from realtime.inbox`,
		"members too many or too few":    `select abs(sum(members) - 10) from realtime.channels`,
	} {
		if n := number(t, pool, q); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}
