// Package conform tells from outside whether a server keeps the contract, the
// protocols and the privacy rules: it is a client like any other, of three users
// of the demo world, and reports in TAP.
package conform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Options say what to look at.
type Options struct {
	URL     string         // of GraphQL over HTTP
	WSURL   string         // over WebSocket; default: URL's
	Tokens  [3]string      // alice's, bob's and carol's
	Only    *regexp.Regexp // of the checks' names; nil: all
	Timeout time.Duration  // of one check; default 20 s
	Out     io.Writer      // for TAP
}

// Report is how it went. Nothing is left of the run on the server but deleted
// messages, and read marks that have moved on.
type Report struct{ OK, Failed, Skipped int }

const defaultTimeout = 20 * time.Second

// env is what the checks share.
type env struct {
	url, ws string
	timeout time.Duration
	http    *http.Client
	users   [3]*user
	config  value   // realtimeConfig
	mute    *socket // says nothing from the beginning; for the init timeout
	key     int     // of messages
	went    []value // what bob was told as alice went invisible
	run     string  // tells this run's messages from others'
}

// Names are all the checks there are, in their order.
func Names() (names []string) {
	for _, s := range sections() {
		for _, c := range s.checks {
			names = append(names, c.name)
		}
	}
	return names
}

// Run goes through the checks, one after another. An error: they could not be
// run, and nothing is said of the server.
func Run(ctx context.Context, o Options) (Report, error) {
	e := &env{url: o.URL, ws: o.WSURL, timeout: o.Timeout, run: fmt.Sprintf("conform-%d", time.Now().UnixNano())}
	if e.timeout <= 0 {
		e.timeout = defaultTimeout
	}
	if e.ws == "" {
		e.ws = "ws" + strings.TrimPrefix(e.url, "http")
	}
	e.http = &http.Client{Timeout: e.timeout}
	defer e.http.CloseIdleConnections()
	for i, name := range []string{"alice", "bob", "carol"} {
		e.users[i] = &user{name: name, id: person(i + 1), token: o.Tokens[i]}
	}
	todo, n := chosen(o.Only)
	if n == 0 {
		return Report{}, errors.New("no check has such a name")
	}
	base := e.fresh(ctx)
	if _, err := attempt(base, func(c *C) { e.begin(c) }); err != nil {
		return Report{}, errors.Join(err, leave(ctx, base))
	}
	t := newTap(o.Out, n)
	for _, s := range todo {
		e.section(ctx, s, t)
	}
	if err := leave(ctx, base); err != nil {
		return t.report, err
	}
	return t.report, t.err
}

// chosen are the sections with the checks that were asked for.
func chosen(only *regexp.Regexp) (todo []section, n int) {
	for _, s := range sections() {
		in := section{enter: s.enter}
		for _, c := range s.checks {
			if only == nil || only.MatchString(c.name) {
				in.checks = append(in.checks, c)
			}
		}
		if n += len(in.checks); len(in.checks) > 0 {
			todo = append(todo, in)
		}
	}
	return todo, n
}

func (e *env) fresh(ctx context.Context) *C {
	return &C{ctx: ctx, e: e, alice: e.users[0], bob: e.users[1], carol: e.users[2]}
}

// section runs checks on what they stand on.
func (e *env) section(ctx context.Context, s section, t *tap) {
	ground := e.fresh(ctx)
	var broken error
	if s.enter != nil {
		within, cancel := context.WithTimeout(ctx, e.timeout)
		defer cancel()
		ground.ctx = within
		_, broken = attempt(ground, s.enter)
	}
	for _, k := range s.checks {
		if broken != nil {
			t.line(k.name, 0, fmt.Errorf("what it stands on: %w", broken), "")
			continue
		}
		e.check(ctx, k, t)
	}
	if err := leave(ctx, ground); err != nil {
		t.diagnose(err)
	}
}

func (e *env) check(ctx context.Context, k check, t *tap) {
	within, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	c := e.fresh(within)
	began := time.Now()
	why, err := attempt(c, k.run)
	if left := leave(ctx, c); err == nil {
		err = left
	}
	t.line(k.name, time.Since(began), err, why)
}
