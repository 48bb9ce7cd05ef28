package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// bySQL is what an app does without this server: a row for each message and
// member, and timestamps for a cursor. It is timed on a connection of its own
// user's, without HTTP, tokens or privacy.
type bySQL struct{}

var instead bySQL

func (bySQL) prepare(ctx context.Context, conn *pgx.Conn) error {
	const q = `
create table if not exists public.bench_receipts (
  message_id uuid not null, user_id uuid not null, delivered_at timestamptz, read_at timestamptz, primary key (message_id, user_id));
create index if not exists bench_receipts_user on public.bench_receipts (user_id);
create table if not exists public.bench_messages (like public.nchat_messages including defaults including indexes)`
	if _, err := conn.Exec(ctx, q); err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	return nil
}

func timed(what string, f func() error) (time.Duration, error) {
	began := time.Now()
	if err := f(); err != nil {
		return 0, fmt.Errorf("%s in SQL: %w", what, err)
	}
	return time.Since(began), nil
}

// since asks each channel for what is newer than an instant.
func (bySQL) since(ctx context.Context, conn *pgx.Conn, channels []uuid.UUID, at time.Time) (time.Duration, error) {
	type message struct {
		ID      uuid.UUID
		Content string
		At      time.Time
	}
	return timed("syncing", func() error {
		for _, c := range channels {
			rows, err := conn.Query(ctx, `select id, content, created_at from public.nchat_messages where channel_id = $1 and created_at > $2 order by created_at`, c, at)
			if err != nil {
				return err
			}
			list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[message])
			if err != nil {
				return err
			}
			if len(list) != syncedMessages/syncedChannels {
				return fmt.Errorf("%d messages", len(list))
			}
		}
		return nil
	})
}

// read notes for each message of a channel that a user has read it.
func (bySQL) read(ctx context.Context, conn *pgx.Conn, channel, user uuid.UUID) (time.Duration, error) {
	return timed("reading", func() error {
		const q = `insert into public.bench_receipts (message_id, user_id, read_at) select id, $2, now() from public.nchat_messages where channel_id = $1`
		tag, err := conn.Exec(ctx, q, channel, user)
		if err == nil && tag.RowsAffected() != 1000 {
			err = fmt.Errorf("%d rows", tag.RowsAffected())
		}
		return err
	})
}

// send writes a message, and a row for each who shall get it.
func (bySQL) send(ctx context.Context, conn *pgx.Conn, channel, from uuid.UUID) (time.Duration, error) {
	return timed("sending", func() error {
		const q = `
with m as (insert into public.bench_messages (channel_id, user_id, content) values ($1, $2, 'Are we still on?') returning id)
insert into public.bench_receipts (message_id, user_id) select m.id, c.user_id from m, public.nchat_channel_members c where c.channel_id = $1 and c.user_id <> $2`
		_, err := conn.Exec(ctx, q, channel, from)
		return err
	})
}

// count is how many have got and read one of those messages.
func (bySQL) count(ctx context.Context, conn *pgx.Conn, want int) (time.Duration, error) {
	return timed("counting", func() error {
		const q = `
select count(*), count(delivered_at), count(read_at) from public.bench_receipts where message_id = (select id from public.bench_messages limit 1)`
		var all, delivered, read int
		err := conn.QueryRow(ctx, q).Scan(&all, &delivered, &read)
		if err == nil && all != want {
			err = fmt.Errorf("%d rows", all)
		}
		return err
	})
}
