// Package sweep has what is past its time forgotten: by one node at a time, in
// small batches, with a pause after each as long as the batch took.
//
// What is past its time, its owner decides. The package owns the table sweeps of
// the schema realtime, which says whose turn it is and when the last one ended.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

// Task forgets what is past its time in one table.
type Task struct {
	Of string // what is forgotten, as a metric's label
	// Batch forgets up to most rows, in one short transaction that waits for
	// nobody, and answers how many there were: fewer than most, and all is done.
	Batch func(ctx context.Context, most int) (int, error)
}

// Long is how long what is left of a message or a user that is no more is kept:
// longer than a client's key, by which a message may be asked for.
const Long = 32 * 24 * time.Hour

const (
	every     = time.Minute
	most      = 1000             // rows in a batch
	turn      = 30 * time.Second // after it a node that has said nothing has lost its turn
	breath    = 5 * time.Millisecond
	batchTime = 20 * time.Second
)

// Options are what the package stands on.
type Options struct {
	Pool   *pgxpool.Pool
	Log    *slog.Logger
	Tasks  []Task
	Swept  func(of string, n int)   // may be nil: told of each batch
	Ended  func(took time.Duration) // may be nil: told of each turn of this node
	Failed func(of string)          // may be nil: told of each batch that failed
}

// Keeper runs tasks.
type Keeper struct {
	o     Options
	self  uuid.UUID
	renew time.Duration // how often it says that it is still at it
}

// New builds a keeper.
func New(o Options) *Keeper { return &Keeper{o, uuid.New(), turn / 6} }

// Run takes a turn every minute, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for wait.For(ctx, every) {
		if err := k.Turn(ctx); err != nil && ctx.Err() == nil {
			k.o.Log.WarnContext(ctx, "forgetting what is past its time", "error", err)
		}
	}
}

// Turn forgets all that is past its time now; nothing, where another node is at
// it. A task that fails is left for the next turn, and does not hold up the others.
func (k *Keeper) Turn(ctx context.Context) error {
	mine, err := k.take(ctx)
	if err != nil || !mine {
		return err
	}
	began, said := time.Now(), time.Now()
	rows, all := 0, error(nil)
	left := k.o.Tasks
	for len(left) > 0 && ctx.Err() == nil {
		var more []Task
		for _, t := range left {
			if time.Since(said) >= k.renew {
				if mine, err := k.take(ctx); err != nil || !mine {
					return errors.Join(all, err)
				}
				said = time.Now()
			}
			n, err := k.batch(ctx, t)
			if all = errors.Join(all, err); err == nil && n >= most {
				more = append(more, t)
			}
			rows += n
		}
		left = more
	}
	took := time.Since(began)
	if k.o.Ended != nil {
		k.o.Ended(took)
	}
	return errors.Join(all, k.give(context.WithoutCancel(ctx), rows, took, all))
}

// batch runs one batch of a task, and rests.
func (k *Keeper) batch(ctx context.Context, t Task) (int, error) {
	began := time.Now()
	one, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	n, err := t.Batch(one, most)
	if err != nil {
		if k.o.Failed != nil && ctx.Err() == nil {
			k.o.Failed(t.Of)
		}
		return 0, fmt.Errorf("%s: %w", t.Of, err)
	}
	if k.o.Swept != nil && n > 0 {
		k.o.Swept(t.Of, n)
	}
	wait.For(ctx, max(time.Since(began), breath))
	return n, nil
}

// take takes the turn, or keeps it; false: it is another node's.
func (k *Keeper) take(ctx context.Context) (bool, error) {
	const q = `
insert into realtime.sweeps as s (only_row, holder, until) values (true, $1, clock_timestamp() + $2::interval)
on conflict (only_row) do update set holder = excluded.holder, until = excluded.until
 where s.holder = excluded.holder or s.until < clock_timestamp() or s.until > clock_timestamp() + $2::interval`
	tag, err := k.o.Pool.Exec(ctx, q, k.self, turn)
	if err != nil {
		return false, fmt.Errorf("taking the turn: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// give gives the turn back and says how it went.
func (k *Keeper) give(ctx context.Context, rows int, took time.Duration, failed error) error {
	const q = `
update realtime.sweeps set until = '-infinity', ended_at = clock_timestamp(), forgot = $2, took = $3::interval, failed = $4 where holder = $1`
	var why *string
	if failed != nil {
		s := failed.Error()
		why = &s
	}
	ctx, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	if _, err := k.o.Pool.Exec(ctx, q, k.self, rows, took, why); err != nil {
		return fmt.Errorf("giving the turn back: %w", err)
	}
	return nil
}

// All runs tasks until nothing is past its time, whoever else is at it.
func All(ctx context.Context, tasks ...Task) error {
	for _, t := range tasks {
		for {
			n, err := t.Batch(ctx, most)
			if err != nil {
				return fmt.Errorf("%s: %w", t.Of, err)
			}
			if n < most {
				break
			}
		}
	}
	return nil
}

// Rows is a batch that one statement does: it gets most as its first parameter,
// then args. What it compares with an index is an instant that is known, `(select
// clock_timestamp() - …)`: clock_timestamp() is another one at each row, for which no
// index is asked.
func Rows(db postgres.DB, q string, args ...any) func(ctx context.Context, most int) (int, error) {
	return func(ctx context.Context, most int) (int, error) {
		tag, err := db.Exec(ctx, q, append([]any{most}, args...)...)
		if err != nil {
			return 0, fmt.Errorf("forgetting: %w", err)
		}
		return int(tag.RowsAffected()), nil
	}
}

// late is how long ago the last turn must have ended for something to be wrong,
// where a server has run for as long.
const late = 15 * time.Minute

// Last is how the last turn went, in words. The error says that nothing is
// forgotten although a server runs, or that something could not be.
func Last(ctx context.Context, db postgres.DB) (string, error) {
	const q = `
select (select max(extract(epoch from clock_timestamp() - n.started_at)) from realtime.nodes n where n.lease_until > clock_timestamp())::float8,
       extract(epoch from clock_timestamp() - s.ended_at)::float8, s.forgot, extract(epoch from s.took)::float8, s.failed
  from (select) x left join realtime.sweeps s on s.ended_at is not null`
	var up, ago, took *float64
	var rows *int64
	var failed *string
	if err := db.QueryRow(ctx, q).Scan(&up, &ago, &rows, &took, &failed); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("reading what was forgotten: %w", err)
	}
	running := up != nil && *up > late.Seconds()
	switch {
	case ago == nil && running:
		return "", errors.New("a server runs, and has never forgotten anything")
	case ago == nil:
		return "nothing was to be forgotten yet", nil
	case failed != nil:
		return "", fmt.Errorf("the last turn could not forget everything: %s", *failed)
	case running && *ago > late.Seconds():
		return "", fmt.Errorf("nothing was forgotten for %s", seconds(*ago))
	}
	return fmt.Sprintf("%d rows, %s ago, in %s", *rows, seconds(*ago), seconds(*took)), nil
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}
