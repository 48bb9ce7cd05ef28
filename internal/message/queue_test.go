package message

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

// TestAnswersToWhatIsNoMore: what was typed while its parent was taken back is
// sent; what is no message of the channel has an error of its own.
func TestAnswersToWhatIsNoMore(t *testing.T) {
	t.Parallel()
	const erased = `update public.nchat_messages set is_deleted = true, deleted_at = now() where id = $1`
	for name, c := range map[string]struct {
		change string // SQL, with $1 the parent
		sent   bool
		named  bool // the parent is kept
	}{
		"as it was":            {`select $1::uuid`, true, true},
		"deleted":              {erased, true, true},
		"deleted for good":     {`delete from public.nchat_messages where id = $1`, true, false},
		"not published yet":    {`update public.nchat_messages set scheduled_at = now() + interval '1 hour', published_at = null where id = $1`, true, false},
		"moved away":           {`with m as (update public.nchat_messages set channel_id = '` + demo.General.String() + `' where id = $1) select`, true, false},
		"deleted, and another": {`update public.nchat_messages set channel_id = '` + demo.DaveAlice.String() + `', is_deleted = true where id = $1`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			parent := r.send(r.one, as(demo.Alice), say("parent", demo.Team, "hi")).Message.ID
			r.exec(c.change, parent)
			in := say("answer", demo.Team, "a long answer")
			in.Parent = &parent
			for _, again := range []bool{false, true} {
				res := r.send(r.two, as(demo.Bob), in)
				if res.Err != nil || res.Duplicate != again || res.Message == nil {
					t.Fatalf("again %v: %+v", again, res)
				}
				if p := res.Message.ParentMessageID; (p != nil) != c.named || c.named && *p != parent {
					t.Errorf("again %v: its parent is %v", again, p)
				}
			}
		})
	}
	r := newRig(t)
	foreign, unknown := uuid.MustParse("00000000-0000-4000-b000-000000000001"), uuid.New()
	for name, parent := range map[string]uuid.UUID{"another channel's": foreign, "none": unknown} {
		in := say(name, demo.Team, "answer")
		in.Parent = &parent
		if res := r.send(r.one, as(demo.Bob), in); code(res.Err) != fault.Invalid || res.Err.Field != "parentMessageId" || res.Err.Retryable {
			t.Errorf("%s: %v", name, res.Err)
		}
	}
	if n := r.count(`select count(*) from realtime.client_keys`); n != 0 {
		t.Errorf("a refusal leaves %d keys", n)
	}
}
