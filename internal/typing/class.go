package typing

import (
	"crypto/sha256"
	"encoding/binary"
)

// Class stands for all that pictures of rooms say: who is told those of one class is
// told the same, byte for byte.
type Class [sha256.Size]byte

// ClassOf is the class of what a viewer is told at once.
func ClassOf(rooms []RoomTyping) Class {
	var room [512]byte
	b := binary.AppendUvarint(room[:0], uint64(len(rooms)))
	for _, t := range rooms {
		b = append(append(b, t.Room.Channel[:]...), t.Room.Thread[:]...)
		b = append(b, flag(t.Room.Direct))
		b = binary.AppendUvarint(b, uint64(len(t.all)))
		for _, u := range t.all {
			b = appendText(appendText(append(b, u.UserID[:]...), u.DisplayName), u.AvatarURL)
			b = binary.AppendVarint(binary.AppendVarint(b, u.StartedAt.Unix()), int64(u.StartedAt.Nanosecond()))
		}
	}
	return sha256.Sum256(b)
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendText(b []byte, s *string) []byte {
	if s == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(append(b, 1), uint64(len(*s)))
	return append(b, *s...)
}
