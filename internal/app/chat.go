package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/webhook"
)

// retainEvery is how often what is past its time is forgotten.
const retainEvery = time.Minute

// buildLog puts messages, receipts and the log they go through together.
func (s *server) buildLog() {
	c := s.o.Config
	s.feed = feed.New(feed.Options{Pool: s.pool, Bell: s.bus, Log: s.log, Retention: c.Retention,
		Load: func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]feed.Body, error) {
			list, err := message.Load(ctx, db, tenant, ids)
			out := make(map[uuid.UUID]feed.Body, len(list))
			for id, m := range list {
				out[id] = m
			}
			return out, err
		},
		Created: func(e feed.Entry) { s.typing.Spoke(e.Tenant, e.Channel, e.Thread, e.User, e.At) },
		Senders: receipt.Senders})
	for _, prefix := range feed.Topics {
		s.bus.Handle(prefix, s.feed)
	}
	s.messages = message.New(message.Options{Pool: s.pool, Committed: s.feed.Committed, Settle: s.feed.Settle, Content: c.Limits.ContentLength,
		Batch: c.Limits.Batch, Merge: c.EditPolicy == "merge", Log: s.log})
	s.receipts = receipt.New(receipt.Options{Pool: s.pool, Privacy: s.presence.Read, Committed: s.feed.Committed, Settle: s.feed.CatchUp,
		Reciprocal: c.Reciprocity != "off", Legacy: c.LegacyReadColumns, Log: s.log})
	s.events = events.New(events.Options{Feed: s.feed, Receipts: s.receipts, Presence: s.presence.Watch, Typing: s.typing, Log: s.log})
	s.hooks = s.webhooks()
	s.push = push.New(push.Options{Pool: s.pool, URL: c.PushWebhookURL, Secret: c.PushWebhookSecret, Log: s.log, Absent: presence.Absent})
}

// webhooks is what Hasura calls besides GraphQL.
func (s *server) webhooks() *webhook.Handler {
	return webhook.New(webhook.Options{Pool: s.pool, Auth: s.authn, Presence: s.presence, Messages: s.messages, Receipts: s.receipts, Committed: s.feed.Committed,
		Admit: func(id auth.Identity) error {
			if id.UserID == uuid.Nil {
				return nil // it is refused anyway
			}
			if f := s.operations.Take(userKey(id)); f != nil {
				return f
			}
			return nil
		},
		BodyLimit: int64(s.o.Config.Limits.BodyBytes) * hasuraBody, Log: s.log,
		Crons: map[string]func(context.Context) error{
			"expiry":    func(ctx context.Context) error { return s.presence.Sweep(ctx, s.lease.InTouch()) },
			"retention": s.forget,
		}})
}

// retain forgets log entries, message versions and client keys past their time.
func (s *server) retain(ctx context.Context) {
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.forget(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "forgetting what is past its time", "error", err)
		}
	}
}

func (s *server) forget(ctx context.Context) error {
	var all error
	for _, sweep := range []func(context.Context) error{s.feed.Sweep, s.receipts.Sweep, s.messages.Sweep, s.hooks.Sweep} {
		all = errors.Join(all, sweep(ctx))
	}
	return all
}
