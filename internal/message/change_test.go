package message

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestWhatNobodyChanges: the system's messages, those that are not published yet,
// and in a direct conversation the other's, whatever one's role is there.
func TestWhatNobodyChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	system, scheduled := uuid.New(), uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, type) values ($1, $2, $3, 'joined', 'system')`, system, demo.Team, demo.Alice)
	r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content, scheduled_at) values ($1, $2, $3, 'later', now() + interval '1 hour')`, scheduled, demo.Team, demo.Alice)
	r.exec(`update public.nchat_channel_members set role = 'owner' where user_id = $1`, demo.Alice)
	direct := r.send(r.one, as(demo.Bob), say("k", demo.AliceBob, "hello")).Message.ID
	for what, id := range map[string]uuid.UUID{"the system's": system, "one that is scheduled": scheduled, "the other's, directly": direct} {
		if _, err := r.one.Delete(t.Context(), as(demo.Alice), id); fault.From(err).Code != fault.Denied {
			t.Errorf("%s, deleted: %v", what, err)
		}
		if _, _, err := r.one.Edit(t.Context(), as(demo.Alice), id, "else", 1); fault.From(err).Code != fault.Denied {
			t.Errorf("%s, edited: %v", what, err)
		}
	}
}
