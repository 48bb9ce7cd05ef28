package app

import (
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/bus"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
	"github.com/nself-org/nchat-realtime/internal/roster"
)

// Code is the functions and triggers of every package that has some, as a
// migration installs them and a server wants them.
func Code() postgres.Code {
	return postgres.Code{"auth": auth.SQL, "bus": bus.SQL, "feed": feed.SQL, "message": message.SQL,
		"presence": presence.SQL, "receipt": receipt.SQL, "roster": roster.SQL}
}
