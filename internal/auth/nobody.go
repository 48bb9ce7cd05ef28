package auth

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

// nobodyEach is how often it is said of each reason that bearers of good tokens are nobody here.
const nobodyEach = time.Hour

// nobodies says once in a while that whoever bears a good token is nobody here: an app whose
// ids are no uuids, or whose role is none of USER_ROLES, looks as if nobody were ever there,
// and nothing else says why. Never what a token says.
type nobodies struct {
	log       *slog.Logger
	now       func() time.Time
	users     map[string]bool // the roles that are a user's
	anonymous string          // the unauthorized role: nobody's on purpose

	mu   sync.Mutex
	said map[string]time.Time // by reason; guarded by mu
}

// meet looks at who bears a good token.
func (n *nobodies) meet(ctx context.Context, id Identity) {
	var why string
	switch users, names := n.users[id.Role], id.Vars[headerUser] != ""; {
	case id.UserID != uuid.Nil, id.Admin, id.Role == n.anonymous:
		return
	case users && names:
		why = "x-hasura-user-id is no uuid"
	case users:
		why = "there is no x-hasura-user-id"
	case names:
		why = "the role is none of USER_ROLES"
	default: // a program's
		return
	}
	n.mu.Lock()
	now := n.now()
	last, before := n.said[why]
	due := !before || now.Sub(last) >= nobodyEach
	if due {
		n.said[why] = now
	}
	n.mu.Unlock()
	if due {
		n.log.WarnContext(ctx, "a good token is nobody's here: who bears it is shown to nobody and sees nobody", "why", why)
	}
}
