// Package demo is a small world to try the server in: six users, five channels,
// a thread, contacts and a block. Its ids never change.
package demo

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed data/world.sql
var world string

// The users, by number and name.
var (
	Alice = User(1)
	Bob   = User(2)
	Carol = User(3)
	Dave  = User(4)
	Erin  = User(5)
	Frank = User(6)
)

// The channels.
var (
	General   = Channel(1) // public, all six
	Team      = Channel(2) // private: alice, bob, carol
	AliceBob  = Channel(3) // direct; both wrote
	DaveAlice = Channel(4) // direct; alice never wrote
	AliceErin = Channel(5) // direct; both wrote, later alice blocked erin
)

// Names are the users' names in the order of their numbers.
func Names() []string { return []string{"alice", "bob", "carol", "dave", "erin", "frank"} }

// User is the n-th user's id, from 1.
func User(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) }

// Channel is the n-th channel's id, from 1.
func Channel(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("00000000-0000-4000-9000-%012d", n)) }

// Find is the id of a user given by id or by name; false: neither.
func Find(s string) (uuid.UUID, bool) {
	for i, name := range Names() {
		if strings.EqualFold(s, name) {
			return User(i + 1), true
		}
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// Load puts the world into a database that has no user yet; false: it has, and
// nothing was touched. Two loads at once make one world.
func Load(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	loaded := false
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('realtime.demo'))`); err != nil {
			return err
		}
		var any bool
		if err := tx.QueryRow(ctx, `select exists (select from public.nchat_users)`).Scan(&any); err != nil || any {
			return err
		}
		loaded = true
		_, err := tx.Exec(ctx, world)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("loading the demo world: %w", err)
	}
	return loaded, nil
}
