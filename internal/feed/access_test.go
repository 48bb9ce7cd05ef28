package feed

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/migrations"
)

// told reads a stream until an entry of the last message is told, or a read
// shows that nothing more is there.
func told(t *testing.T, x *Stream, until uuid.UUID) (messages []uuid.UUID, kinds string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		b, err := eitherWay(ctx, x)
		if err != nil {
			t.Fatalf("after %s: %v", kinds, err)
		}
		for _, it := range b.Items {
			if it.Kind.OfMessage() {
				messages = append(messages, it.Message)
			}
			kinds += string(it.Kind) + " "
			if it.Message == until {
				return messages, strings.TrimSpace(kinds)
			}
		}
	}
}

// TestMembershipDecides: what is written while one may not read a channel is
// never told, by a stream that stayed or by one that comes back, and old things
// are not told to whoever may not read any more.
func TestMembershipDecides(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	c, other := channels[0], channels[1]
	start := mustSync(t, s, v, Query{}).Cursor
	open := func(cursor string) *Stream {
		t.Helper()
		x, err := s.Open(t.Context(), v, cursor, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(x.Close)
		return x
	}
	live := open(start)
	var secret []uuid.UUID
	for _, way := range []struct{ out, in string }{
		{`delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`},
		{`update public.nchat_channel_members set can_read = false where channel_id = $1 and user_id = $2`, `update public.nchat_channel_members set can_read = true where channel_id = $1 and user_id = $2`},
		{`update public.nchat_users set deleted_at = now() where id = $2 and $1::uuid is not null`, `update public.nchat_users set deleted_at = null where id = $2 and $1::uuid is not null`},
	} {
		before := say(t, pool, c)
		if got, kinds := told(t, live, before); len(got) != 1 {
			t.Fatalf("a member is told %s", kinds)
		}
		mustExec(t, pool, way.out, c, v.User)
		hidden := say(t, pool, c)
		secret = append(secret, hidden)
		mustExec(t, pool, `update public.nchat_messages set content = 'changed' where id = $1`, before)
		p := mustSync(t, s, v, Query{Cursor: start})
		for _, m := range texts(p.Messages) {
			if m.Channel == c {
				t.Errorf("outside, a page tells of %v", m)
			}
		}
		if len(p.Deleted) != 0 {
			t.Errorf("outside, a page tells of deletions: %v", p.Deleted)
		}
		mustExec(t, pool, way.in, c, v.User)
		after := say(t, pool, c)
		got, kinds := told(t, live, after)
		for _, id := range got {
			if id != after && id != before { // the change may be told once it may be read again
				t.Errorf("%s: told of %s", kinds, id)
			}
		}
		if !strings.Contains(kinds, "left") || !strings.Contains(kinds, "joined") {
			t.Errorf("told %s", kinds)
		}
	}
	last := say(t, pool, other)
	again, _ := told(t, open(start), last)
	for _, id := range append(again, ids(texts(mustSync(t, s, v, Query{Cursor: start}).Messages))...) {
		for _, x := range secret {
			if id == x {
				t.Error("a message of a time outside is told to whoever comes back")
			}
		}
	}
	// A stream of one channel ends with the right to read it.
	one, err := s.Open(t.Context(), v, "", []uuid.UUID{c})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, c, v.User)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err == nil {
		_, err = one.Next(ctx)
	}
	if err.Error() != fault.Access().Error() {
		t.Errorf("it ends with %v", err)
	}
	for what, id := range map[string]uuid.UUID{"left": c, "unknown": uuid.New()} {
		if _, err := s.Open(t.Context(), v, "", []uuid.UUID{id}); err == nil || err.Error() != fault.Access().Error() {
			t.Errorf("%s: %v", what, err)
		}
	}
	stranger := viewer.Of("other", v.User)
	if p := mustSync(t, s, stranger, Query{}); len(p.Channels)+len(p.Messages) != 0 {
		t.Errorf("another tenant is told %+v", p)
	}
}

func ids(list []text) (out []uuid.UUID) {
	for _, m := range list {
		out = append(out, m.ID)
	}
	return out
}

// old is a database of nchat's with messages from before us.
func old(t *testing.T, channels, messages int) (pool *pgxpool.Pool, url string, reader uuid.UUID) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres")
	}
	url = pgtest.Empty(t)
	pool, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	ddl, err := migrations.FS.ReadFile("0001_nchat.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(ddl), "-- +goose Down")
	mustExec(t, pool, up)
	reader = uuid.New()
	mustExec(t, pool, `insert into public.nchat_users (id, email, display_name) values ($1, 'r@example.com', 'r')`, reader)
	mustExec(t, pool, `insert into public.nchat_channels (name, slug, type) select 'c', 'c' || i, 'private' from generate_series(1, $1::int) i`, channels)
	mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) select id, $1 from public.nchat_channels`, reader)
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content, created_at, is_deleted)
	  select c.id, i::text, now() - (i / 3) * interval '1 minute', i % 7 = 0 from public.nchat_channels c, generate_series(1, $1::int) i`, messages)
	return pool, url, reader
}

// TestWhatWasThereIsNumbered: in batches, from several nodes at once, while
// others write, change and delete; dense, in the order of time, and it goes on
// where it was broken off.
func TestWhatWasThereIsNumbered(t *testing.T) {
	t.Parallel()
	const channels, messages = 5, 1300
	pool, url, reader := old(t, channels, messages)
	if err := postgres.Migrate(t.Context(), url, slog.New(slog.DiscardHandler), pgtest.Code()); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Pool: pool, Load: loadText})
	if _, err := s.backfillOnce(t.Context()); err != nil { // one batch, and the node dies
		t.Fatal(err)
	}
	done, all, err := Backfill(t.Context(), pool)
	if err != nil || all != channels || done == channels {
		t.Fatalf("%d of %d, %v", done, all, err)
	}
	// Before their turn: new ones, and changes of old ones.
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select id, 'new' from public.nchat_channels, generate_series(1, 3)`)
	mustExec(t, pool, `update public.nchat_messages set content = 'changed' where content in ('4', '900')`)
	mustExec(t, pool, `delete from public.nchat_messages where content in ('5', '1200')`)
	errs := make(chan error, 3)
	for range 3 {
		go func() {
			for {
				n, err := s.backfillOnce(t.Context())
				if late, ok := errors.AsType[*pgconn.PgError](err); ok && late.Code == "55P03" {
					continue // a slow machine: the lock came too late, and is asked for again, as the service does
				}
				if err != nil || n == 0 {
					errs <- err
					return
				}
			}
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for { // who found another at work has stopped early
		n, err := s.backfillOnce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if done, all, err = Backfill(t.Context(), pool); err != nil || done != all {
		t.Errorf("%d of %d, %v", done, all, err)
	}
	mustExec(t, pool, `select realtime.sequence(10000, false)`)
	for what, q := range map[string]string{
		"without a number":        `select count(*) from public.nchat_messages m where not exists (select from realtime.messages r where r.message_id = m.id)`,
		"gaps":                    `select coalesce(sum(g), 0) from (select max(seq) - min(seq) + 1 - count(*) as g from realtime.messages group by channel_id) x`,
		"channels without a head": `select count(*) from realtime.channels c where c.seq <> 3`,
		"out of order": `select count(*) from realtime.messages a join public.nchat_messages x on x.id = a.message_id
		  join realtime.messages b on b.channel_id = a.channel_id and b.seq = a.seq + 1 join public.nchat_messages y on y.id = b.message_id
		  where x.created_at > y.created_at and x.content <> 'changed' and y.content <> 'changed'`,
		"deletions that count": `select count(*) from realtime.messages r join public.nchat_messages m on m.id = r.message_id where m.is_deleted and (r.countable or not r.deleted)`,
	} {
		var n int
		if err := pool.QueryRow(t.Context(), q).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d %v", what, n, err)
		}
	}
	p := mustSync(t, runService(t, pool, &bells{}), viewer.Of("primary", reader), Query{First: MaxFirst})
	if len(p.Channels) != channels || len(p.Messages) != channels*Newest {
		t.Errorf("a fresh start brings %d channels, %d messages", len(p.Channels), len(p.Messages))
	}
	for _, m := range texts(p.Messages) {
		if m.Erased {
			t.Fatalf("a fresh start brings the deleted %v", m)
		}
	}
}

// TestAChannelWithAUsersID: leaving it takes nothing else from the user, whoever made it so.
func TestAChannelWithAUsersID(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	x := opened(t, s, v, "", nil)
	id := v.User
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', 'twin', 'private')`, id)
	join := func(c uuid.UUID) {
		t.Helper()
		mustExec(t, pool, `insert into public.nchat_channel_members (channel_id, user_id) values ($1, $2)`, c, v.User)
	}
	leave := func(c uuid.UUID) {
		t.Helper()
		mustExec(t, pool, `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, c, v.User)
	}
	join(id)
	told(t, x, say(t, pool, id))
	leave(id)
	if _, kinds := told(t, x, say(t, pool, channels[0])); kinds != "left created" {
		t.Fatal(kinds)
	}
	leave(channels[1])
	for range 3 { // until nothing is looked at that it was not told of
		told(t, x, say(t, pool, channels[0]))
	}
	join(channels[1]) // which the user's own topic tells
	if _, kinds := told(t, x, say(t, pool, channels[1])); kinds != "joined created" {
		t.Error(kinds)
	}
}
