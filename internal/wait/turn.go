package wait

import "context"

// Turn has whoever is about to work wait until it may; done says that it has
// worked. Errors: ctx's. nil: everybody may at once. Whoever has one waits for
// nothing but its work: not for news, not for a reader, not for another turn.
type Turn func(ctx context.Context) (done func(), err error)

// Do is work, in a turn. Errors: work's, and ctx's where no turn came.
func (t Turn) Do(ctx context.Context, work func() error) error {
	if t == nil {
		return work()
	}
	done, err := t(ctx)
	if err != nil {
		return err
	}
	defer done()
	return work()
}

// InTurn is Do of work that has a result.
func InTurn[T any](ctx context.Context, t Turn, work func() (T, error)) (out T, err error) {
	err = t.Do(ctx, func() (err error) {
		out, err = work()
		return err
	})
	return out, err
}
