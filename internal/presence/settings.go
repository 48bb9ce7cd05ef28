package presence

import (
	"time"

	"github.com/google/uuid"
)

// Settings is a user's privacy settings. CreatedAt is nil while they are the defaults.
type Settings struct {
	UserID                uuid.UUID
	Visibility            Visibility
	ShowOnlineStatus      bool
	ShowLastSeen          bool
	AllowReadReceipts     bool
	AllowDeliveryReceipts bool
	InvisibleMode         bool
	BroadcastTyping       bool
	TypingVisibility      Visibility
	CreatedAt             *time.Time
	UpdatedAt             *time.Time

	statusSharedSince   *time.Time // when the owner began to share its status again; nil: always did
	lastSeenSharedSince *time.Time
	receiptsSharedSince *time.Time
	typingSharedSince   *time.Time // when more came to see its typing than before; nil: always did
}

// ID is the cache key: the owner's id.
func (s Settings) ID() string { return s.UserID.String() }

// defaultSettings are those of somebody who never chose.
func defaultSettings(user uuid.UUID) Settings {
	return Settings{UserID: user, Visibility: Everyone, ShowOnlineStatus: true, ShowLastSeen: true, AllowReadReceipts: true,
		AllowDeliveryReceipts: true, BroadcastTyping: true, TypingVisibility: Everyone}
}

// Change is a partial change of settings; nil stays.
type Change struct {
	Visibility            *Visibility
	ShowOnlineStatus      *bool
	ShowLastSeen          *bool
	AllowReadReceipts     *bool
	AllowDeliveryReceipts *bool
	InvisibleMode         *bool
	BroadcastTyping       *bool
	TypingVisibility      *Visibility
}

func (c Change) empty() bool { return c == Change{} }

// apply makes the change. With stricter, settings have changed since the
// change was made: of each field the value that shows less wins, so that two
// devices at odds never show more than either chose.
func (c Change) apply(s Settings, stricter bool) Settings {
	s.Visibility = pick(s.Visibility, c.Visibility, stricter, narrower)
	s.ShowOnlineStatus = pick(s.ShowOnlineStatus, c.ShowOnlineStatus, stricter, lessShown)
	s.ShowLastSeen = pick(s.ShowLastSeen, c.ShowLastSeen, stricter, lessShown)
	s.AllowReadReceipts = pick(s.AllowReadReceipts, c.AllowReadReceipts, stricter, lessShown)
	s.AllowDeliveryReceipts = pick(s.AllowDeliveryReceipts, c.AllowDeliveryReceipts, stricter, lessShown)
	s.InvisibleMode = pick(s.InvisibleMode, c.InvisibleMode, stricter, func(a, b bool) bool { return a || b })
	s.BroadcastTyping = pick(s.BroadcastTyping, c.BroadcastTyping, stricter, lessShown)
	s.TypingVisibility = pick(s.TypingVisibility, c.TypingVisibility, stricter, narrower)
	return s
}

// reset is the defaults, at the times of s.
func (s Settings) reset() Settings {
	d := defaultSettings(s.UserID)
	d.CreatedAt, d.UpdatedAt = s.CreatedAt, s.UpdatedAt
	d.statusSharedSince, d.lastSeenSharedSince, d.receiptsSharedSince = s.statusSharedSince, s.lastSeenSharedSince, s.receiptsSharedSince
	d.typingSharedSince = s.typingSharedSince
	return d
}

// sharing notes when the owner began to share again what reciprocity asks of it,
// and to type before more people.
func (s Settings) sharing(old Settings, now time.Time) Settings {
	if s.ShowOnlineStatus && !old.ShowOnlineStatus {
		s.statusSharedSince = &now
	}
	if s.ShowLastSeen && !old.ShowLastSeen {
		s.lastSeenSharedSince = &now
	}
	if s.AllowReadReceipts && !old.AllowReadReceipts {
		s.receiptsSharedSince = &now
	}
	if s.typedTo() > old.typedTo() {
		s.typingSharedSince = &now
	}
	return s
}

// typedTo is how wide the circle is that sees its owner typing.
func (s Settings) typedTo() int {
	if s.InvisibleMode || !s.BroadcastTyping {
		return 0
	}
	return min(s.Visibility.width(), s.TypingVisibility.width())
}

// width orders visibilities; 0: nobody.
func (v Visibility) width() int { return map[Visibility]int{Everyone: 2, Contacts: 1}[v] }

func pick[T any](old T, to *T, stricter bool, strict func(a, b T) T) T {
	switch {
	case to == nil:
		return old
	case stricter:
		return strict(old, *to)
	}
	return *to
}

func lessShown(a, b bool) bool { return a && b }

func narrower(a, b Visibility) Visibility {
	if b.width() < a.width() {
		return b
	}
	return a
}

// validVisibility: one of the three, or not given.
func validVisibility(v *Visibility) bool {
	return v == nil || *v == Everyone || *v == Contacts || *v == Nobody
}
