package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How the bystanders live: in rooms of a few, and all of them in one.
const (
	roomSize = 10
	watches  = 10 // others that each watches
	history  = 30 // messages in each room to begin with
	owned    = 20 // channels that the attacker has for itself
	hoarded  = 30 // large messages that it has in each of them
)

// world is what there is in the database: people who live there, one who attacks
// for each attack, and their channels.
type world struct {
	db      string
	people  []uuid.UUID
	rooms   []uuid.UUID // of roomSize people each
	general uuid.UUID   // of everybody, attackers too
	foes    []uuid.UUID
	theirs  [][]string // a foe's own channels
}

func parse(id string) (uuid.UUID, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return u, fmt.Errorf("an id: %w", err)
	}
	return u, nil
}

// build makes a database on a server and the world in it, with so many large messages
// in each channel that is an attacker's own; drop takes it away.
func build(ctx context.Context, url, program string, people, foes, large int) (w *world, drop func(), err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	name := "attack_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making a database: %w", err), conn.Close(ctx))
	}
	drop = func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), "drop database "+name+" with (force)")
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	c := conn.Config()
	w = &world{db: fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", c.Host, c.Port, c.User, c.Password, name)}
	if err = migrate(ctx, program, w.db); err == nil {
		err = w.fill(ctx, people, foes, large)
	}
	if err != nil {
		drop()
		return nil, nil, err
	}
	return w, drop, nil
}

func (w *world) fill(ctx context.Context, people, foes, large int) error {
	conn, err := pgx.Connect(ctx, w.db)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	fresh := func(n int) []uuid.UUID {
		ids := make([]uuid.UUID, n)
		for i := range ids {
			ids[i] = uuid.New()
		}
		return ids
	}
	w.people, w.foes, w.rooms, w.general = fresh(people), fresh(foes), fresh((people+roomSize-1)/roomSize), uuid.New()
	var channel, member []uuid.UUID
	join := func(c, u uuid.UUID) { channel, member = append(channel, c), append(member, u) }
	for i, u := range w.people {
		join(w.rooms[i/roomSize], u)
		join(w.general, u)
	}
	channels := append([]uuid.UUID{w.general}, w.rooms...)
	for _, u := range w.foes {
		join(w.general, u)
		join(w.rooms[0], u)
		var own []string
		for _, c := range fresh(owned) {
			channels, own = append(channels, c), append(own, c.String())
			join(c, u)
		}
		w.theirs = append(w.theirs, own)
	}
	for _, s := range []struct {
		q    string
		args []any
	}{
		{`insert into public.nchat_users (id, email, display_name) select u, u || '@example.com', 'T' from unnest($1::uuid[]) u`, []any{append(append([]uuid.UUID{}, w.people...), w.foes...)}},
		{`insert into public.nchat_channels (id, name, slug, type) select c, c::text, c::text, 'private' from unnest($1::uuid[]) c`, []any{channels}},
		{`insert into public.nchat_channel_members (channel_id, user_id) select * from unnest($1::uuid[], $2::uuid[])`, []any{channel, member}},
		{`insert into public.nchat_messages (channel_id, user_id, content)
		  select m.channel_id, (array_agg(m.user_id))[1], 'what one says in a chat' from public.nchat_channel_members m
		   cross join generate_series(1, $1::int) i where m.channel_id = any($2) group by m.channel_id, i`, []any{history, append([]uuid.UUID{w.general}, w.rooms...)}},
		{`insert into public.nchat_messages (channel_id, user_id, content, metadata)
		  select m.channel_id, m.user_id, repeat(chr(128293), 10000), jsonb_build_object('a', repeat('x', 16000)) from public.nchat_channel_members m
		   cross join generate_series(1, $1::int) i where not (m.channel_id = any($2))`, []any{large, append([]uuid.UUID{w.general}, w.rooms...)}},
	} {
		if _, err := conn.Exec(ctx, s.q, s.args...); err != nil {
			return fmt.Errorf("filling the world: %w", err)
		}
	}
	return nil
}
