package main

import (
	"fmt"
	"time"
)

// goal is what a run is held to in words; no test depends on it.
type goal struct {
	what string
	got  float64
	most float64
	unit string
}

func (g goal) String() string {
	is := "missed"
	if g.got <= g.most {
		is = "reached"
	}
	return fmt.Sprintf("| %s | %.2f%s | %.2f%s | %s |", g.what, g.got, g.unit, g.most, g.unit, is)
}

// goals are those of a load of messages, by what each peer did.
func (l roomsOf) goals(by map[string]delivered) (all []goal) {
	over := func(kind string) float64 { return float64(by[kindOurs].cpu) / float64(max(by[kind].cpu, 1)) }
	p99 := func(kind string) float64 { return float64(at(by[kind].took, 99)) / float64(time.Millisecond) }
	name := fmt.Sprintf("%d rooms of %d, %d messages a second", l.rooms, l.each, l.rate)
	ours := by[kindOurs]
	all = append(all, goal{name + ": not delivered", 100 * (1 - float64(ours.n)/float64(ours.due)), 0, " %"})
	if l.rooms == 1 {
		return append(all, goal{name + ": CPU to stock gqlgen's", over(kindStock), 1 / 3.5, ""}, goal{name + ": CPU to raw sockets'", over(kindRaw), 1.25, ""},
			goal{name + ": resident a socket", float64(ours.resident) / float64(l.each) / 1024, 20, " KiB"})
	}
	all = append(all, goal{name + ": p99", p99(kindOurs), 50, " ms"})
	if _, ran := by[kindCentrifuge]; ran {
		all = append(all, goal{name + ": p99 of ours against Centrifuge's", p99(kindOurs), p99(kindCentrifuge), " ms"})
	}
	return all
}
