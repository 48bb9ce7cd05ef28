package bus

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestAPayloadIsWhatPostgresTakes: 7,999 bytes and none more; whatever is rung goes in
// payloads of no more, in its order, and none is empty.
func TestAPayloadIsWhatPostgresTakes(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for n, taken := range map[int]bool{maxPayload: true, maxPayload + 1: false} {
		if _, err := pool.Exec(t.Context(), `select pg_notify($1, $2)`, Channel, strings.Repeat("x", n)); (err == nil) != taken {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	seed := rand.Uint64()
	dice := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var topics []string
		for range 1 + dice.IntN(300) {
			topics = append(topics, strings.Repeat("t", 1+dice.IntN([]int{60, maxTopic}[dice.IntN(2)])))
		}
		for range maxPayload / maxTopic { // to the brim, or a byte past it
			topics = append(topics, strings.Repeat("t", maxTopic-dice.IntN(2)))
		}
		got := pack(topics)
		for _, p := range got {
			if p == "" || len(p) > maxPayload {
				t.Fatalf("seed %d: a payload of %d bytes", seed, len(p))
			}
		}
		if !slices.Equal(strings.Split(strings.Join(got, "\n"), "\n"), topics) {
			t.Fatalf("seed %d: what was rung does not come as it was", seed)
		}
	}
}
