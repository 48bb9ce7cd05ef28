package typing

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// User is somebody typing, as a viewer may see it.
type User struct {
	UserID      uuid.UUID
	DisplayName *string
	AvatarURL   *string
	StartedAt   time.Time
}

// RoomTyping is who a viewer sees typing in a room.
type RoomTyping struct {
	Room Room
	all  []User // by when they began, then by id
}

// DefaultUsers and MaxUsers bound the list.
const (
	DefaultUsers = 10
	MaxUsers     = 100
)

// ID is the cache key: the room's name.
func (t RoomTyping) ID() string { return t.Room.Name() }

// TotalCount is how many the viewer sees typing, also beyond the list.
func (t RoomTyping) TotalCount() int { return len(t.all) }

// Users are those who began first.
func (t RoomTyping) Users(first int) []User {
	return append([]User{}, t.all[:min(first, len(t.all))]...)
}

// Text says it in a sentence; nil when nobody types.
func (t RoomTyping) Text() *string {
	n := len(t.all)
	if n == 0 {
		return nil
	}
	name := func(i int) string {
		if d := t.all[i].DisplayName; d != nil {
			return *d
		}
		return "Someone"
	}
	var s string
	switch n {
	case 1:
		s = name(0) + " is typing..."
	case 2:
		s = name(0) + " and " + name(1) + " are typing..."
	case 3:
		s = name(0) + ", " + name(1) + ", and " + name(2) + " are typing..."
	default:
		s = name(0) + ", " + name(1) + ", and " + strconv.Itoa(n-2) + " others are typing..."
	}
	return &s
}

// shows is whether any of some users is in it.
func (t RoomTyping) shows(users map[uuid.UUID]struct{}) bool {
	return slices.ContainsFunc(t.all, func(u User) bool { _, is := users[u.UserID]; return is })
}

// same: a viewer whose picture did not change is told nothing.
func (t RoomTyping) same(o RoomTyping) bool {
	if len(t.all) != len(o.all) {
		return false
	}
	for i, u := range t.all {
		if u.UserID != o.all[i].UserID || !u.StartedAt.Equal(o.all[i].StartedAt) {
			return false
		}
	}
	return true
}
