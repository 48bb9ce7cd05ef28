package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// mostOver is what a server may hold over what it held at rest.
const mostOver = 300 << 20

// outcome is what came of an attack.
type outcome struct {
	quiet, attacked, after figures
	rest, most             int64 // bytes that the server holds; 0: not known
	got                    map[string]int
	times                  [4]time.Duration // p99s: answers quiet and attacked, deliveries quiet and attacked
}

// together is several as one: medians of times, the worst of all else.
func together(all []outcome) outcome {
	sum := all[0]
	for i := range sum.times {
		var d []time.Duration
		for _, o := range all {
			d = append(d, []time.Duration{p99(o.quiet.answers), p99(o.attacked.answers), p99(o.quiet.deliveries), p99(o.attacked.deliveries)}[i])
		}
		slices.Sort(d)
		sum.times[i] = d[len(d)/2]
	}
	for _, o := range all[1:] {
		sum.attacked.offline = max(sum.attacked.offline+sum.after.offline, o.attacked.offline+o.after.offline)
		sum.after.offline = 0
		sum.attacked.wrong = merged(sum.attacked.wrong, o.attacked.wrong)
		sum.after.wrong = merged(sum.after.wrong, o.after.wrong)
		if o.most-o.rest > sum.most-sum.rest {
			sum.most, sum.rest = o.most, o.rest
		}
	}
	return sum
}

func merged(a, b map[string]int) map[string]int {
	sum := maps.Clone(a)
	for what, n := range b {
		sum[what] += n
	}
	return sum
}

func (o outcome) wrong() map[string]int { return merged(o.attacked.wrong, o.after.wrong) }

func (o outcome) offline() int { return o.attacked.offline + o.after.offline }

// verdict is why it may not be so; "": it may.
func (o outcome) verdict() string {
	var why []string
	if n := o.offline(); n > 0 {
		why = append(why, fmt.Sprintf("seen offline %d times", n))
	}
	if w := o.wrong(); len(w) > 0 {
		why = append(why, "errors: "+tally(w))
	}
	if over := o.most - o.rest; over > mostOver {
		why = append(why, fmt.Sprintf("%d MB over rest", over>>20))
	}
	if len(o.quiet.answers) == 0 || len(o.attacked.answers) == 0 || len(o.attacked.deliveries) == 0 {
		why = append(why, "nothing was measured")
	}
	return strings.Join(why, ", ")
}

const heading = `| attack | dose | what the attacker got | others' answers, p99: quiet, attacked | their messages, p99: quiet, attacked | seen offline | their errors | memory over rest |
|---|---|---|---|---|---|---|---|
`

func (o outcome) row(a attack) string {
	wrong := "0"
	if w := o.wrong(); len(w) > 0 {
		wrong = tally(w)
	}
	memory := "?"
	if o.most > 0 {
		memory = fmt.Sprintf("%d MB", max(o.most-o.rest, 0)>>20)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s, %s | %s, %s | %d | %s | %s |", a.name, a.dose, tally(o.got),
		ms(o.times[0]), ms(o.times[1]), ms(o.times[2]), ms(o.times[3]), o.offline(), wrong, memory)
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
