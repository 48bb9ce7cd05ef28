package wsock

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/99designs/gqlgen/graphql"

	"github.com/nself-org/nchat-realtime/internal/limit"
)

// longestID bounds an operation's id, which each of its messages repeats.
const longestID = 1024

// message is what a peer sends, its keys exactly as the protocols spell them.
type message struct {
	id      string
	hasID   bool
	kind    string
	payload json.RawMessage // nil: absent or null
	bytes   int             // of a message that may have to wait
}

// parse reads one message. Anything but one object with a type is an error.
func parse(data []byte) (message, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
		return message{}, fmt.Errorf("not a JSON object")
	}
	var m message
	if !isString(raw["type"], &m.kind) {
		return m, fmt.Errorf("type must be a string")
	}
	if id := raw["id"]; isSet(id) {
		if m.hasID = isString(id, &m.id); !m.hasID || len(m.id) > longestID {
			return m, fmt.Errorf("id must be a string of at most %d bytes", longestID)
		}
	}
	if payload := raw["payload"]; isSet(payload) {
		m.payload = payload
	}
	return m, nil
}

// isSet says whether a member is there: null and absence are the same.
func isSet(raw json.RawMessage) bool { return raw != nil && string(raw) != "null" }

func isString(raw json.RawMessage, into *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, into) == nil
}

// object reads a payload that may be absent or null; false: it is neither that
// nor an object.
func object(raw json.RawMessage) (map[string]any, bool) {
	if raw == nil {
		return nil, true
	}
	var m map[string]any
	return m, json.Unmarshal(raw, &m) == nil
}

func subscribeParams(m message) (*graphql.RawParams, bool) {
	if !m.hasID || m.id == "" || m.payload == nil {
		return nil, false
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(m.payload, &raw) != nil || raw == nil {
		return nil, false
	}
	p := &graphql.RawParams{ReadTime: graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}}
	if name := raw["operationName"]; isSet(name) && !isString(name, &p.OperationName) {
		return nil, false
	}
	var ok bool
	if p.Variables, ok = variables(raw["variables"]); !ok {
		return nil, false
	}
	extensions := raw["extensions"]
	if !isSet(extensions) {
		extensions = nil
	}
	if p.Extensions, ok = limit.Extensions(extensions); !ok {
		return nil, false
	}
	_, persisted := p.Extensions["persistedQuery"] // may stand for the query
	return p, isString(raw["query"], &p.Query) || persisted && !isSet(raw["query"])
}

// variables are read with numbers kept as they were written.
func variables(raw json.RawMessage) (m map[string]any, ok bool) {
	if raw == nil {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return m, d.Decode(&m) == nil
}

func connectionError(text string, extensions map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"type": "connection_error", "payload": map[string]any{"message": text, "extensions": extensions}})
	if err != nil {
		return []byte(`{"type":"connection_error","payload":{"message":"internal error"}}`)
	}
	return b
}
