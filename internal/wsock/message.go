package wsock

import (
	"encoding/json"
	"fmt"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// longestID bounds an operation's id, which each of its messages repeats.
const longestID = 1024

// message is what a peer sends, its keys exactly as the protocols spell them.
type message struct {
	id      string
	hasID   bool
	kind    string
	payload json.RawMessage // nil: absent or null; part of the message
	bytes   int             // of the message
}

// parse reads one message. Anything but one object with a type is an error.
func parse(data []byte) (message, error) {
	var m message
	members, ok := limit.Members(data, "type", "id", "payload")
	if !ok {
		return m, fmt.Errorf("not a JSON object")
	}
	if !isString(members[0], &m.kind) {
		return m, fmt.Errorf("type must be a string")
	}
	if id := members[1]; id != nil {
		if m.hasID = isString(id, &m.id); !m.hasID || len(m.id) > longestID {
			return m, fmt.Errorf("id must be a string of at most %d bytes", longestID)
		}
	}
	m.payload = members[2]
	return m, nil
}

func isString(raw json.RawMessage, into *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, into) == nil
}

// object decodes a payload that is one, or absent.
func object(raw json.RawMessage) (m map[string]any) {
	if raw != nil {
		_ = json.Unmarshal(raw, &m)
	}
	return m
}

func connectionError(text string, extensions map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"type": "connection_error", "payload": map[string]any{"message": text, "extensions": extensions}})
	if err != nil {
		return []byte(`{"type":"connection_error","payload":{"message":"internal error"}}`)
	}
	return b
}
