package door

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// frame is a message of the upstream's. Its payload is the bytes that came.
type frame struct {
	kind, id string
	payload  json.RawMessage // nil: none, or null
}

var errGarbage = errors.New("what answers upstream does not speak GraphQL over WebSocket")

// scan finds what a frame is and whose, past a payload that it does not decode:
// that it is JSON, and text, is all it makes sure of, for a client gives up its
// whole socket over a frame that is not.
func scan(data []byte) (frame, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return frame{}, errGarbage
	}
	rest := bytes.TrimLeft(data, " \t\r\n")
	if len(rest) == 0 || rest[0] != '{' {
		return frame{}, errGarbage
	}
	var f frame
	for rest = space(rest[1:]); len(rest) > 0 && rest[0] != '}'; rest = space(rest) {
		n := skip(rest)
		key := rest[:n]
		rest = space(rest[n:])[1:] // the colon
		rest = space(rest)
		n = skip(rest)
		value := rest[:n]
		rest = space(rest[n:])
		if len(rest) > 0 && rest[0] == ',' {
			rest = rest[1:]
		}
		into := &f.kind
		switch string(key) {
		case `"type"`:
		case `"id"`:
			into = &f.id
		case `"payload"`:
			if string(value) != "null" {
				f.payload = value
			}
			continue
		default:
			continue
		}
		if value[0] == '"' && json.Unmarshal(value, into) != nil {
			return frame{}, errGarbage
		}
	}
	if f.kind == "" {
		return frame{}, errGarbage
	}
	return f, nil
}

func space(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// skip is how long the JSON value is with which b begins; b is valid JSON, or
// what is left of it.
func skip(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of what holds a bare value
				return i
			}
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}

// errorsOf makes of an error message's payload what the subprotocol has: a list,
// where Hasura says an object or a text. The older protocol's clients take
// Hasura's as it is.
func errorsOf(payload json.RawMessage, legacy bool) json.RawMessage {
	switch {
	case payload == nil:
		payload = json.RawMessage(`{"message":"the upstream ended this operation with an error"}`)
	case payload[0] == '"':
		payload = append(append(json.RawMessage(`{"message":`), payload...), '}')
	}
	if legacy {
		return payload
	}
	if payload[0] != '[' {
		var said struct {
			Errors json.RawMessage `json:"errors"`
		}
		if json.Unmarshal(payload, &said) == nil && len(said.Errors) > 0 && said.Errors[0] == '[' {
			payload = said.Errors
		} else {
			payload = append(append(json.RawMessage(`[`), payload...), ']')
		}
	}
	return messages(payload)
}

// messages is a list of errors that each have a message: over one without, or an
// empty list, a client gives up its whole socket.
func messages(list json.RawMessage) json.RawMessage {
	var all []json.RawMessage
	if json.Unmarshal(list, &all) != nil || len(all) == 0 {
		all = []json.RawMessage{json.RawMessage("null")}
	}
	whole := true
	for i, one := range all {
		var is struct {
			Message     *string
			Error, Code string
		}
		if json.Unmarshal(one, &is) == nil && is.Message != nil {
			continue
		}
		whole = false
		said := map[string]any{"message": cmp.Or(is.Error, "the upstream ended this operation with an error")}
		if is.Code != "" {
			said["extensions"] = map[string]any{"code": is.Code}
		}
		all[i], _ = json.Marshal(said) //nolint:errchkjson // texts
	}
	if whole {
		return list
	}
	out, _ := json.Marshal(all) //nolint:errchkjson // it was read as JSON
	return out
}
