package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// number is the answer of a query that counts.
func number(t *testing.T, pool *pgxpool.Pool, q string, args ...any) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), q, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return n
}

// fixed ids, the same in every database of a test.
func fixed(kind byte, i int) uuid.UUID {
	return uuid.UUID{kind, 6: 0x40, 8: 0x80, 14: byte(i >> 8), 15: byte(i)}
}

// placeWorld is four channels, of which one is public and one direct, and five
// users, who are members of the first two.
func placeWorld(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	for i := range 5 {
		mustExec(t, pool, `insert into public.nchat_users (id, email, display_name) values ($1, $2, 'u')`, fixed('u', i), fmt.Sprintf("u%d@example.com", i))
	}
	for i, kind := range []string{"private", "public", "direct", "private"} {
		mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', $2, $3::public.channel_type)`, fixed('c', i), fmt.Sprint("place", i), kind)
		if i < 2 {
			mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) select $1, id from public.nchat_users order by id`, fixed('c', i))
		}
	}
	return pool
}

// deed is a random change, the same for the same dice.
func deed(dice *rand.Rand, messages *int) (q string, args []any) {
	channel, user := fixed('c', dice.IntN(4)), fixed('u', dice.IntN(5))
	message := fixed('m', dice.IntN(max(*messages, 1)))
	switch n := dice.IntN(22); n {
	case 0, 1, 2, 3, 4, 5:
		*messages++
		return `insert into public.nchat_messages (id, channel_id, user_id, content, scheduled_at, thread_id) select $1, id, $3, 'x', case when $4 then now() + interval '1 day' end, case when $5 then id end from public.nchat_channels where id = $2 on conflict do nothing`,
			[]any{fixed('m', *messages-1), channel, user, dice.IntN(6) == 0, dice.IntN(3) == 0}
	case 6:
		return `update public.nchat_messages set thread_id = case when thread_id is null then channel_id end where id = $1`, []any{message}
	case 7:
		return `update public.nchat_messages set content = content || 'y' where id = $1`, []any{message}
	case 8:
		return `update public.nchat_messages set is_deleted = not is_deleted where id = $1`, []any{message}
	case 9:
		return `delete from public.nchat_messages where id = $1`, []any{message}
	case 10:
		return `update public.nchat_messages set published_at = case when published_at is null then now() end where id = $1 and scheduled_at is not null`, []any{message}
	case 11:
		return `update public.nchat_messages set channel_id = $2 where id = $1 and exists (select from public.nchat_channels where id = $2)`, []any{message, channel}
	case 12:
		return `insert into public.nchat_messages (id, channel_id, content) select $1, id, 'once more' from public.nchat_channels where id = $2 on conflict do nothing`, []any{message, channel}
	case 13:
		return `insert into public.nchat_channel_members (channel_id, user_id) select id, $2 from public.nchat_channels where id = $1 on conflict do nothing`, []any{channel, user}
	case 14:
		return `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, []any{channel, user}
	case 15:
		return `update public.nchat_channel_members set can_read = not coalesce(can_read, true), role = case role when 'guest' then 'member'::public.member_role else 'guest' end where channel_id = $1 and user_id = $2`, []any{channel, user}
	case 16:
		return `update public.nchat_users set deleted_at = case when deleted_at is null then now() end where id = $1`, []any{user}
	case 17:
		return `update public.nchat_channels set type = case type when 'private' then 'public'::public.channel_type else 'private' end where id = $1`, []any{channel}
	case 19:
		if dice.IntN(4) == 0 {
			return `delete from public.nchat_channels where id = $1`, []any{channel}
		}
		fallthrough
	case 20:
		return `insert into public.nchat_channels (id, name, slug, type) values ($1, 'again', $1::uuid::text, case when $2 then 'direct'::public.channel_type else 'private' end) on conflict do nothing`,
			[]any{channel, dice.IntN(2) == 0}
	case 18:
		return `update public.nchat_messages set type = null, is_system = null, user_id = null where id = $1`, []any{message}
	}
	return `select realtime.acknowledge('primary', $2, array[$3::uuid], array[null::uuid], array[$1::uuid], true, true, true, null, '{}', '{}', realtime.audience_version('primary', $2))`, []any{message, user, channel}
}

// placed is everything that sequencing decides.
func placed(t *testing.T, pool *pgxpool.Pool) (out string) {
	t.Helper()
	const q = `
select string_agg(line, E'\n' order by line) from (
  select concat_ws(' ', 'log', lpad(pos::text, 6, '0'), channel_id, kind, message_id, user_id, seq, thread, case when kind <> 'mark' then ref end) as line from realtime.log
  union all select concat_ws(' ', 'message', message_id, channel_id, seq, coalesce(sender::text, '-'), members, countable, deleted, gone, thread) from realtime.messages
  union all select concat_ws(' ', 'stint', channel_id, user_id, from_seq, to_seq) from realtime.stints
  union all select concat_ws(' ', 'channel', channel_id, tenant, seq, members, direct) from realtime.channels
  union all select concat_ws(' ', 'version', message_id, version, edited, overruled) from realtime.revisions) x`
	if err := pool.QueryRow(t.Context(), q).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTheSizeOfABatchChangesNothing: changes numbered one by one, or as many
// at a time as it happens, end in the same numbers, stints and log.
func TestTheSizeOfABatchChangesNothing(t *testing.T) {
	t.Parallel()
	deeds := 500
	if n, err := strconv.Atoi(os.Getenv("FEED_DEEDS")); err == nil {
		deeds = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	one, many := placeWorld(t), placeWorld(t)
	run := func(pool *pgxpool.Pool, most func() int, every func() int) string {
		dice, messages := rand.New(rand.NewPCG(seed, 1)), 0
		wait := every()
		for range deeds {
			q, args := deed(dice, &messages)
			mustExec(t, pool, q, args...)
			for wait--; wait <= 0; wait = every() {
				for k := most(); k > 0 && number(t, pool, `select realtime.sequence($1, false)`, k) == int64(k); {
					k = most()
				}
			}
		}
		for number(t, pool, `select realtime.sequence(1000, false)`) > 0 {
		}
		return placed(t, pool)
	}
	// A mark is of what has a number, so that both see each deed at the same time: every few of them all is numbered.
	const step = 7
	sizes := rand.New(rand.NewPCG(seed, 2))
	a := run(one, func() int { return 1 }, func() int { return step })
	b := run(many, func() int { return 1 + sizes.IntN(40) }, func() int { return step })
	if a == b {
		return
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			t.Fatalf("one by one: %s\nin batches: %s", x[i], y[i])
		}
	}
	t.Fatalf("%d lines of state against %d", len(x), len(y))
}

// TestWhatIsMovedAndRemovedAtOnce was where it was last: in one batch as in two.
func TestWhatIsMovedAndRemovedAtOnce(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	for i, most := range []int{1, 1000} {
		id := fixed('m', i)
		mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, id, fixed('c', 0), fixed('u', 0))
		mustExec(t, pool, `select realtime.sequence(1000, false)`)
		mustExec(t, pool, `update public.nchat_messages set thread_id = channel_id where id = $1`, id)
		mustExec(t, pool, `delete from public.nchat_messages where id = $1`, id)
		for number(t, pool, `select realtime.sequence($1, false)`, most) > 0 {
		}
		if n := number(t, pool, `select count(*) from realtime.messages where message_id = $1 and gone and thread = $2`, id, fixed('c', 0)); n != 1 {
			t.Errorf("%d at a time: it is not in the thread it was in", most)
		}
	}
}

// TestWritersOfAChannelDoNotWait: for each other, nor the log for the one that
// takes its time; numbers come in the order of the commits.
func TestWritersOfAChannelDoNotWait(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	const write = `insert into public.nchat_messages (id, channel_id, content) values ($1, $2, 'x')`
	slow, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := slow.Exec(t.Context(), write, fixed('m', 0), fixed('c', 0)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := pool.Exec(ctx, write, fixed('m', 1), fixed('c', 0)); err != nil {
		t.Fatalf("waited for the other: %v", err)
	}
	const seq = `select coalesce((select seq from realtime.messages where message_id = $1), 0)`
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	if n := number(t, pool, seq, fixed('m', 1)); n != 1 {
		t.Fatalf("the quick one has number %d", n)
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	if n := number(t, pool, seq, fixed('m', 0)); n != 2 {
		t.Fatalf("the slow one has number %d", n)
	}
}

// TestTheLogWaitsForNoTransaction: whatever of its rows are locked, by an edit
// under way or by somebody who changes members, what is committed gets its place.
func TestTheLogWaitsForNoTransaction(t *testing.T) {
	t.Parallel()
	pool := placeWorld(t)
	mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, fixed('m', 0), fixed('c', 0), fixed('u', 0))
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	mustExec(t, pool, `insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, fixed('m', 1), fixed('c', 0), fixed('u', 0))
	open, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Rollback(context.WithoutCancel(t.Context())) }()
	for _, q := range []string{
		`update public.nchat_messages set content = 'y'`,
		`delete from public.nchat_channel_members where user_id = (select max(id::text)::uuid from public.nchat_users)`,
		`update public.nchat_channels set name = 'other', is_archived = true where type <> 'private' or slug = 'place0'`,
		`update public.nchat_users set deleted_at = now() where id = (select min(id::text)::uuid from public.nchat_users)`,
		`insert into public.nchat_channels (name, slug) values ('new', 'new')`,
	} {
		if _, err := open.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, fixed('c', 3), fixed('u', 1)) // another channel than those held
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var n int
	if err := pool.QueryRow(ctx, `select realtime.sequence(1000, false)`).Scan(&n); err != nil || n == 0 {
		t.Fatalf("%d notes placed: %v", n, err)
	}
	if seq := number(t, pool, `select seq from realtime.messages where message_id = $1`, fixed('m', 1)); seq != 2 {
		t.Errorf("the message that is being changed has number %d", seq)
	}
	if err := open.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, `select realtime.sequence(1000, false)`)
	if n := number(t, pool, `select count(*) from realtime.revisions where version = 2`); n != 2 {
		t.Errorf("%d messages have a second version", n)
	}
}
