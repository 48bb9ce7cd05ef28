package feed

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestThePastOfAnotherTenant: whose a public channel has become reads nothing of what
// was written there before, in its past or by its id.
func TestThePastOfAnotherTenant(t *testing.T) {
	t.Parallel()
	pool, s, v, _ := reading(t)
	channel, heir := fixed('c', 88), viewer.Of("other", fixed('u', 88))
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', 'moves', 'public')`, channel)
	mustExec(t, pool, `insert into public.nchat_users (id, email, display_name, source_account_id) values ($1, 'heir@example.com', 'h', 'other')`, heir.User)
	seen := func(v viewer.Viewer, ids ...uuid.UUID) (int, int) {
		t.Helper()
		p, err := s.Past.Page(t.Context(), v, HistoryQuery{Channel: channel})
		if err != nil {
			t.Fatal(err)
		}
		may, err := s.Past.Visible(t.Context(), v, ids)
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Messages), len(may)
	}
	before := say(t, pool, channel)
	if page, may := seen(v, before); page != 1 || may != 1 {
		t.Fatalf("its own: %d, %d", page, may)
	}
	mustExec(t, pool, `insert into public.nchat_messages (channel_id, content) select $1, 'x' from generate_series(1, 1000)`, channel) // that many are ended at once
	mustExec(t, pool, `update public.nchat_channels set source_account_id = 'other' where id = $1`, channel)
	if page, may := seen(heir, before); page != 0 || may != 0 {
		t.Errorf("of before: %d in its past, %d by id", page, may)
	}
	after := say(t, pool, channel)
	if page, may := seen(heir, before, after); page != 1 || may != 1 {
		t.Errorf("of after: %d in its past, %d by id", page, may)
	}
}

// TestAMessageThatMovesMeanwhile into a channel that the viewer may not read is not
// brought as one of the channel it was in.
func TestAMessageThatMovesMeanwhile(t *testing.T) {
	t.Parallel()
	pool, s, v, channels := reading(t)
	closed := fixed('c', 78)
	mustExec(t, pool, `insert into public.nchat_channels (id, name, slug, type) values ($1, 'c', 'closed', 'private')`, closed)
	stays, moves, later := say(t, pool, channels[0]), say(t, pool, channels[0]), say(t, pool, channels[0])
	mustSync(t, s, v, Query{})
	late := newService(pool, &bells{})
	var going uuid.UUID
	load := late.o.Load
	late.o.Load = func(ctx context.Context, q postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Body, error) {
		mustExec(t, pool, `update public.nchat_messages set channel_id = $2 where id = $1`, going, closed)
		return load(ctx, q, tenant, ids)
	}
	going = moves
	p, err := late.Past.Page(t.Context(), v, HistoryQuery{Channel: channels[0]})
	if err != nil || len(p.Messages) != 2 {
		t.Errorf("%d messages, %v", len(p.Messages), err)
	}
	going = later
	may, err := late.Past.Visible(t.Context(), v, []uuid.UUID{stays, later})
	if err != nil || len(may) != 1 {
		t.Errorf("%d by id, %v", len(may), err)
	}
}
