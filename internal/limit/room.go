package limit

import "github.com/nself-org/nchat-realtime/internal/fault"

// Roomy is how many bytes of an answer need no room.
const Roomy = 64 << 10

const (
	echoes   = 4        // times what a mutation sends it is answered, as a rule at most
	mostEcho = 16 << 20 // bytes: no answer has more
)

// Room is what is held of a caller's, for the bytes of what it is answered. The zero value
// holds nothing. For one goroutine at a time.
type Room struct {
	held int
	done []func()
}

// UpTo holds so many bytes in all, of which take holds those that are more than before; what
// is small needs none. Errors: take's.
func (r *Room) UpTo(bytes int, take func(bytes int) (done func(), err error)) error {
	if bytes <= Roomy || bytes <= r.held {
		return nil
	}
	done, err := take(bytes - r.held)
	if err == nil {
		r.held, r.done = bytes, append(r.done, done)
	}
	return err
}

// Free gives back all that is held.
func (r *Room) Free() {
	for _, done := range r.done {
		done()
	}
	r.held, r.done = 0, nil
}

// Echo is how many bytes there is to be room for before a mutation runs that sent so many.
func Echo(sent int) int { return min(echoes*sent, mostEcho) }

// CarriedOut is what is said of a mutation that ran and whose answer there is no room for:
// it is not to be tried again.
func CarriedOut() *fault.Error {
	return fault.New(fault.Invalid, "it was carried out; its answer is larger than there is room for: ask for less")
}
