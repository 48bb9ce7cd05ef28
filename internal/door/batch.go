package door

import (
	"io"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// batch is a body that may be an array of operations. Each but the first, which is
// counted by now, is counted as it goes by, and one too many ends the body: of an array
// that does not end Hasura does nothing. Its bytes stay what they are.
type batch struct {
	io.ReadCloser
	take func() (back func(), err error)

	err     error // nothing more is read
	taken   []func()
	begun   bool
	other   bool // it is no array, or has ended
	depth   int
	text    bool // within a string
	escaped bool // behind a backslash in one
}

// manyError is of a batch with an operation too many.
type manyError struct{ error }

func (e *manyError) Unwrap() error { return e.error }

func (b *batch) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	for _, c := range p[:n] {
		if b.other {
			break
		}
		if b.next(c) {
			if b.err = b.count(); b.err != nil {
				return 0, b.err
			}
		}
	}
	return n, err //nolint:wrapcheck // a reader's errors are the reader's
}

// next looks at a byte: whether another operation follows.
func (b *batch) next(c byte) bool {
	switch {
	case !b.begun:
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			return false
		}
		b.begun, b.other, b.depth = true, c != '[', 1
	case b.escaped:
		b.escaped = false
	case b.text:
		b.escaped, b.text = c == '\\', c != '"'
	case c == '"':
		b.text = true
	case c == '[' || c == '{':
		b.depth++
	case c == ']' || c == '}':
		b.depth--
		b.other = b.depth == 0
	case c == ',':
		return b.depth == 1
	}
	return false
}

// count counts one more. Where there is no room for it, those before it are taken back:
// none of them is done.
func (b *batch) count() error {
	err := error(limit.BatchSize())
	if len(b.taken)+1 < limit.BatchOperations {
		var back func()
		if back, err = b.take(); err == nil {
			b.taken = append(b.taken, back)
			return nil
		}
	}
	for _, back := range b.taken {
		back()
	}
	return &manyError{err}
}
