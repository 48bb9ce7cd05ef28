package message

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"encoding/json"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
)

func (m Message) For(user uuid.UUID) Message { return m }
func Load(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]Message, error) {
	return nil, nil
}

type Doorbell interface{ Ring(topics ...string) }
type Options struct {
	Pool           *pgxpool.Pool
	Clock          *clock.Clock
	Bell           Doorbell
	Committed      func()
	Content, Batch int
	Merge          bool
	Retention      time.Duration
	Log            *slog.Logger
}
type Service struct{}

func New(Options) *Service { return nil }

type Input struct {
	ClientMessageID string
	Channel         uuid.UUID
	Thread, Parent  *uuid.UUID
	Content         *string
	Type            *Type
	Metadata        json.RawMessage
	Mentions        []uuid.UUID
}
type Result struct {
	ClientMessageID string
	Message         *Message
	Duplicate       bool
	Err             *fault.Error
}

func (s *Service) Send(ctx context.Context, v Viewer, in Input) (Result, error) { return Result{}, nil }
func (s *Service) SendAll(ctx context.Context, v Viewer, in []Input, digest string) ([]Result, string, error) {
	return nil, "", nil
}

type Resolution string

const (
	ServerWins Resolution = "server_wins"
	ClientWins Resolution = "client_wins"
	Merged     Resolution = "merged"
)

type Conflict struct {
	Resolution           Resolution
	Base, Server, Client *string
}

func (s *Service) Edit(ctx context.Context, v Viewer, id uuid.UUID, content string, base int) (Message, *Conflict, error) {
	return Message{}, nil, nil
}
func (s *Service) Delete(ctx context.Context, v Viewer, id uuid.UUID) (Message, error) {
	return Message{}, nil
}
func (s *Service) Sweep(ctx context.Context) error { return nil }
