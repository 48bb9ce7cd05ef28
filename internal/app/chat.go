package app

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/announce"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/events"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/outcall"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/push"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/sweep"
	"github.com/nself-org/nchat-realtime/internal/webhook"
)

// buildChat puts messages, receipts and the log they go through together.
func buildChat(p *parts) {
	c := p.config
	p.feed = feed.New(feed.Options{Pool: p.pool, Vital: p.vital, Turn: p.budgets.turn, Holding: p.budgets.holding, Bell: p.bus, Log: p.log, Retention: c.Retention,
		Load: func(ctx context.Context, db postgres.DB, tenant string, ids []uuid.UUID) (map[uuid.UUID]feed.Body, error) {
			list, err := message.Reader{Content: c.Limits.ContentLength, Odd: p.odd.message}.Load(ctx, db, tenant, ids)
			out := make(map[uuid.UUID]feed.Body, len(list))
			for id, m := range list {
				out[id] = m
			}
			return out, err
		},
		Created: func(e feed.Entry) { p.typing.Spoke(e.Tenant, e.Channel, e.Thread, e.User, e.At) },
		Senders: receipt.Senders, PassedOver: p.odd.note})
	p.messages = message.New(message.Options{Pool: p.pool, Committed: p.feed.Committed, Settle: p.feed.Settle, Content: c.Limits.ContentLength,
		Batch: c.Limits.Batch, Merge: c.EditPolicy == "merge", Log: p.log, Odd: p.odd.message})
	p.receipts = receipt.New(receipt.Options{Pool: p.pool, Privacy: p.presence.Read, Committed: p.feed.Committed, Settle: p.feed.CatchUp,
		Retention: c.Retention, Reciprocal: c.Reciprocity != "off", Legacy: c.LegacyReadColumns, Counted: p.budgets.counted, Log: p.log})
	p.notify = receipt.NewNotifier(receipt.NotifierOptions{Pool: p.pool, Now: p.clock.Now, Committed: p.feed.Committed, Log: p.log})
	p.events = events.New(events.Options{Feed: p.feed, Receipts: p.receipts, Presence: p.presence.Watch, Typing: p.typing, Log: p.log, Turn: p.budgets.turn})
	p.push = push.New(push.Options{Pool: p.pool, Hook: outcall.New(c.PushWebhookURL, c.PushWebhookSecret), Log: p.log, Now: p.clock.Now, Looking: c.PushAfter,
		Attention: func(ctx context.Context, db postgres.DB, tenant string, users []uuid.UUID) ([]push.Attention, error) {
			list, err := p.presence.Read.Attention(ctx, db, tenant, users)
			out := make([]push.Attention, len(list))
			for i, a := range list {
				out[i] = push.Attention(a)
			}
			return out, err
		}})
	p.announce = announce.New(announce.Options{Pool: p.pool, Hook: outcall.New(c.PresenceWebhookURL, c.PresenceWebhookSecret), Log: p.log})
}

// buildHasura makes what Hasura calls besides GraphQL.
func buildHasura(p *parts) {
	p.hooks = webhook.New(webhook.Options{Pool: p.pool, Auth: p.authn, Presence: p.presence, Messages: p.messages, Receipts: p.receipts, Committed: p.feed.Committed,
		Audit:     audit{p.log}.action,
		Admit:     p.budgets.action,
		BodyLimit: int64(p.config.Limits.BodyBytes) * hasuraBody, Log: p.log,
		Crons: map[string]func(context.Context) error{
			"expiry":    func(ctx context.Context) error { return p.presence.Sweep(ctx, p.lease.InTouch()) },
			"retention": func(ctx context.Context) error { return p.sweeps.Turn(ctx) },
		}})
	p.sweeps = sweep.New(sweep.Options{Pool: p.pool, Log: p.log, Swept: p.metrics.swept, Ended: p.metrics.turned, Failed: p.metrics.unswept,
		Tasks: slices.Concat(p.feed.Sweeps(), p.receipts.Sweeps(), p.notify.Sweeps(), p.messages.Sweeps(), p.hooks.Sweeps(), p.push.Sweeps(), p.presence.Sweeps(),
			auth.Store{DB: p.pool}.Sweeps(p.config.TokenLifetime))})
}
