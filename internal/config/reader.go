package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader takes variables one by one and collects mistakes and rows.
type reader struct {
	env  func(string) string
	mode Mode
	errs []error
	rows []Row
}

func (r *reader) take(name, def, meaning string) string {
	r.rows = append(r.rows, Row{name, def, meaning})
	if v := strings.TrimSpace(r.env(name)); v != "" {
		return v
	}
	return def
}

func (r *reader) bad(name, what string) { r.errs = append(r.errs, fmt.Errorf("%s %s", name, what)) }

func (r *reader) number(name string, def, least, most int, meaning string) int {
	n, err := strconv.Atoi(r.take(name, strconv.Itoa(def), meaning))
	if err != nil || n < least || n > most {
		r.bad(name, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return n
}

func (r *reader) duration(name, def string, least, most time.Duration, meaning string) time.Duration {
	d, err := time.ParseDuration(r.take(name, def, meaning))
	if err != nil || d < least || d > most {
		r.bad(name, fmt.Sprintf("must be a duration such as %s, from %s to %s", def, least, most))
	}
	return d
}

func (r *reader) choice(name, def, meaning string, among ...string) string {
	v := r.take(name, def, meaning)
	if slices.Contains(among, v) {
		return v
	}
	r.bad(name, "must be one of "+strings.Join(among, ", "))
	return def
}

func (r *reader) flag(name, def, meaning string) bool {
	return r.choice(name, def, meaning, "on", "off") == "on"
}

func (r *reader) list(name, def, meaning string) []string {
	var out []string
	for s := range strings.SplitSeq(r.take(name, def, meaning), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (r *reader) url(name, meaning string, schemes ...string) string {
	v := r.take(name, "", meaning)
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme) {
		return v
	}
	r.bad(name, "must be a URL beginning with "+strings.Join(schemes, ":// or ")+"://")
	return ""
}
