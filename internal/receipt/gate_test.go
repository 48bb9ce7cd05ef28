package receipt_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestWhoMayLearnOfAMove: the three gates of a move, each condition by itself.
func TestWhoMayLearnOfAMove(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	maker, viewer, other := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}
	none := []uuid.UUID{}
	open := map[string]any{"user_id": maker, "read": true, "read_public": true, "delivered_public": true, "held": false,
		"hidden_from": none, "read_hidden_from": none}
	for what, c := range map[string]struct {
		change             map[string]any
		who                uuid.UUID
		shown, read, toAll bool
	}{
		"open to all":                     {nil, viewer, true, true, true},
		"its maker":                       {nil, maker, false, true, true},
		"held":                            {map[string]any{"held": true}, viewer, false, true, false},
		"shown to it":                     {map[string]any{"shown_to": []uuid.UUID{other, viewer}}, viewer, true, true, false},
		"shown to others":                 {map[string]any{"shown_to": []uuid.UUID{other}}, viewer, false, true, false},
		"shown to nobody":                 {map[string]any{"shown_to": none}, viewer, false, true, false},
		"hidden from it":                  {map[string]any{"hidden_from": []uuid.UUID{other, viewer}}, viewer, false, true, false},
		"hidden from others":              {map[string]any{"hidden_from": []uuid.UUID{other}}, viewer, true, true, false},
		"shown to and hidden":             {map[string]any{"shown_to": []uuid.UUID{viewer}, "hidden_from": []uuid.UUID{viewer}}, viewer, false, true, false},
		"received only":                   {map[string]any{"read": false, "read_public": false}, viewer, true, false, false},
		"reading that is private":         {map[string]any{"read_public": false}, viewer, true, false, false},
		"not read, though that is public": {map[string]any{"read": false}, viewer, true, false, false},
		"reading not returned to it":      {map[string]any{"read_hidden_from": []uuid.UUID{viewer}}, viewer, true, false, false},
		"reading not returned to others":  {map[string]any{"read_hidden_from": []uuid.UUID{other}}, viewer, true, true, false},
	} {
		move := maps.Clone(open)
		maps.Copy(move, c.change)
		row, err := json.Marshal(move)
		if err != nil {
			t.Fatal(err)
		}
		var shown, read, toAll bool
		const q = `
select realtime.shown(v, $2), realtime.reading_shown(v, $2), realtime.told_to_all(v)
  from jsonb_populate_record(null::realtime.moves, $1::jsonb) v`
		if err := pool.QueryRow(t.Context(), q, string(row), c.who).Scan(&shown, &read, &toAll); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if shown != c.shown || read != c.read || toAll != c.toAll {
			t.Errorf("%s: shown %t, its reading %t, to all %t", what, shown, read, toAll)
		}
	}
}
