package feed

import (
	"context"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/postgres"
)

// Noted looks for changes of the app's tables that the log has not heard of, and
// for triggers of ours that are disabled, so that it will not hear of more. An
// error tells which. It reads everything there is: for a doctor.
func Noted(ctx context.Context, db postgres.DB) error {
	const off = `
select coalesce(string_agg(format('%I on %s', t.tgname, t.tgrelid::regclass), ', ' order by t.tgrelid, t.tgname), '')
  from pg_trigger t join pg_proc p on p.oid = t.tgfoid
 where p.pronamespace = 'realtime'::regnamespace and t.tgenabled not in ('O', 'A')`
	var disabled string
	if err := db.QueryRow(ctx, off).Scan(&disabled); err != nil {
		return fmt.Errorf("reading triggers: %w", err)
	}
	if disabled != "" {
		return fmt.Errorf("triggers are disabled: %s", disabled)
	}
	const q = `
select count(*) filter (where u.what = 'lacking'), count(*) filter (where u.what = 'changed'), count(*) filter (where u.what = 'left'), count(*) filter (where u.what = 'member') from realtime.unnoted() u`
	var lacking, changed, left, members int
	if err := db.QueryRow(ctx, q).Scan(&lacking, &changed, &left, &members); err != nil {
		return fmt.Errorf("comparing the log with the tables: %w", err)
	}
	if lacking+changed+left+members > 0 {
		return fmt.Errorf("written past the triggers: %d messages without a number, %d that are others now, %d that are no more, %d memberships", lacking, changed, left, members)
	}
	return nil
}
