package presence

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Locks the rows of users, in one order for everybody, making those missing.
const lockUsers = `
insert into realtime.presence (tenant, user_id)
select distinct k.tenant, k.user_id from unnest($1::text[], $2::uuid[]) k (tenant, user_id) order by 1, 2
on conflict (tenant, user_id) do update set active = presence.active where false`

// Says of locked users whether they are connected now. It must be a statement
// of its own after the lock: only so does it see what others committed before
// they let go of the row. Last seen moves on the edge to offline alone, and
// never while invisible. Just after a crash of Postgres no session is no absence:
// nodes are about to say which still live, and whom they do not name sweepOrphans ends.
const writeEdges = `
update realtime.presence p
   set active = k.here, active_http = k.http, updated_at = clock_timestamp(),
       last_seen_at = case when p.active and not k.here and p.hidden_since is null
                           then greatest(p.last_seen_at, k.seen) else p.last_seen_at end
  from (select i.tenant, i.user_id, max(i.seen) as seen,
               count(s.id) filter (where s.counts) as known, bool_or(s.id is not null and realtime.counts(s)) as here,
               bool_or(s.id is not null and s.node_id is null and realtime.counts(s)) as http
          from unnest($1::text[], $2::uuid[], $3::timestamptz[]) i (tenant, user_id, seen)
          left join realtime.sessions s on s.tenant = i.tenant and s.user_id = i.user_id
         group by i.tenant, i.user_id) k
 where p.tenant = k.tenant and p.user_id = k.user_id
   and (p.active, p.active_http) is distinct from (k.here, k.http)
   and not (k.known = 0 and not exists (
     select from realtime.boot b where not b.crashed or b.since < clock_timestamp() - $4::interval))`

// touched collects the users whose sessions a transaction changed, with the
// last sign of life of those that ended.
type touched struct {
	tenants []string
	users   []uuid.UUID
	seen    []*time.Time
}

func (t *touched) add(k Key, seen *time.Time) {
	t.tenants, t.users, t.seen = append(t.tenants, k.Tenant), append(t.users, k.User), append(t.seen, seen)
}

func (t *touched) keys() []Key {
	set := make(map[Key]struct{}, len(t.users))
	keys := make([]Key, 0, len(t.users))
	for i, u := range t.users {
		k := Key{Tenant: t.tenants[i], User: u}
		if _, ok := set[k]; !ok {
			set[k] = struct{}{}
			keys = append(keys, k)
		}
	}
	return keys
}

// lock queues the lock on the users' rows.
func (t *touched) lock(b *pgx.Batch) { b.Queue(lockUsers, t.tenants, t.users) }

// write queues the edge itself, for after the lock and whatever it guards.
func (t *touched) write(b *pgx.Batch) {
	b.Queue(writeEdges, t.tenants, t.users, t.seen, orphanPatience)
}
