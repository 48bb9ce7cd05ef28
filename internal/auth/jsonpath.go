package auth

import (
	"errors"
	"strconv"
	"strings"
)

// jsonPath is a path as Hasura's configuration writes it: $, $.a.b-c, $['a'],
// $["a"], $.list[0]. It leads to one place: JSONPath's searches are not among
// it, which could find a claim where nobody meant it to be.
type jsonPath struct {
	text  string
	steps []pathStep
}

type pathStep struct {
	key     string
	index   int
	isIndex bool
}

var errJSONPath = errors.New("not a JSON path such as $.a.b or $['a']")

func parseJSONPath(text string) (*jsonPath, error) {
	p := &jsonPath{text: text}
	rest, rooted := strings.CutPrefix(text, "$")
	if !rooted {
		return nil, errJSONPath
	}
	for rest != "" {
		var s pathStep
		var ok bool
		switch rest[0] {
		case '.':
			s, rest, ok = plainStep(rest[1:])
		case '[':
			s, rest, ok = bracketStep(rest[1:])
		}
		if !ok {
			return nil, errJSONPath
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

// plainStep reads a bare name: letters, digits, "_", "$" and inner "-".
func plainStep(s string) (step pathStep, rest string, ok bool) {
	n := strings.IndexAny(s, ".[")
	if n < 0 {
		n = len(s)
	}
	for i, c := range s[:n] {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '$'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '-')) {
			return pathStep{}, "", false
		}
	}
	return pathStep{key: s[:n]}, s[n:], n > 0
}

// bracketStep reads what follows "[": an index, or a quoted name in which a
// backslash makes the next character itself.
func bracketStep(s string) (step pathStep, rest string, ok bool) {
	if s == "" {
		return pathStep{}, "", false
	}
	if q := s[0]; q == '\'' || q == '"' {
		var key strings.Builder
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] == '\\' && i+1 < len(s):
				i++
				key.WriteByte(s[i])
			case s[i] == q:
				rest, ok = strings.CutPrefix(s[i+1:], "]")
				return pathStep{key: key.String()}, rest, ok
			default:
				key.WriteByte(s[i])
			}
		}
		return pathStep{}, "", false
	}
	digits, rest, ok := strings.Cut(s, "]")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return pathStep{}, "", false
	}
	return pathStep{index: int(n), isIndex: true}, rest, ok
}

// String is the path as it was written.
func (p *jsonPath) String() string { return p.text }

// find follows the path into v.
func (p *jsonPath) find(v any) (any, bool) {
	for _, s := range p.steps {
		if s.isIndex {
			list, ok := v.([]any)
			if !ok || s.index >= len(list) {
				return nil, false
			}
			v = list[s.index]
			continue
		}
		o, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = o[s.key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// put writes v at the path below o, making the objects on the way. It cannot
// pass through a list or through what is no object, and not replace the root.
func (p *jsonPath) put(o map[string]any, v any) bool {
	for i, s := range p.steps {
		if s.isIndex {
			return false
		}
		if i == len(p.steps)-1 {
			o[s.key] = v
			return true
		}
		next, ok := o[s.key].(map[string]any)
		if !ok {
			if _, taken := o[s.key]; taken {
				return false
			}
			next = map[string]any{}
			o[s.key] = next
		}
		o = next
	}
	return false
}
