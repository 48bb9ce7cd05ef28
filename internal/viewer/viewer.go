// Package viewer is whoever asks, in the words that every domain shares: which
// user of which tenant, over which socket, and who else may learn of what that
// user does. It decides nothing but that somebody without a user is nobody.
package viewer

import (
	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Key names a user: ids are unique within a tenant only.
type Key struct {
	Tenant string
	User   uuid.UUID // uuid.Nil: none
}

// Viewer is whoever asks.
type Viewer struct {
	Key
	Session uuid.UUID // the socket the request came over; uuid.Nil over HTTP
}

// Of is a user that asks over no socket.
func Of(tenant string, user uuid.UUID) Viewer { return Viewer{Key: Key{Tenant: tenant, User: user}} }

// Denied is access-denied where no user asks, else nil.
func (v Viewer) Denied() error {
	if v.User == uuid.Nil {
		return fault.Access()
	}
	return nil
}

// Audience is who may learn of what a user does now.
type Audience struct {
	Read, Delivered bool        // that it read, or received, something: at all
	ShownTo         []uuid.UUID // only these; nil: everybody but HiddenFrom
	HiddenFrom      []uuid.UUID
	Version         string // by what it was decided: another once that has changed
}
