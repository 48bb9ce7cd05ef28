package limit

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Members are some members of a JSON object, in the order of names: each as it stands in
// raw, of which nothing is copied or decoded; nil where it is not there, or null. Of
// several of a name the last counts. false: raw is not one JSON object.
//
// A text of a megabyte can have a hundred thousand small values, each of which takes
// hundreds of bytes once it is decoded: what nobody asks for is passed over.
func Members(raw []byte, names ...string) (values []json.RawMessage, ok bool) {
	i := blanks(raw, 0)
	if !json.Valid(raw) || raw[i] != '{' {
		return nil, false
	}
	values = make([]json.RawMessage, len(names))
	for i = blanks(raw, i+1); raw[i] != '}'; {
		from := i
		i = textEnd(raw, i)
		at := slices.IndexFunc(names, func(name string) bool { return spells(raw[from:i], name) })
		from = blanks(raw, blanks(raw, i)+1) // behind the colon
		i = valueEnd(raw, from)
		if at >= 0 {
			values[at] = set(raw[from:i:i])
		}
		if i = blanks(raw, i); raw[i] == ',' {
			i = blanks(raw, i+1)
		}
	}
	return values, true
}

// set is a value that is no null.
func set(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// spells says whether a JSON string, as it stands, is a name, each letter of which may be
// written in six bytes.
func spells(raw []byte, name string) bool {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	var text string
	return len(raw) <= 6*len(name)+2 && json.Unmarshal(raw, &text) == nil && text == name
}

// blanks is where what begins at i, or behind blanks there, does.
func blanks(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// textEnd is where the string of a valid JSON text that begins at i ends.
func textEnd(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd is where the value of a valid JSON text that begins at i ends.
func valueEnd(raw []byte, i int) int {
	if raw[i] == '"' {
		return textEnd(raw, i)
	}
	for depth := 0; i < len(raw); {
		switch raw[i] {
		case '"':
			i = textEnd(raw, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		if i++; depth == 0 && (i == len(raw) || bytes.IndexByte([]byte(" \t\r\n,]}"), raw[i]) >= 0) { // a number, or a word
			return i
		}
	}
	return i
}

// Elements are those of a JSON array, each as it stands in raw: at most one more than
// most, which says that there are too many. false: raw is not one JSON array.
func Elements(raw []byte, most int) (list []json.RawMessage, ok bool) {
	i := blanks(raw, 0)
	if !json.Valid(raw) || raw[i] != '[' {
		return nil, false
	}
	for i = blanks(raw, i+1); raw[i] != ']' && len(list) <= most; {
		from := i
		i = valueEnd(raw, from)
		list = append(list, raw[from:i:i])
		if i = blanks(raw, i); raw[i] == ',' {
			i = blanks(raw, i+1)
		}
	}
	return list, true
}

// BatchOperations is how many operations one request may hold; each of them counts for
// a caller's limits as one that came alone.
const BatchOperations = 100

// BatchSize is what is said of a batch of another size.
func BatchSize() *fault.Error {
	return fault.New(fault.Invalid, "a batch has 1 to %d operations", BatchOperations)
}

const (
	objectCounts = 8     // values: what a map takes beside what is in it
	valueTakes   = 64    // bytes, about, once it is decoded
	textFor      = 32    // bytes that may be sent for each value; an id has 39
	fewest       = 16384 // values that there may be at least
)

// MostValues is how many values a JSON text may have where so many bytes may be sent.
// With one for every 32 bytes what is decoded has some three times as many bytes as what
// was sent, where otherwise it could have fifty times as many.
func MostValues(bytes int64) int { return max(int(bytes/textFor), fewest) }

// Takes is how many bytes a valid JSON text takes once it is decoded, about; nil: none.
// Errors: validation-failed for one of more than most values, an object counting for
// eight. Nothing is decoded.
func Takes(raw json.RawMessage, most int) (bytes int, err error) {
	values := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = textEnd(raw, i) - 1
		case '{':
			values += objectCounts
		case '[', ',':
			values++
		}
	}
	if values > most {
		return 0, fault.Field("variables", "variables have more than %d values; an object counts for %d", most, objectCounts)
	}
	return len(raw) + values*valueTakes, nil
}

// Variables decodes an operation's, which Members found to be there and Takes to be no
// more than may be: numbers as they are written. ok false: they are no object.
func Variables(raw json.RawMessage) (m map[string]any, ok bool) {
	if raw == nil {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return m, d.Decode(&m) == nil
}

// longestHash is what a SHA-256 in hexadecimal takes as JSON, however it is written.
const longestHash = 6*64 + 2

// Extensions are an operation's, as far as anybody here reads them: the hash and the
// version of a persisted query. They are kept for as long as the operation lives.
// false: raw is neither absent nor an object.
func Extensions(raw json.RawMessage) (map[string]any, bool) {
	if raw == nil {
		return nil, true
	}
	of, ok := Members(raw, "persistedQuery")
	if !ok || of[0] == nil {
		return nil, ok
	}
	persisted := map[string]any{}
	if of, ok = Members(of[0], "sha256Hash", "version"); ok {
		var hash string
		if len(of[0]) <= longestHash && json.Unmarshal(of[0], &hash) == nil {
			persisted["sha256Hash"] = hash
		}
		var version float64
		if json.Unmarshal(of[1], &version) == nil {
			persisted["version"] = version
		}
	}
	return map[string]any{"persistedQuery": persisted}, true
}
