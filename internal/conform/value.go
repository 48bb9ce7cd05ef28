package conform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// value is a piece of an answer.
type value struct{ v any }

func parse(raw []byte) (value, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return value{}, fmt.Errorf("no JSON: %w", err)
	}
	return value{v}, nil
}

// at goes down by names and places, as "presences.0.status"; what is not there is null.
func (v value) at(path string) value {
	for name := range strings.SplitSeq(path, ".") {
		switch in := v.v.(type) {
		case map[string]any:
			v = value{in[name]}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return value{}
			}
			v = value{in[i]}
		default:
			return value{}
		}
	}
	return v
}

// String is a text as it is, and anything else as JSON.
func (v value) String() string {
	if s, ok := v.v.(string); ok {
		return s
	}
	return v.json()
}

func (v value) json() string {
	b, err := json.Marshal(v.v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (v value) null() bool { return v.v == nil }

func (v value) list() []value {
	in, _ := v.v.([]any)
	out := make([]value, len(in))
	for i := range in {
		out[i] = value{in[i]}
	}
	return out
}

// num is a whole number, or -1.
func (v value) num() int {
	n, err := strconv.Atoi(v.String())
	if err != nil {
		return -1
	}
	return n
}

// each collects what stands at a path of every entry.
func (v value) each(path string) (all []string) {
	for _, e := range v.list() {
		all = append(all, e.at(path).String())
	}
	return all
}

// one is the entry of a list that has this text at a path; null: none.
func (v value) one(path, text string) value {
	for _, e := range v.list() {
		if e.at(path).String() == text {
			return e
		}
	}
	return value{}
}
