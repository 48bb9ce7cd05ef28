package typing

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestAPictureHasWhoMayBeSeen: whom presence does not name is not in it, nor what
// was typed before the viewer might know.
func TestAPictureHasWhoMayBeSeen(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	seen, hidden, late, next := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}, uuid.UUID{4}
	list := []raw{{hidden, []time.Time{at}}, {late, []time.Time{at, at.Add(3 * time.Second)}}, {seen, []time.Time{at}}, {next, []time.Time{at}}}
	may := map[uuid.UUID]time.Time{seen: {}, late: at, next: at}
	p, later := picture(Room{Channel: uuid.UUID{9}}, list, may, nil)
	if users := p.Users(9); p.TotalCount() != 2 || users[0].UserID != seen || users[1].UserID != late {
		t.Fatalf("%+v", p)
	} else if !users[1].StartedAt.Equal(at.Add(3 * time.Second)) {
		t.Errorf("it began at %v", users[1].StartedAt)
	}
	if len(later) != 1 || later[0].user != next {
		t.Errorf("with their next word: %+v", later)
	}
}
