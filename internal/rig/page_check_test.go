package rig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines are what two pages wrote, as the process of Node does: each was told six messages
// of channel "c", three of each. Ann's fourth was answered before she was told the third;
// for a while she was not there.
const lines = `
{"at":1000,"page":0,"kind":"there","socket":1}
{"at":1001,"page":0,"kind":"base","channel":"c","seq":0}
{"at":1002,"page":1,"kind":"there","socket":2}
{"at":1003,"page":1,"kind":"base","channel":"c","seq":0}
{"at":1010,"page":0,"kind":"created","channel":"c","seq":1,"id":"m1","version":1,"own":true}
{"at":1011,"page":0,"kind":"sent","key":"k1","channel":"c","seq":1,"id":"m1","here":true,"began":1005,"place":1}
{"at":1012,"page":1,"kind":"created","channel":"c","seq":1,"id":"m1","version":1,"own":false}
{"at":1020,"page":1,"kind":"created","channel":"c","seq":2,"id":"m2","version":1,"own":true}
{"at":1021,"page":1,"kind":"sent","key":"k2","channel":"c","seq":2,"id":"m2","here":true,"began":1015,"place":1}
{"at":1022,"page":0,"kind":"created","channel":"c","seq":2,"id":"m2","version":1,"own":false}
{"at":1030,"page":1,"kind":"created","channel":"c","seq":3,"id":"m3","version":1,"own":true}
{"at":1031,"page":0,"kind":"created","channel":"c","seq":4,"id":"m4","version":1,"own":true}
{"at":1031,"page":1,"kind":"sent","key":"k3","channel":"c","seq":3,"id":"m3","here":true,"began":1024,"place":2}
{"at":1032,"page":0,"kind":"sent","key":"k4","channel":"c","seq":4,"id":"m4","here":true,"began":1025,"place":2}
{"at":1040,"page":0,"kind":"gone","alive":1032}
{"at":1041,"page":1,"kind":"created","channel":"c","seq":4,"id":"m4","version":1,"own":false}
{"at":1042,"page":1,"kind":"created","channel":"c","seq":5,"id":"m5","version":1,"own":true}
{"at":1043,"page":1,"kind":"sent","key":"k5","channel":"c","seq":5,"id":"m5","here":true,"began":1036,"place":3}
{"at":1050,"page":0,"kind":"there","socket":3}
{"at":1051,"page":0,"kind":"created","channel":"c","seq":3,"id":"m3","version":1,"own":false}
{"at":1052,"page":0,"kind":"created","channel":"c","seq":5,"id":"m5","version":1,"own":false}
{"at":1053,"page":0,"kind":"created","channel":"c","seq":6,"id":"m6","version":1,"own":true}
{"at":1054,"page":0,"kind":"sent","key":"k6","channel":"c","seq":6,"id":"m6","here":true,"began":1040,"place":3}
{"at":1055,"page":1,"kind":"created","channel":"c","seq":6,"id":"m6","version":1,"own":false}
{"at":1060,"page":0,"kind":"updated","channel":"c","seq":2,"id":"m2","version":2,"own":false}
{"at":1061,"page":1,"kind":"updated","channel":"c","seq":2,"id":"m2","version":2,"own":true}
`

// judged is what the checker makes of lines, and the odd things in them.
func judged(t *testing.T, text string) (Verdict, map[string]int) {
	t.Helper()
	r := &rig{t: t, size: size{pages: 2}, odds: map[string]int{}, last: map[string]Ack{}}
	r.open, r.h.Members = map[string]time.Time{}, map[string][]string{}
	r.pages = &pages{r: r, sockets: map[int]*pageSocket{}}
	for socket := range 4 {
		r.pages.sockets[socket] = &pageSocket{of: &count{}}
	}
	for i := range 2 {
		x := r.newPage(i, 1)
		r.pages.list, r.h.Clients = append(r.pages.list, x), append(r.h.Clients, x.told)
		r.h.Members["c"] = append(r.h.Members["c"], x.user)
	}
	r.pages.follow(strings.NewReader(strings.TrimSpace(text)))
	defer r.pages.still()()
	for i, by := range []int{0, 1, 1, 0, 1, 0} {
		r.h.Rows = append(r.h.Rows, Row{fmt.Sprint("k", i+1), "c", userID(by).String(), fmt.Sprint("m", i+1), int64(i + 1), 1})
	}
	r.h.Rows[1].Version = 2
	return Check(&r.h), r.odds
}

func TestWhatPagesWroteIsFoundGood(t *testing.T) {
	t.Parallel()
	v, odds := judged(t, lines)
	if len(v.Violations) > 0 || len(odds) > 0 || v.Events != 14 || v.Acked != 6 || v.Lost+v.Doubled+v.Reordered+v.Resets != 0 {
		t.Errorf("%+v; %v", v, odds)
	}
}

// TestEachBreachOfAPageIsFound: a client in TypeScript that breaks a promise, and the
// invariant that sees it.
func TestEachBreachOfAPageIsFound(t *testing.T) {
	t.Parallel()
	// one is the place of the line of a page, of a kind and with a number.
	one := func(list []string, page int, kind string, seq int) int {
		return slices.IndexFunc(list, func(s string) bool {
			var l line
			return json.Unmarshal([]byte(s), &l) == nil && l.Page == page && l.Kind == kind && l.Seq == int64(seq)
		})
	}
	without := func(page int, kind string, seq int) func([]string) []string {
		return func(list []string) []string {
			i := one(list, page, kind, seq)
			return slices.Delete(list, i, i+1)
		}
	}
	twice := func(page, seq int) func([]string) []string {
		return func(list []string) []string { return append(list, list[one(list, page, "created", seq)]) }
	}
	with := func(page int, kind string, seq int, old, now string) func([]string) []string {
		return func(list []string) []string {
			i := one(list, page, kind, seq)
			list[i] = strings.Replace(list[i], old, now, 1)
			return list
		}
	}
	swapped := func(page int, kind string, a, b int) func([]string) []string {
		return func(list []string) []string {
			i, j := one(list, page, kind, a), one(list, page, kind, b)
			list[i], list[j] = list[j], list[i]
			return list
		}
	}
	for name, c := range map[string]struct {
		invariant string
		breach    func([]string) []string
	}{
		"one of another's is lost":             {"I1", without(0, "created", 2)},
		"one of its own is lost":               {"I1", without(0, "created", 4)},
		"the last is lost":                     {"I1", without(1, "created", 6)},
		"a change is lost":                     {"I1", without(0, "updated", 2)},
		"one of another's is told twice":       {"I2", twice(1, 4)},
		"one of its own is told twice":         {"I2", twice(0, 4)},
		"told in another order":                {"I1", swapped(0, "created", 3, 5)},
		"its own is told after what follows":   {"I1", swapped(1, "created", 3, 4)},
		"sent, and not shown":                  {"I4", with(0, "sent", 4, `"here":true`, `"here":false`)},
		"sent, and another's key":              {"I1", with(0, "sent", 4, `"key":"k4"`, `"key":"k9"`)},
		"sent, and another number":             {"I1", with(0, "sent", 4, `"seq":4`, `"seq":7`)},
		"queued before, and has a later place": {"I3", with(1, "sent", 3, `"place":2`, `"place":9`)},
		"a fresh start for nothing": {"I12", func(list []string) []string {
			return append(list, `{"page":0,"kind":"reset"}`, `{"page":0,"kind":"base","channel":"c","seq":6}`)
		}},
	} {
		v, _ := judged(t, strings.Join(c.breach(strings.Split(strings.TrimSpace(lines), "\n")), "\n"))
		if !slices.ContainsFunc(v.Violations, func(x Violation) bool { return x.Invariant == c.invariant }) {
			t.Errorf("%s: %s does not see it: %v", name, c.invariant, v.Violations)
		}
	}
	for _, odd := range []string{`{"page":0,"kind":"odd","what":"message m1 is deleted"}`, `{"page":0,"kind":"failed","key":"k9","what":"the queue: access-denied"}`, `no line`} {
		if _, odds := judged(t, lines+odd); len(odds) != 1 {
			t.Errorf("%s: %v", odd, odds)
		}
	}
}
