package presence

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Blind names those of the app's tables whose rows row level security hides
// from this server's role; empty: none. What the server cannot see it hides
// from everybody, so a blind server looks like one where nobody is ever here.
func Blind(ctx context.Context, db postgres.DB) (string, error) {
	const q = `
select coalesce(string_agg(c.relname, ', ' order by c.relname), '')
  from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
   and c.relname in ('nchat_users', 'nchat_channels', 'nchat_channel_members', 'nchat_messages', 'nchat_contacts', 'nchat_blocked_users')
   and row_security_active(c.oid)`
	var hidden string
	if err := db.QueryRow(ctx, q).Scan(&hidden); err != nil {
		return "", fmt.Errorf("asking for row level security: %w", err)
	}
	return hidden, nil
}
