package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxJSONDepth is deeper than any claim.
const maxJSONDepth = 32

var (
	errNotObject = errors.New("not a JSON object")
	errDuplicate = errors.New("a key stands there twice")
	errDepth     = errors.New("nested too deeply")
)

// decodeObject reads one JSON object and nothing after it. Two readers must not
// see two things in it: a key that stands twice in one object, at any depth, is
// an error (RFC 7519, section 4), and so is text that is not UTF-8. Numbers stay
// json.Number. Errors quote nothing of the input.
func decodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errNotObject
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errNotObject
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	return o, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, errDepth
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, errNotObject
	}
	switch tok {
	case json.Delim('{'):
		return decodeFields(dec, depth)
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, closing(dec)
	}
	return tok, nil
}

func decodeFields(dec *json.Decoder, depth int) (any, error) {
	o := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return nil, errNotObject
		}
		if _, twice := o[key]; twice {
			return nil, errDuplicate
		}
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o[key] = v
	}
	return o, closing(dec)
}

func closing(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return errNotObject
	}
	return nil
}
