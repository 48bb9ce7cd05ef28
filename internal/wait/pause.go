package wait

import "context"

type pauseKey struct{}

// WithPause says what whoever works in ctx holds that others wait for: pause
// gives it back, and what it answers takes it again.
func WithPause(ctx context.Context, pause func() (resume func(context.Context) error)) context.Context {
	return context.WithValue(ctx, pauseKey{}, pause)
}

// Pause gives back what is held in ctx before a long wait for nothing but news.
// resume takes it again; its error is ctx's end. Not for two at the same time.
func Pause(ctx context.Context) (resume func(context.Context) error) {
	if pause, ok := ctx.Value(pauseKey{}).(func() func(context.Context) error); ok {
		return pause()
	}
	return func(context.Context) error { return nil }
}
