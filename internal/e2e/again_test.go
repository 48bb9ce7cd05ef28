package e2e

import (
	"strings"
	"testing"
	"time"
)

// provoked says something, and again each second, until c tells text. What somebody types, or
// that they are active, holds for seconds: a slow machine may come too late to tell it.
func provoked(t testing.TB, c <-chan result, text string, say func()) result {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.After(patient)
	say()
	for {
		select {
		case r := <-c:
			if strings.Contains(r.String(), text) {
				return r
			}
		case <-tick.C:
			say()
		case <-end:
			t.Fatal("never told: " + text)
		}
	}
}

// insisting is provoked for what is asked, and not told. It is asked first.
func insisting(t testing.TB, what string, say func(), ok func() bool) {
	t.Helper()
	var said time.Time
	eventually(t, what, func() bool {
		if ok() {
			return true
		}
		if time.Since(said) > time.Second {
			say()
			said = time.Now()
		}
		return false
	})
}

// answers is what is wrong, if what comes next has no such text, or the socket ends before.
func (s *sock) answers(c <-chan result, text string) (why string) {
	s.t.Helper()
	select {
	case r := <-c:
		if !strings.Contains(r.String(), text) {
			return "no " + text + " in " + r.String()
		}
		return ""
	case e := <-s.closed:
		s.closed <- e
		return e.Error() + ", instead of " + text
	case <-time.After(patient):
		s.t.Fatal("neither an answer nor an end")
	}
	panic("unreachable")
}

// inTime does what must be done while tokens of a ttl hold; why says what was wrong. On a
// machine too slow for it there is another try, with tokens that hold longer.
func inTime(t testing.TB, ttl time.Duration, do func(ttl time.Duration) (why string)) {
	t.Helper()
	for ; ; ttl *= 3 {
		began := time.Now()
		why, took := do(ttl), time.Since(began)
		if took < ttl-time.Second { // a token's times are whole seconds
			if why != "" {
				t.Fatal(why)
			}
			return
		}
		if ttl > patient {
			t.Fatal("never in time, and at last:", why)
		}
		t.Logf("%v is too long for tokens of %v; %s", took, ttl, why)
	}
}
