package typing

import "github.com/google/uuid"

// index finds on a board what a channel, a user and a device have there, so that
// none costs more because others type elsewhere. The board's lock guards it.
type index struct {
	channels map[uuid.UUID]map[roomKey]struct{} // the rooms of each where somebody typed
	typists  map[uuid.UUID]map[roomKey]struct{} // where each user typed
	speakers map[speaker]map[typistKey]struct{} // where each spoke
}

// speaker is a session, or a user over HTTP, where words have no session.
type speaker struct{ user, session uuid.UUID }

func speakerOf(user, session uuid.UUID) speaker {
	if session != uuid.Nil {
		user = uuid.Nil
	}
	return speaker{user, session}
}

func newIndex() index {
	return index{map[uuid.UUID]map[roomKey]struct{}{}, map[uuid.UUID]map[roomKey]struct{}{}, map[speaker]map[typistKey]struct{}{}}
}

func (x index) open(room roomKey) { put(x.channels, room.Channel, room) }
func (x index) shut(room roomKey) { take(x.channels, room.Channel, room) }

func (x index) came(at typistKey) { put(x.typists, at.user, at.roomKey) }
func (x index) went(at typistKey) { take(x.typists, at.user, at.roomKey) }

func (x index) spoke(at typistKey, session uuid.UUID) {
	put(x.speakers, speakerOf(at.user, session), at)
}

func (x index) forget(at typistKey, session uuid.UUID) {
	take(x.speakers, speakerOf(at.user, session), at)
}

func put[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	if m[k] == nil {
		m[k] = map[V]struct{}{}
	}
	m[k][v] = struct{}{}
}

func take[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	if delete(m[k], v); len(m[k]) == 0 {
		delete(m, k)
	}
}
