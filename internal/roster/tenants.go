package roster

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// TenantBesides is one that has users or channels and is none of these; "": there
// is none.
func TenantBesides(ctx context.Context, db postgres.DB, tenants []string) (string, error) {
	const q = `
select coalesce((select u.tenant from realtime.nchat_users() u where u.tenant <> all ($1::text[]) limit 1),
                (select c.tenant from realtime.nchat_channels() c where c.tenant <> all ($1::text[]) limit 1), '')`
	var other string
	if err := db.QueryRow(ctx, q, tenants).Scan(&other); err != nil {
		return "", fmt.Errorf("looking for further tenants: %w", err)
	}
	return other, nil
}
