package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// asker asks one server over HTTP as one user.
type asker struct {
	url, token string
}

func askAs(srv *server, user uuid.UUID) (asker, error) {
	t, err := tokenOf(user)
	return asker{"http" + strings.TrimPrefix(srv.url, "ws"), t}, err
}

func (a asker) ask(ctx context.Context, query string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+a.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	if bytes.Contains(text, []byte(`"errors"`)) {
		return fmt.Errorf("answered: %.300s", text)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	return nil
}

const (
	syncedMessages = 100
	syncedChannels = 50
	syncRounds     = 30
)

// messages: what a client waits for, over HTTP on one node.
func messages(ctx context.Context, db string, s sizes) error {
	srv, err := start(ctx, kindOurs, db)
	if err != nil {
		return err
	}
	defer srv.stop()
	conn, err := pgx.Connect(ctx, db)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := instead.prepare(ctx, conn); err != nil {
		return err
	}
	fmt.Println("## Messages, over HTTP, beside what one would do in SQL alone\n\n| what | n | median | p95 | instead, in SQL alone | its median | ratio |\n|---|---|---|---|---|---|---|")
	for _, part := range []func(context.Context, *server, *pgx.Conn) error{sending, syncing, reading} {
		if err := part(ctx, srv, conn); err != nil {
			return err
		}
	}
	if err := crowded(ctx, srv, conn, s.members); err != nil {
		return err
	}
	fmt.Println()
	return nil
}

func line(what string, took []time.Duration, other string, beside []time.Duration) {
	fmt.Printf("| %s | %d | %s | %s |", what, len(took), ms(at(took, 50)), ms(at(took, 95)))
	if len(beside) == 0 {
		fmt.Println(" | | |")
		return
	}
	fmt.Printf(" %s | %s | %.2f |\n", other, ms(at(beside, 50)), float64(at(took, 50))/float64(at(beside, 50)))
}

const sendOne = `mutation ($c: uuid!, $k: String!) { sendMessage(input: {channelId: $c, clientMessageId: $k, content: "Are we still on?"}) { status message { id seq } error { code } } }`

type sent struct {
	Data struct {
		SendMessage struct {
			Status  string
			Message struct{ ID, Seq string }
		}
	}
}

func send(ctx context.Context, a asker, channel uuid.UUID) (string, time.Duration, error) {
	var out sent
	began := time.Now()
	if err := a.ask(ctx, sendOne, map[string]any{"c": channel, "k": uuid.NewString()}, &out); err != nil {
		return "", 0, err
	}
	if out.Data.SendMessage.Status != "sent" {
		return "", 0, fmt.Errorf("not sent: %+v", out)
	}
	return out.Data.SendMessage.Message.ID, time.Since(began), nil
}

// sending is one message after another, each answered once it is committed.
func sending(ctx context.Context, srv *server, conn *pgx.Conn) error {
	a, err := askAs(srv, users[0])
	if err != nil {
		return err
	}
	channel, err := newChannel(ctx, conn, `id in ($2, $3)`, users[0], users[1])
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 200 {
		_, d, err := send(ctx, a, channel)
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	line("sendMessage", took, "", nil)
	return nil
}

func newChannel(ctx context.Context, conn *pgx.Conn, who string, args ...any) (uuid.UUID, error) {
	id := uuid.New()
	if _, err := conn.Exec(ctx, `insert into public.nchat_channels (id, name, slug, type) values ($1::uuid, 'bench', $1::uuid::text, 'private')`, id); err != nil {
		return id, fmt.Errorf("making a channel: %w", err)
	}
	q := `insert into public.nchat_channel_members (channel_id, user_id) select $1, u.id from public.nchat_users u where ` + who
	if _, err := conn.Exec(ctx, q, append([]any{id}, args...)...); err != nil {
		return id, fmt.Errorf("making members: %w", err)
	}
	return id, nil
}

// syncing is 100 messages over 50 channels that a client missed.
func syncing(ctx context.Context, srv *server, conn *pgx.Conn) error {
	a, err := askAs(srv, users[1])
	if err != nil {
		return err
	}
	channels := make([]uuid.UUID, syncedChannels)
	for i := range channels {
		if channels[i], err = newChannel(ctx, conn, `id in ($2, $3)`, users[0], users[1]); err != nil {
			return err
		}
	}
	const q = `query ($c: String) { sync(cursor: $c) { cursor hasMore messages { id channelId senderId content seq version createdAt } readStates { channelId unreadCount } deletedMessageIds } }`
	type page struct {
		Data struct {
			Sync struct {
				Cursor   string
				HasMore  bool
				Messages []struct{ ID string }
			}
		}
	}
	var p page
	for more := true; more; more = p.Data.Sync.HasMore {
		vars := map[string]any{}
		if p.Data.Sync.Cursor != "" {
			vars["c"] = p.Data.Sync.Cursor
		}
		if err := a.ask(ctx, q, vars, &p); err != nil {
			return err
		}
	}
	var took, fresh, none, others []time.Duration
	for i := range 2 * syncRounds {
		since := time.Now()
		if _, err := conn.Exec(ctx, `insert into public.nchat_messages (channel_id, user_id, content) select c, $2, 'Are we still on?' from unnest($1::uuid[]) c, generate_series(1, $3)`,
			channels, users[0], syncedMessages/syncedChannels); err != nil {
			return fmt.Errorf("inserting: %w", err)
		}
		page100 := &fresh
		if i%2 == 0 {
			page100 = &took
			if err := settled(ctx, conn); err != nil {
				return err
			}
		}
		cursor := p.Data.Sync.Cursor
		for _, list := range []*[]time.Duration{page100, &none} {
			began := time.Now()
			p = page{}
			if err := a.ask(ctx, q, map[string]any{"c": cursor}, &p); err != nil {
				return err
			}
			*list = append(*list, time.Since(began))
			cursor = p.Data.Sync.Cursor
			if list == page100 && len(p.Data.Sync.Messages) != syncedMessages {
				return fmt.Errorf("a page of %d messages", len(p.Data.Sync.Messages))
			}
		}
		d, err := instead.since(ctx, conn, channels, since)
		if err != nil {
			return err
		}
		others = append(others, d)
	}
	line(fmt.Sprintf("sync of %d messages over %d channels", syncedMessages, syncedChannels), took, "a statement for each channel, created_at > since: loses rows, knows no deletions", others)
	line("the same, written just now", fresh, "", nil)
	line("sync of nothing", none, "", nil)
	return nil
}

// settled has what was written numbered, as it is a moment later anyhow.
func settled(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `select realtime.sequence(2000, false, true)`); err != nil {
		return fmt.Errorf("numbering: %w", err)
	}
	return nil
}

const readUpTo = `mutation ($c: uuid!, $m: uuid!) { acknowledgeRead(input: [{channelId: $c, messageId: $m}]) { unreadCount } }`

// reading is one acknowledgement of 1,000 messages.
func reading(ctx context.Context, srv *server, conn *pgx.Conn) error {
	a, err := askAs(srv, users[1])
	if err != nil {
		return err
	}
	var took, others []time.Duration
	var rows int
	for range 10 {
		channel, err := newChannel(ctx, conn, `id in ($2, $3)`, users[0], users[1])
		if err != nil {
			return err
		}
		var last uuid.UUID
		const q = `
with m as (insert into public.nchat_messages (channel_id, user_id, content) select $1, $2, 'Are we still on?' from generate_series(1, 1000) returning id)
select (array_agg(id))[1000] from m`
		if err := conn.QueryRow(ctx, q, channel, users[0]).Scan(&last); err != nil {
			return fmt.Errorf("inserting: %w", err)
		}
		if err := settled(ctx, conn); err != nil {
			return err
		}
		began := time.Now()
		if err := a.ask(ctx, readUpTo, map[string]any{"c": channel, "m": last}, nil); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		d, err := instead.read(ctx, conn, channel, users[1])
		if err != nil {
			return err
		}
		others = append(others, d)
		if err := conn.QueryRow(ctx, `select count(*) from realtime.moves where channel_id = $1`, channel).Scan(&rows); err != nil {
			return fmt.Errorf("counting: %w", err)
		}
	}
	line(fmt.Sprintf("acknowledgeRead of 1,000 messages (rows written to moves: %d)", rows), took, "a row for each message", others)
	return nil
}

// crowded is a channel of many members.
func crowded(ctx context.Context, srv *server, conn *pgx.Conn, members int) error {
	a, err := askAs(srv, users[0])
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `insert into public.nchat_users (email, display_name) select 'big' || i || '@example.com', 'big' from generate_series(1, $1) i`, members-1); err != nil {
		return fmt.Errorf("making users: %w", err)
	}
	channel, err := newChannel(ctx, conn, `id = $2 or email like 'big%'`, users[0])
	if err != nil {
		return err
	}
	var sends, looks, otherSends, otherLooks []time.Duration
	var last string
	for range 50 {
		id, d, err := send(ctx, a, channel)
		if err != nil {
			return err
		}
		last, sends = id, append(sends, d)
		if len(otherSends) < 10 {
			if d, err = instead.send(ctx, conn, channel, users[0]); err != nil {
				return err
			}
			otherSends = append(otherSends, d)
		}
	}
	line(fmt.Sprintf("sendMessage to %d members", members), sends, "the message, and a row for each member", otherSends)
	if _, err := conn.Exec(ctx, `
select realtime.acknowledge('primary', m.user_id, array[$1::uuid], array[null::uuid], array[$2::uuid], true, true, true, null, '{}', '{}', realtime.audience_version('primary', m.user_id))
  from public.nchat_channel_members m where m.channel_id = $1 and m.user_id <> $3`, channel, last, users[0]); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	const q = `query ($m: uuid!) { messageDelivery(messageId: $m) { readCount totalRecipients deliveredCount } }`
	for range 20 {
		began := time.Now()
		if err := a.ask(ctx, q, map[string]any{"m": last}, nil); err != nil {
			return err
		}
		looks = append(looks, time.Since(began))
		d, err := instead.count(ctx, conn, members-1)
		if err != nil {
			return err
		}
		otherLooks = append(otherLooks, d)
	}
	line(fmt.Sprintf("messageDelivery that %d have read", members-1), looks, "counting those rows", otherLooks)
	return nil
}
