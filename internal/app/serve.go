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

// serve runs everything. Order of leaving: the sockets first, so that their
// ends are still written; then presence, the lease, and the doorbell last.
func serve(ctx context.Context, p *parts, public, admin net.Listener) error {
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx)) // what requests and streams run in
	cut := func() { end(door.ErrLeaving) }
	defer cut()
	back, stop := context.WithCancel(context.WithoutCancel(ctx)) // what runs behind
	defer stop()
	bell, hush := context.WithCancel(context.WithoutCancel(ctx))
	defer hush()
	var behind, ringing sync.WaitGroup
	ringing.Go(func() { _ = p.bus.Run(bell) })
	behind.Go(func() { p.health.run(back) })
	behind.Go(func() { p.authn.Run(back) })
	behind.Go(func() { p.revoked.run(back) })
	behind.Go(func() { p.typing.Run(back) })
	behind.Go(func() { p.feed.Run(back) })
	behind.Go(func() { p.receipts.Run(back) })
	behind.Go(func() { p.notify.Run(back) })
	behind.Go(func() { p.push.Run(back) })
	behind.Go(func() { checkDirect(back, p) })
	behind.Go(func() { p.announce.Run(back) })
	behind.Go(func() { p.sweeps.Run(back) })
	behind.Go(func() {
		if err := p.presence.Run(back); err != nil {
			p.log.WarnContext(back, "presence not written at the end", "error", err)
		}
	})
	behind.Go(func() { p.lease.Run(back) })

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
	leave(p, web, cut) //nolint:contextcheck // ctx has ended; leaving takes its own time
	stop()
	behind.Wait()
	if err := p.lease.Leave(context.WithoutCancel(ctx), p.config.OfflineGrace); err != nil {
		p.log.WarnContext(ctx, "lease not given back", "error", err)
	}
	hush()
	ringing.Wait()
	_ = inside.Close()
	if p.door != nil {
		p.door.Close()
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func leave(p *parts, web *http.Server, cut context.CancelFunc) {
	p.draining.Store(true)
	over := p.config.Limits.DrainTimeout
	ctx, cancel := context.WithTimeout(context.Background(), over+5*time.Second)
	defer cancel()
	p.log.InfoContext(ctx, "leaving", "sockets", p.sockets.Len(), "over", over)
	p.sockets.Drain(ctx, over)
	cut() // event streams end, and the clients behind them look for another node
	if err := web.Shutdown(ctx); err != nil {
		_ = web.Close()
	}
}

func addresses(public, admin net.Listener) Addresses {
	a := Addresses{Public: public.Addr().String()}
	if admin != nil {
		a.Admin = admin.Addr().String()
	}
	return a
}
