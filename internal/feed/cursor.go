package feed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// mode is what a cursor continues.
type mode byte

const (
	atEntry  mode = iota // after an entry of the log
	inFresh              // within a fresh start, at a channel
	inJoined             // within the messages of a channel just joined
)

// place is where a reader stands: after pos, and, within a page that did not
// fit, before number seq of a channel with left messages to go. seq atEntry: the
// position after up to where it was told how much it has to read; 0: not known.
type place struct {
	epoch   [8]byte
	pos     int64
	mark    int64 // of the entry at pos
	mode    mode
	channel uuid.UUID
	seq     int64
	left    uint8
}

const (
	placeBytes    = 8 + 8 + 8 + 1 + 16 + 8 + 1
	cursorVersion = 2
	nonceBytes    = 12
	cursorBytes   = 1 + nonceBytes + placeBytes + 16
)

func (p place) bytes() []byte {
	b := make([]byte, 0, placeBytes)
	b = append(b, p.epoch[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.pos))  //nolint:gosec // bits, not a number
	b = binary.BigEndian.AppendUint64(b, uint64(p.mark)) //nolint:gosec // bits, not a number
	b = append(b, byte(p.mode))
	b = append(b, p.channel[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.seq)) //nolint:gosec // bits, not a number
	return append(b, p.left)
}

func readPlace(b []byte) (p place) {
	copy(p.epoch[:], b)
	p.pos = int64(binary.BigEndian.Uint64(b[8:]))   //nolint:gosec // bits, not a number
	p.mark = int64(binary.BigEndian.Uint64(b[16:])) //nolint:gosec // bits, not a number
	p.mode = mode(b[24])
	copy(p.channel[:], b[25:])
	p.seq = int64(binary.BigEndian.Uint64(b[41:])) //nolint:gosec // bits, not a number
	p.left = b[49]
	return p
}

// sealer seals the cursors of one database. Nobody can count positions, make a
// cursor up, or use another user's: each is encrypted under a key of its user's.
type sealer struct{ secret []byte }

// bound is what a cursor holds good for.
func bound(v viewer.Viewer, channels []uuid.UUID) []byte {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d:%s/%s/%d", len(v.Tenant), v.Tenant, v.User, len(channels))
	for _, c := range sortedIDs(channels) {
		sum.Write(c[:])
	}
	return sum.Sum(nil)
}

func (s *sealer) aead(v viewer.Viewer) (cipher.AEAD, error) {
	// One key a user: nonces are random, and must not collide under one key.
	key, err := hkdf.Key(sha256.New, s.secret, nil, "nchat-realtime cursor "+v.Tenant+"/"+v.User.String(), 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return a, nil
}

// keyring seals for one reader.
type keyring struct {
	aead  cipher.AEAD
	bound []byte
}

func (s *sealer) keyring(v viewer.Viewer, channels []uuid.UUID) (*keyring, error) {
	a, err := s.aead(v)
	if err != nil {
		return nil, err
	}
	return &keyring{a, bound(v, channels)}, nil
}

func (k *keyring) seal(p place) string {
	b := make([]byte, 1+nonceBytes, cursorBytes)
	b[0] = cursorVersion
	_, _ = rand.Read(b[1:]) // never fails
	return base64.RawURLEncoding.EncodeToString(k.aead.Seal(b, b[1:1+nonceBytes], p.bytes(), k.bound))
}

// sealed are the n bytes of a cursor of a version, written as seal writes them and
// in no other way: base64 leaves out line breaks wherever they stand.
func sealed(cursor string, version byte, n int) ([]byte, bool) {
	if len(cursor) != base64.RawURLEncoding.EncodedLen(n) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	return b, err == nil && len(b) == n && b[0] == version
}

// open reads a cursor. One that was not sealed for this reader and these
// channels is validation-failed, whatever is wrong with it.
func (k *keyring) open(cursor string) (place, error) {
	wrong := fault.Field("cursor", "cursor is not one of this server's for this user and these channels")
	b, ok := sealed(cursor, cursorVersion, cursorBytes)
	if !ok {
		return place{}, wrong
	}
	plain, err := k.aead.Open(nil, b[1:1+nonceBytes], b[1+nonceBytes:], k.bound)
	if err != nil || len(plain) != placeBytes {
		return place{}, wrong
	}
	return readPlace(plain), nil
}

// epochOf is the short name of a database's history.
func epochOf(name string) (e [8]byte) {
	sum := sha256.Sum256([]byte(name))
	copy(e[:], sum[:])
	return e
}
