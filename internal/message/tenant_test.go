package message

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// TestAChannelOfAnotherTenant: moved there, or deleted and made again there with
// the same id. What is written from then on is delivered there; nothing of
// before is read there, and nothing of there by whoever was here.
func TestAChannelOfAnotherTenant(t *testing.T) {
	t.Parallel()
	for what, moves := range map[string][]string{
		"moved": {`update public.nchat_channels set source_account_id = 'other' where id = $1`},
		"made again": {`delete from public.nchat_channels where id = $1`,
			`insert into public.nchat_channels (id, name, slug, type, source_account_id) values ($1, 'team', 'team', 'private', 'other')`},
	} {
		r := newRig(t)
		before := r.send(r.one, as(demo.Alice), say("before", demo.Team, "of the first"))
		alone := viewer.Of("other", uuid.New())
		r.exec(`insert into public.nchat_users (id, email, display_name, source_account_id) values ($1, 'eve@example.com', 'Eve', 'other')`, alone.User)
		for _, q := range moves {
			r.exec(q, demo.Team)
		}
		r.exec(`insert into public.nchat_channel_members (channel_id, user_id, source_account_id) values ($1, $2, 'other')`, demo.Team, alone.User)
		after := r.send(r.one, alone, say("after", demo.Team, "of the other"))
		if after.Err != nil || after.Message == nil || *after.Message.Content != "of the other" {
			t.Fatalf("%s: sent: %+v", what, after)
		}
		if n := r.count(`select count(*) from realtime.channels where channel_id = $1 and tenant = 'other'`, demo.Team); n != 1 {
			t.Errorf("%s: the channel is not the other tenant's", what)
		}
		if n := r.count(`select count(*) from realtime.log l where l.channel_id = $1 and l.kind = 'created' and
			l.tenant <> case when l.message_id = $2 then 'other' else 'primary' end`, demo.Team, after.Message.ID); n != 0 {
			t.Errorf("%s: %d entries are told to the wrong tenant", what, n)
		}
		if n := r.count(`select count(*) from realtime.log l join public.nchat_users u on u.id = l.user_id
			where l.channel_id = $1 and l.kind in ('joined', 'left') and l.tenant <> u.source_account_id`, demo.Team); n != 0 {
			t.Errorf("%s: %d comings and goings are told to the wrong tenant", what, n)
		}
		if n := r.count(`select count(*) from realtime.stints where channel_id = $1 and to_seq is null`, demo.Team); n != 1 {
			t.Errorf("%s: %d members", what, n)
		}
		list, err := Reader{}.Load(t.Context(), r.pool, "other", []uuid.UUID{before.Message.ID})
		if m := list[before.Message.ID]; err != nil || m.Content != nil {
			t.Errorf("%s: the other tenant reads %+v, %v", what, m, err)
		}
		if list, err = (Reader{}).Load(t.Context(), r.pool, "primary", []uuid.UUID{after.Message.ID}); err != nil || len(list) != 0 {
			t.Errorf("%s: the first reads %+v, %v", what, list, err)
		}
	}
}
