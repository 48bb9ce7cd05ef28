// Package presence decides who is here and who may know it.
//
// It owns the tables sessions, presence, presence_settings, audience and departed of
// the schema realtime, the rule that merges a user's devices into one status
// (derive), and the rules of who may learn what of whom (rules.go). The raw
// record of a user is unexported and never leaves: what leaves is a View, made
// for one viewer (project). Missing, unknown or failing input hides.
package presence

import "github.com/nself-org/nchat-realtime/internal/viewer"

// Key names a user, whoever asks about it.
type Key = viewer.Key

// Status is what a user shows.
type Status string

// The statuses, in the order lists show them.
const (
	Online  Status = "online"
	Away    Status = "away"
	Busy    Status = "busy"
	Offline Status = "offline"
)

// rank is the place of a status in every list.
func (s Status) rank() int {
	switch s {
	case Online:
		return 0
	case Away:
		return 1
	case Busy:
		return 2
	case Offline:
	}
	return 3
}

// Visibility is who may see something of its owner's. Any value but these
// three hides.
type Visibility string

// The visibilities, from the widest to the strictest.
const (
	Everyone Visibility = "everyone"
	Contacts Visibility = "contacts"
	Nobody   Visibility = "nobody"
)

// Device is what a client says it runs on. It is never believed for anything.
type Device string

// The kinds of device.
const (
	DeviceWeb     Device = "web"
	DeviceIOS     Device = "ios"
	DeviceAndroid Device = "android"
	DeviceDesktop Device = "desktop"
	DeviceUnknown Device = "unknown"
)

// ViewerKind is as whom Preview looks.
type ViewerKind string

// The kinds of viewer.
const (
	AsStranger ViewerKind = "stranger"
	AsContact  ViewerKind = "contact"
	AsUser     ViewerKind = "user"
)
