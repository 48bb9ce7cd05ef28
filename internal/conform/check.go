package conform

import (
	"context"
	"fmt"
	"time"
)

// check is one line of the report.
type check struct {
	name string
	run  func(c *C)
}

// section are checks in their order, and what they all stand on.
type section struct {
	enter  func(c *C) // nil: nothing; what it does is undone after the last check
	checks []check
}

// C is what a check works with. A check ends where it fails.
type C struct {
	ctx   context.Context //nolint:containedctx // a check is its lifetime
	e     *env
	undo  []func(*C)
	alice *user
	bob   *user
	carol *user
}

// failure ends a check; skipped ends one that cannot be judged here.
type (
	failure string
	skipped string
)

func (c *C) failf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func skip(format string, args ...any) { panic(skipped(fmt.Sprintf(format, args...))) }

// same fails unless both are the same, as text.
func (c *C) same(what string, got, want any) {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		c.failf("%s: got %s, want %s", what, brief(g), brief(w))
	}
}

// that fails unless it is so.
func (c *C) that(ok bool, format string, args ...any) {
	if !ok {
		c.failf(format, args...)
	}
}

// cleanup undoes something after the check, the last one first.
func (c *C) cleanup(f func(*C)) { c.undo = append(c.undo, f) }

// pause waits for what the server said to wait for.
func (c *C) pause(d time.Duration, what string) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
		c.failf("no time left while waiting for %s", what)
	}
}

// again is how often something is asked anew that comes in its own time.
const again = 60 * time.Millisecond

// eventually asks until the answer is as it should be, and hands it on.
func (c *C) eventually(u *user, what string, is func(value) bool, format string, args ...any) value {
	for {
		v := c.ask(u, format, args...)
		if is(v) {
			return v
		}
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			c.failf("never: %s; last was %s", what, brief(v.json()))
		}
	}
}

// attempt runs a part of a check; why: it could not be judged.
func attempt(c *C, f func(*C)) (why string, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s", string(p))
		case skipped:
			why = string(p)
		default:
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	f(c)
	return "", nil
}

// leave undoes what was done, all of it, whatever fails.
func leave(parent context.Context, c *C) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), c.e.timeout)
	defer cancel()
	c.ctx = ctx
	for len(c.undo) > 0 {
		last := c.undo[len(c.undo)-1]
		c.undo = c.undo[:len(c.undo)-1]
		if _, failed := attempt(c, last); failed != nil && err == nil {
			err = fmt.Errorf("putting back: %w", failed)
		}
	}
	return err
}
