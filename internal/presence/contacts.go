package presence

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/text"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Contact is somebody who may see what the caller shows to contacts.
type Contact struct {
	UserID      uuid.UUID
	DisplayName *string
	AvatarURL   *string
	Explicit    bool
}

// ID is the cache key: the contact's user id.
func (c Contact) ID() string { return c.UserID.String() }

// Lists are those a user keeps of others: its contacts, and whom it blocked.
type Lists struct{ w *world }

const readContacts = `
with mine as (
  select contact_user_id as id, true as listed from realtime.nchat_contacts() where user_id = $2
   union all
  select contact_user_id, false from realtime.nchat_dm_contacts() where user_id = $2),
list as (
  select u.id, u.display_name, u.avatar_url, bool_or(m.listed) as listed
    from mine m
    join realtime.nchat_users() u on u.id = m.id and u.tenant = $1
   where not exists (select from realtime.nchat_blocks() b where b.blocker_id = $2 and b.blocked_user_id = m.id)
     and exists (select from realtime.nchat_users() o where o.id = $2 and o.tenant = $1)
   group by u.id, u.display_name, u.avatar_url)
select id, display_name, avatar_url, listed, (select count(*) from list)
  from list where id > $3 order by id limit $4`

// Contacts is a page of those who may see what the caller shows to contacts,
// by id: listed by hand, or written to in a direct channel. more says that
// others follow, total counts all.
func (l *Lists) Contacts(ctx context.Context, v viewer.Viewer, first *int, after *string) (
	page []Contact, more bool, total int, err error) {
	n, err := PageSize(first)
	if err != nil {
		return nil, false, 0, err
	}
	from, err := parseContact(after)
	if err != nil {
		return nil, false, 0, err
	}
	if err := v.Denied(); err != nil {
		return nil, false, 0, err
	}
	rows, err := l.w.pool.Query(ctx, readContacts, v.Tenant, v.User, from, n+1)
	if err != nil {
		return nil, false, 0, fmt.Errorf("reading contacts: %w", err)
	}
	page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Contact, error) {
		var c Contact
		err := row.Scan(&c.UserID, &c.DisplayName, &c.AvatarURL, &c.Explicit, &total)
		c.DisplayName = text.Name(c.DisplayName)
		return c, err
	})
	if err != nil {
		return nil, false, 0, fmt.Errorf("reading contacts: %w", err)
	}
	if len(page) > n {
		return page[:n], true, total, nil
	}
	return page, false, total, nil
}

// Cursor is the contact's place in the list.
func (c Contact) Cursor() string { return base64.RawURLEncoding.EncodeToString(c.UserID[:]) }

func parseContact(cursor *string) (uuid.UUID, error) {
	if cursor == nil {
		return uuid.Nil, nil
	}
	b, ok := decodeCursor(*cursor, len(uuid.Nil))
	if !ok {
		return uuid.Nil, badCursor()
	}
	return uuid.UUID(b), nil
}

// AddContact lists a user as the caller's contact. Nobody can tell from it
// whether the user exists: unknown ids are taken and forgotten.
func (l *Lists) AddContact(ctx context.Context, v viewer.Viewer, user uuid.UUID) error {
	return l.change(ctx, v, `select realtime.add_contact($1, $2, $3)`, user)
}

// RemoveContact takes a user off the caller's list.
func (l *Lists) RemoveContact(ctx context.Context, v viewer.Viewer, user uuid.UUID) error {
	return l.change(ctx, v, `
delete from public.nchat_contacts
 where user_id = $2 and contact_user_id = $3
   and exists (select from realtime.nchat_users() o where o.id = $2 and o.tenant = $1)`, user)
}

// Block hides the caller from a user, who cannot tell it from never having
// been seen.
func (l *Lists) Block(ctx context.Context, v viewer.Viewer, user uuid.UUID) error {
	return l.change(ctx, v, `select realtime.add_block($1, $2, $3)`, user)
}

// Unblock undoes Block.
func (l *Lists) Unblock(ctx context.Context, v viewer.Viewer, user uuid.UUID) error {
	return l.change(ctx, v, `
delete from public.nchat_blocked_users
 where blocker_id = $2 and blocked_user_id = $3
   and exists (select from realtime.nchat_users() o where o.id = $2 and o.tenant = $1)`, user)
}

// change writes one of the caller's lists; the triggers on it say who is to
// look again, and ring.
func (l *Lists) change(ctx context.Context, v viewer.Viewer, q string, user uuid.UUID) error {
	if err := v.Denied(); err != nil {
		return err
	}
	if _, err := l.w.pool.Exec(ctx, q, v.Tenant, v.User, user); err != nil {
		return fmt.Errorf("changing a list: %w", err)
	}
	return nil
}
