// Package roster knows who may be in which room: the app's channels, threads
// and members, read and never kept. It decides nothing about anybody's
// presence; rules about people's rights in rooms are here and nowhere else.
package roster

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/text"
)

// Place is a channel, or a thread of one.
type Place struct {
	Channel uuid.UUID
	Thread  uuid.UUID // uuid.Nil: the channel itself
}

// Access is what a user may do in a place. A place that does not exist, is
// another tenant's, or whose thread is another channel's allows nothing.
type Access struct {
	Allowed bool
	Direct  bool // a direct or group conversation
}

// Readable reads which places a user may read, in their order, by one
// statement of one shape for every place, known or not.
func Readable(ctx context.Context, db postgres.DB, tenant string, user uuid.UUID, places []Place) ([]Access, error) {
	const q = `
select realtime.may_read($1, $2, k.channel)
         and (k.thread = $5 or exists (select from realtime.nchat_threads() t where t.id = k.thread and t.channel_id = k.channel)),
       exists (select from realtime.nchat_channels() c where c.id = k.channel and c.tenant = $1 and c.type in ('direct', 'group'))
  from unnest($3::uuid[], $4::uuid[]) with ordinality k (channel, thread, ord)
 order by k.ord`
	channels, threads := make([]uuid.UUID, len(places)), make([]uuid.UUID, len(places))
	for i, p := range places {
		channels[i], threads[i] = p.Channel, p.Thread
	}
	rows, err := db.Query(ctx, q, tenant, user, channels, threads, uuid.Nil)
	if err != nil {
		return nil, fmt.Errorf("reading rights: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Access])
	if err != nil {
		return nil, fmt.Errorf("reading rights: %w", err)
	}
	return out, nil
}

// Writable is whether a user may send messages to a place, as sending decides it.
func Writable(ctx context.Context, db postgres.DB, tenant string, user uuid.UUID, p Place) (Access, error) {
	const q = `
select realtime.write_role($1, $2, $3, nullif($4::uuid, $5)) is not null,
       exists (select from realtime.nchat_channels() c where c.id = $3 and c.tenant = $1 and c.type in ('direct', 'group'))`
	var a Access
	if err := db.QueryRow(ctx, q, tenant, user, p.Channel, p.Thread, uuid.Nil).Scan(&a.Allowed, &a.Direct); err != nil {
		return Access{}, fmt.Errorf("reading rights: %w", err)
	}
	return a, nil
}

// Writers are those of users who may send messages to a place.
func Writers(ctx context.Context, db postgres.DB, tenant string, p Place, users []uuid.UUID) (map[uuid.UUID]bool, error) {
	const q = `select u from unnest($4::uuid[]) u where realtime.write_role($1, u, $2, nullif($3::uuid, $5)) is not null`
	rows, err := db.Query(ctx, q, tenant, p.Channel, p.Thread, users, uuid.Nil)
	if err != nil {
		return nil, fmt.Errorf("reading writers: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("reading writers: %w", err)
	}
	out := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}

// Person is how a user is called.
type Person struct {
	ID          uuid.UUID
	DisplayName *string // nil: none that can be seen
	AvatarURL   *string
}

// Anybody is whether there is any user: where there is none, nothing fills the app's table.
func Anybody(ctx context.Context, db postgres.DB) (bool, error) {
	var some bool
	if err := db.QueryRow(ctx, `select exists (select from realtime.nchat_users())`).Scan(&some); err != nil {
		return false, fmt.Errorf("looking for users: %w", err)
	}
	return some, nil
}

// People are users by id; those unknown in the tenant are left out.
func People(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) (map[uuid.UUID]Person, error) {
	rows, err := db.Query(ctx, `select id, display_name, avatar_url from realtime.nchat_users() where tenant = $1 and id = any($2)`, tenant, users)
	if err != nil {
		return nil, fmt.Errorf("reading people: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Person])
	if err != nil {
		return nil, fmt.Errorf("reading people: %w", err)
	}
	out := make(map[uuid.UUID]Person, len(list))
	for _, p := range list {
		p.DisplayName = text.Name(p.DisplayName)
		out[p.ID] = p
	}
	return out, nil
}
