package presence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// SignOut closes one of the caller's sessions, wherever its socket is; false:
// there is no such session of the caller's.
func (e *Editor) SignOut(ctx context.Context, v viewer.Viewer, id uuid.UUID) (bool, error) {
	if err := v.Denied(); err != nil {
		return false, err
	}
	return e.end(ctx, id, &v.Key)
}

// Renew puts a socket on another token, on whichever node it is; false: there is
// no such socket of the caller's.
func (e *Editor) Renew(ctx context.Context, v viewer.Viewer, id uuid.UUID, to Token) (bool, error) {
	const q = `
update realtime.sessions set token_expires_at = $4, token_next = $5, token_issued_at = $6
 where id = $1 and tenant = $2 and user_id = $3 and node_id is not null and ended_at is null returning id`
	var got uuid.UUID
	var next *string
	if to.ID != "" {
		next = &to.ID
	}
	var issued *time.Time
	if !to.IssuedAt.IsZero() {
		issued = &to.IssuedAt
	}
	err := e.w.pool.QueryRow(ctx, q, id, v.Tenant, v.User, to.ExpiresAt, next, issued).Scan(&got)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("renewing a session: %w", err)
	}
	e.w.ringSessions(id)
	return true, nil
}

// CountLive is how many live sessions a user has, with token only those that
// run on that token.
func (r *Reader) CountLive(ctx context.Context, k Key, token *string) (int, error) {
	const q = `
select count(*) from realtime.sessions
 where tenant = $1 and user_id = $2 and ended_at is null and ($3::text is null or token_id = $3)`
	var n int
	if err := r.w.pool.QueryRow(ctx, q, k.Tenant, k.User, token).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting sessions: %w", err)
	}
	return n, nil
}
