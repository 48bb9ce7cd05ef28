// Package announce tells an app's own server of presence: a signed webhook that is
// told of each user's latest state, in batches, until it has taken it.
//
// What it tells is what everybody may see, as presence keeps it (realtime.public_presence):
// the invisible are offline, and so is whoever shows itself to contacts or to
// nobody. There is no queue but that table: of a user who changes while the
// receiver is away the latest is told. It owns the table announced of the schema
// realtime.
package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/wait"
)

const (
	lookEvery   = time.Second
	atOnce      = 200 // users in one call
	claimed     = 30 * time.Second
	firstWait   = time.Second // doubling to longestWait
	longestWait = 5 * time.Minute
)

// Options are what the package stands on.
type Options struct {
	Pool *pgxpool.Pool
	Hook outcall.Hook // its URL "": nothing runs
	Log  *slog.Logger
}

// Service tells.
type Service struct{ o Options }

// New builds the service. Nothing runs before Run.
func New(o Options) *Service { return &Service{o} }

// Line is a custom status.
type Line struct {
	Text      *string    `json:"text"`
	Emoji     *string    `json:"emoji"`
	ExpiresAt *time.Time `json:"expiresAt"`
}

// Change is a user's latest state, as everybody may see it.
type Change struct {
	Version      int64      `json:"version"` // rises with each change, over all users: of two of the same user the greater is the later
	Tenant       string     `json:"tenant"`
	UserID       uuid.UUID  `json:"userId"`
	Status       string     `json:"status"` // online, away, busy, offline
	CustomStatus *Line      `json:"customStatus"`
	LastSeenAt   *time.Time `json:"lastSeenAt"` // to the minute
}

// Payload is what the webhook is told.
type Payload struct {
	ID      uuid.UUID `json:"id"`   // of these very changes, the same for each try
	Type    string    `json:"type"` // presence
	Changes []Change  `json:"changes"`
}

// Run works until ctx ends. Any number of nodes may run it: one tells at a time.
func (s *Service) Run(ctx context.Context) {
	if s.o.Hook.URL == "" {
		return
	}
	for wait.For(ctx, lookEvery) {
		for {
			told, err := s.tellSome(ctx)
			if err != nil && ctx.Err() == nil {
				s.o.Log.DebugContext(ctx, "telling of presence", "error", err)
			}
			if told < atOnce || err != nil {
				break
			}
		}
	}
}

// tellSome tells of the next changes: of how many. What was told and not noted,
// for the node died between, is told again.
func (s *Service) tellSome(ctx context.Context) (int, error) {
	const claim = `
update realtime.announced a set next_at = clock_timestamp() + $1::interval, attempts = a.attempts + 1
 where a.next_at <= clock_timestamp() and exists (select from realtime.public_presence s where s.version > a.version)
returning a.version, a.attempts`
	var after int64
	var attempts int
	err := s.o.Pool.QueryRow(ctx, claim, claimed).Scan(&after, &attempts)
	if errors.Is(err, pgx.ErrNoRows) { // another node is at it, or it is put off, or nothing is to be told
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("looking for presence to tell: %w", err)
	}
	p, upto, err := s.payload(ctx, after)
	if err != nil || len(p.Changes) == 0 {
		return 0, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return 0, fmt.Errorf("writing presence: %w", err)
	}
	err = s.o.Hook.Post(ctx, p.ID.String(), body)
	f, failed := errors.AsType[*outcall.Failure](err)
	switch {
	case failed && f.Final:
		s.o.Log.WarnContext(ctx, "the presence webhook refuses changes", "users", len(p.Changes), "error", err)
	case failed:
		after := min(max(backoff(attempts), f.After), longestWait)
		s.o.Log.InfoContext(ctx, "the presence webhook is tried again", "attempt", attempts, "in", after, "error", err)
		return 0, s.note(ctx, `update realtime.announced set next_at = clock_timestamp() + $1::interval`, after)
	}
	return len(p.Changes), s.note(ctx, `update realtime.announced set version = $1, attempts = 0, next_at = clock_timestamp()`, upto)
}

func (s *Service) note(ctx context.Context, q string, arg any) error {
	if _, err := s.o.Pool.Exec(ctx, q, arg); err != nil {
		return fmt.Errorf("noting what presence was told: %w", err)
	}
	return nil
}

// payload is the changes after a version, and how far they go.
func (s *Service) payload(ctx context.Context, after int64) (p Payload, upto int64, err error) {
	const q = `
select s.version, s.tenant, s.user_id, s.status, s.custom_text, s.custom_emoji, s.custom_expires_at, s.last_seen_at
  from realtime.public_presence s where s.version > $1 order by s.version limit $2`
	rows, err := s.o.Pool.Query(ctx, q, after, atOnce)
	if err != nil {
		return p, 0, fmt.Errorf("reading presence to tell: %w", err)
	}
	p.Changes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Change, err error) {
		var l Line
		err = row.Scan(&c.Version, &c.Tenant, &c.UserID, &c.Status, &l.Text, &l.Emoji, &l.ExpiresAt, &c.LastSeenAt)
		if l.Text != nil || l.Emoji != nil {
			c.CustomStatus = &l
		}
		if c.LastSeenAt != nil {
			at := c.LastSeenAt.UTC()
			c.LastSeenAt = &at
		}
		return c, err
	})
	if err != nil {
		return p, 0, fmt.Errorf("reading presence to tell: %w", err)
	}
	if len(p.Changes) > 0 {
		upto = p.Changes[len(p.Changes)-1].Version
	}
	list, err := json.Marshal(p.Changes)
	if err != nil {
		return p, 0, fmt.Errorf("writing presence: %w", err)
	}
	p.ID, p.Type = uuid.NewSHA1(uuid.NameSpaceURL, list), "presence"
	return p, upto, nil
}

// backoff doubles, give or take a tenth.
func backoff(attempts int) time.Duration {
	d := longestWait
	if attempts < 10 {
		d = min(firstWait<<(attempts-1), longestWait)
	}
	return d + rand.N(d/5+1) - d/10
}
