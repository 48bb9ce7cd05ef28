package app

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/console"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/lease"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// How much the operators' page shows of what there may be many of.
const (
	shownSessions = 200
	shownRooms    = 50
)

// newConsole is the operators' page; nil: none has been asked for.
func newConsole(p *parts) http.Handler {
	return console.Handler(console.Options{Token: p.config.AdminToken, Node: p.lease.ID(), Metrics: p.metrics.registry, Ready: p.health.state,
		Shared:  func(ctx context.Context) (console.Shared, error) { return readShared(ctx, p) },
		Sockets: func() []console.Socket { return waiting(p.sockets) },
		Queue:   p.config.Limits.QueuedBytes, NATS: p.config.BusURL != "",
		EndSession: p.presence.Edit.Kick,
		EndUser: func(ctx context.Context, tenant string, user uuid.UUID) error {
			return p.revoked.revoke(ctx, tenant, user, nil, p.bus)
		},
		Log: p.log})
}

// readShared reads what the operators' page shows of all nodes, from whoever owns it.
func readShared(ctx context.Context, p *parts) (s console.Shared, err error) {
	nodes, err := lease.Nodes(ctx, p.pool)
	if err != nil {
		return s, err
	}
	counts, sessions, err := p.presence.Read.Anonymously(ctx, shownSessions)
	if err != nil {
		return s, err
	}
	rooms, err := feed.Rooms(ctx, p.pool, shownRooms)
	if err != nil {
		return s, err
	}
	log, err := feed.StandingOf(ctx, p.feed)
	if err != nil {
		return s, err
	}
	s = console.Shared{Nodes: []console.Node{}, Sessions: []console.Session{}, Rooms: []console.Room{},
		OverHTTP: counts[uuid.Nil], Log: console.Log{Pos: log.Pos, Here: log.Here, Inbox: log.Inbox}}
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, console.Node{ID: n.ID, Started: n.Started, LeaseMs: n.Left.Milliseconds(), Bus: n.Bus, Sessions: counts[n.ID]})
	}
	for _, x := range sessions {
		s.Sessions = append(s.Sessions, console.Session{ID: x.ID, Node: x.Node, Since: x.Since})
	}
	for _, r := range rooms {
		s.Rooms = append(s.Rooms, console.Room{ID: r.ID, Members: r.Members, Messages: r.Messages})
	}
	return s, nil
}

// waiting are this node's sockets for which something waits.
func waiting(t *wsock.Transport) (all []console.Socket) {
	t.Each(func(c *wsock.Conn) {
		if frames, bytes := c.Waiting(); frames > 0 {
			all = append(all, console.Socket{Session: c.ID(), Since: c.Opened().UTC(), Subprotocol: c.Subprotocol(), Frames: frames, Bytes: bytes})
		}
	})
	return all
}
