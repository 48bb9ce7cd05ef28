// Package app puts the server together, runs it, and takes it down in order.
// It is the only package that knows all the others; it holds no rule.
package app

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
)

// Options are what Run is started with.
type Options struct {
	Config   config.Config
	JWT      auth.JWTConfig
	Dev      bool         // serve the playground
	DoorOnly bool         // serve the one endpoint and nothing else
	Page     http.Handler // in Dev: served at /, behind everything else; nil: nothing
	Log      *slog.Logger
	Ready    func(Addresses) // called once, when requests are served
}

// Addresses are where the server listens.
type Addresses struct {
	Public string // host:port
	Admin  string // "" where nothing is served
}

// Run serves until ctx ends, and then takes leave: no new sockets, the live
// ones closed over the drain timeout, what they leave behind written down.
func Run(ctx context.Context, o Options) error {
	p, err := build(ctx, o)
	if err != nil {
		return err
	}
	defer p.close()
	public, admin, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = public.Close() }()
	if err := enter(ctx, p); err != nil {
		return err
	}
	return serve(ctx, p, public, admin)
}
