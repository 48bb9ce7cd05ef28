package push

import (
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// Whatever a message's row holds, those after it are told of, and it is where that can be.
func TestOddRowsAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	pgtest.Uncopyable(t, r.pool, "nchat_messages")
	for set, told := range map[string]bool{
		`created_at = 'infinity'`:                        true,
		`created_at = '294276-01-01'`:                    true,
		`created_at = '-infinity'`:                       false, // of the past
		`created_at = '0044-03-15 BC'`:                   false,
		`edited_at = 'infinity'`:                         true,
		`published_at = 'infinity'`:                      true,
		`published_at = '10000-01-01'`:                   true,
		`content = null`:                                 true,
		`content = repeat('ä', 3000000)`:                 true,
		`type = null`:                                    true,
		`metadata = '{"n": 1e131071}'`:                   true,
		`mentions = array[null]::uuid[]`:                 true,
		`mentions = array[[null, gen_random_uuid()]]`:    true,
		`mentions = array[null, user_id, null, user_id]`: true,
	} {
		r.got = nil
		odd := uuid.New()
		r.exec(`insert into public.nchat_messages (id, channel_id, user_id, content) values ($1, $2, $3, 'x')`, odd, demo.Team, demo.Alice)
		r.exec(`update public.nchat_messages set `+set+` where id = $1`, odd)
		after := r.say(demo.Team, demo.Alice, "after")
		seen := map[uuid.UUID]Payload{}
		for _, p := range r.told() {
			seen[p.MessageID] = p
		}
		if _, ok := seen[after]; !ok {
			t.Errorf("%s: what came after it was not told", set)
		}
		p, ok := seen[odd]
		if ok != told {
			t.Errorf("%s: told: %v", set, ok)
		}
		if n := utf8.RuneCountInString(p.Preview); n > previewLen {
			t.Errorf("%s: a preview of %d characters", set, n)
		}
	}
}
