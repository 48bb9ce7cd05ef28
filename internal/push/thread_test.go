package push

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// TestReadInItsThread: what is in a thread is read there, and so withdrawn; reading
// its channel leaves it.
func TestReadInItsThread(t *testing.T) {
	t.Parallel()
	r, thread, m := newRig(t), uuid.New(), uuid.New()
	r.exec(`insert into public.nchat_threads (id, channel_id) values ($1, $2)`, thread, demo.Team)
	r.exec(`insert into public.nchat_messages (id, channel_id, thread_id, user_id, content) values ($1, $2, $3, $4, 'in a thread')`, m, demo.Team, thread, demo.Alice)
	r.exec(`select realtime.sequence(1000, false)`)
	r.want("told", TypeMessage, m, demo.Bob, demo.Carol)
	r.read(demo.Carol, m)
	r.want("the channel is read", TypeWithdraw, m)
	r.exec(`insert into realtime.thread_marks (thread_id, user_id, channel_id, read_seq, read_at)
	        select m.thread, $1, m.channel_id, m.seq, now() from realtime.messages m where m.message_id = $2`, demo.Bob, m)
	r.exec(`select realtime.note_marks($1, array[m.channel_id], array[m.seq], array[0::bigint]) from realtime.messages m where m.message_id = $2`, demo.Bob, m)
	r.exec(`select realtime.sequence(1000, false)`)
	r.want("read in its thread", TypeWithdraw, m, demo.Bob)

	again := uuid.New()
	r.exec(`insert into public.nchat_messages (id, channel_id, thread_id, user_id, content) values ($1, $2, $3, $4, 'and again')`, again, demo.Team, thread, demo.Alice)
	r.exec(`select realtime.sequence(1000, false)`)
	r.exec(`update realtime.thread_marks k set read_seq = m.seq from realtime.messages m where m.message_id = $2 and k.user_id = $1`, demo.Bob, again)
	r.want("read before it was told", TypeMessage, again, demo.Carol)
}
