package events

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/message"
)

// TestWhoChangedAMessageIsPartOfWhatIsTold: those told of another editor are told
// another message.
func TestWhoChangedAMessageIsPartOfWhatIsTold(t *testing.T) {
	t.Parallel()
	m := message.Message{ID: uuid.New(), Version: 2}
	by := m
	by.EditedBy = new(uuid.New())
	if sum(m) == sum(by) {
		t.Error("they are taken for one")
	}
}
