package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/door"
)

// listen opens both ports, before anything is written anywhere.
func listen(ctx context.Context, o Options) (public, admin net.Listener, err error) {
	c := o.Config
	var lc net.ListenConfig
	if public, err = lc.Listen(ctx, "tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port))); err != nil {
		return nil, nil, fmt.Errorf("opening the public port: %w", err)
	}
	if c.AdminAddr == "off" {
		return public, nil, nil
	}
	if admin, err = lc.Listen(ctx, "tcp", c.AdminAddr); err != nil && o.Dev {
		host, _, _ := net.SplitHostPort(c.AdminAddr) //nolint:errcheck // checked when it was read
		admin, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening ADMIN_ADDR: %w", err), public.Close())
	}
	return public, admin, nil
}

// crew is what serve runs behind the two HTTP servers, and how it is ended.
type crew struct {
	cut             context.CancelFunc // ends requests and streams
	stop            context.CancelFunc // ends what runs behind
	hush            context.CancelFunc // ends the doorbell
	behind, ringing sync.WaitGroup
}

// serve runs everything until ctx ends or a port fails, and then departs.
func serve(ctx context.Context, p *parts, public, admin net.Listener) error {
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx)) // what requests and streams run in
	back, stop := context.WithCancel(context.WithoutCancel(ctx))         // what runs behind
	bell, hush := context.WithCancel(context.WithoutCancel(ctx))
	c := &crew{cut: func() { end(door.ErrLeaving) }, stop: stop, hush: hush}
	defer c.cut()
	defer stop()
	defer hush()
	c.ringing.Go(func() { _ = p.bus.Run(bell) })
	c.behind.Go(func() { p.health.run(back) })
	c.behind.Go(func() { p.authn.Run(back) })
	c.behind.Go(func() { p.revoked.run(back) })
	c.behind.Go(func() { p.typing.Run(back) })
	c.behind.Go(func() { p.feed.Run(back) })
	c.behind.Go(func() { p.receipts.Run(back) })
	c.behind.Go(func() { p.notify.Run(back) })
	c.behind.Go(func() { p.push.Run(back) })
	c.behind.Go(func() { checkDirect(back, p) })
	c.behind.Go(func() { p.announce.Run(back) })
	c.behind.Go(func() { p.sweeps.Run(back) })
	c.behind.Go(func() {
		if err := p.presence.Run(back); err != nil {
			p.log.WarnContext(back, "presence not written at the end", "error", err)
		}
	})
	c.behind.Go(func() { p.lease.Run(back) })

	web := &http.Server{Handler: publicHandler(p), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return requests }}
	inside := &http.Server{Handler: p.here(adminHandler(p.metrics, newConsole(p))), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() {
		failed <- web.Serve(newCounting(public, p.config.Limits.ConnectionsPerIP, clientip.New(p.config.TrustedProxies)))
	}()
	if admin != nil {
		go func() { failed <- inside.Serve(admin) }()
	}
	if p.ready != nil {
		p.ready(addresses(public, admin))
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	most := max(p.config.Limits.DrainTimeout, leastDrain)
	if !within(context.WithoutCancel(ctx), most-goodbye, func(ctx context.Context) { c.depart(ctx, p, web) }) {
		p.log.WarnContext(ctx, "left without the last word: something does not end within DRAIN_TIMEOUT; other nodes bury this one", "within", most)
		_ = web.Close()
	}
	_ = inside.Close()
	if p.door != nil {
		p.door.Close()
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

const (
	leastDrain = time.Second            // what leaving has, however short DRAIN_TIMEOUT is
	goodbye    = 125 * time.Millisecond // what the pools have of that to take leave of Postgres
	lastWrites = 3 * time.Second        // what is left of DRAIN_TIMEOUT, or half of it, when the last socket is told
)

// within has do run for so long at most; false: it has not ended, and is not
// waited for. Whatever it would still have written is then as if this node had
// been killed, which others mend.
func within(ctx context.Context, most time.Duration, do func(context.Context)) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	gone := make(chan struct{})
	go func() { defer close(gone); do(ctx) }()
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// depart ends everything, until ctx does: the sockets first, so that their ends
// are still written; then presence, the lease, and the doorbell last.
func (c *crew) depart(ctx context.Context, p *parts, web *http.Server) {
	c.leave(ctx, p, web)
	c.stop()
	c.behind.Wait()
	if err := p.lease.Leave(ctx, p.config.OfflineGrace); err != nil {
		p.log.WarnContext(ctx, "lease not given back", "error", err)
	}
	c.hush()
	c.ringing.Wait()
}

// leave ends the sockets and requests. Those left halfway between the last one's
// turn and ctx's end are cut off.
func (c *crew) leave(ctx context.Context, p *parts, web *http.Server) {
	p.draining.Store(true)
	over := spread(p.config.Limits.DrainTimeout)
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, (time.Until(end)+over)/2)
		defer cancel()
	}
	p.log.InfoContext(ctx, "leaving", "sockets", p.sockets.Len(), "over", over)
	p.sockets.Drain(ctx, over)
	c.cut() // event streams end, and the clients behind them look for another node
	if err := web.Shutdown(ctx); err != nil {
		_ = web.Close()
	}
}

// spread is over how much of a drain timeout sockets are closed.
func spread(most time.Duration) time.Duration { return most - min(most/2, lastWrites) }

func addresses(public, admin net.Listener) Addresses {
	a := Addresses{Public: public.Addr().String()}
	if admin != nil {
		a.Admin = admin.Addr().String()
	}
	return a
}
