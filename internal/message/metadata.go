package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Limits of metadata beside MaxMetadata, each that of a client that reads it:
// what a double cannot hold is infinity or nothing in JavaScript, and an error
// of the whole answer in Swift, which reads no deeper than 512 either.
const (
	MaxDepth   = 64 // objects and lists within one another
	maxWritten = 2 * MaxMetadata
	mostDigits = 1200 // of a number as Postgres writes it: no double takes more
)

// weigh reads metadata as a client will get it: without spaces, and with its
// numbers as Postgres writes them out. wrong says what is past a limit; "": nothing.
func weigh(in json.RawMessage) (out json.RawMessage, wrong string) {
	d := json.NewDecoder(bytes.NewReader(in))
	d.UseNumber()
	depth, written := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "is no JSON"
		}
		switch x := tok.(type) {
		case json.Delim:
			if x == '{' || x == '[' {
				depth++
			} else {
				depth--
			}
			if depth > MaxDepth {
				return nil, fmt.Sprintf("is nested deeper than %d", MaxDepth)
			}
		case string:
			if strings.ContainsRune(x, 0) {
				return nil, "has a NUL character"
			}
		case json.Number:
			n, ok := digits(x.String())
			if !ok {
				return nil, fmt.Sprintf("has the number %s, which a double cannot hold", short(x.String()))
			}
			written += max(n-len(x), 0)
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, in); err != nil {
		return nil, "is no JSON"
	}
	if b.Len()+written > MaxMetadata {
		return nil, fmt.Sprintf("has more than %d bytes", MaxMetadata)
	}
	return b.Bytes(), ""
}

// digits is how many characters Postgres writes a number with; false: a double
// cannot hold it.
func digits(n string) (int, bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(n), "e")
	e, err := strconv.Atoi(exponent)
	if exponent != "" && (err != nil || max(e, -e) > mostDigits) {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	length := len(n) - len(strings.TrimPrefix(n, "-")) + max(len(whole)+e, 1)
	if behind := len(fraction) - e; behind > 0 {
		length += 1 + behind
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil || math.IsInf(f, 0) || f == 0 && strings.Trim(mantissa, "-0.") != "" {
		return 0, false
	}
	return length, true
}

// short is a client's own number, for a sentence.
func short(n string) string {
	if len(n) > 40 {
		return n[:40] + "…"
	}
	return n
}

// checkMetadata refuses metadata that some reader could not take.
func checkMetadata(meta json.RawMessage) *fault.Error {
	if meta == nil {
		return nil
	}
	if meta[0] != '{' {
		return fault.Field("metadata", "metadata must be an object")
	}
	if _, wrong := weigh(meta); wrong != "" {
		return fault.Field("metadata", "metadata %s", wrong)
	}
	return nil
}
