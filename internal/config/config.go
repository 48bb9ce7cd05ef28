// Package config reads the environment, all of it at once, and says of every
// mistake which name is wrong and how. What the rest of the server gets are
// durations, numbers and URLs, never this package.
package config

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Mode is how the server was started.
type Mode int

// The modes: Dev starts what is missing and trusts this machine, Serve takes
// everything from the environment and refuses to run without it.
const (
	Dev Mode = iota
	Serve
)

// Config is the environment, checked.
type Config struct {
	Host              string
	Port              int
	AdminAddr         string
	AdminToken        string // "": no operators' page
	DatabaseURL       string
	ListenDatabaseURL string
	BusURL            string // "": Postgres
	DataDir           string

	JWTSecret        string
	AdminSecret      string
	UnauthorizedRole string
	WebhookSecret    string
	UserRoles        []string
	TokenLifetime    time.Duration

	AllowedOrigins []string
	TrustedProxies []netip.Prefix

	HasuraUpstream  string
	FrontDoorPaths  []string
	FrontDoorDirect string // off, auto

	IdleAfter, HiddenAfter, OfflineGrace time.Duration
	TypingBatch                          time.Duration
	Reciprocity                          string // off, receipts, all
	Retention                            time.Duration
	EditPolicy                           string // lww, merge
	LegacyReadColumns                    bool
	LegacyPresence, PresenceView         bool
	PushWebhookURL, PushWebhookSecret    string
	PushAfter                            time.Duration
	PresenceWebhookURL                   string
	PresenceWebhookSecret                string

	LogLevel  slog.Level
	LogFormat string // json, text

	Limits Limits
}

// Limits is every limit, as realtimeConfig tells it.
type Limits struct {
	OperationsPerSocket, SocketsPerUser, SocketsPerIP int
	FrameBytes, BodyBytes                             int
	Rooms, IDs, Batch                                 int
	ContentLength, StatusLength                       int
	OperationsPerMinute                               int
	PointsPerMinute, MessagesPerMinute                int
	FieldsAtOnce, WatchedIDs, WaitingPolls            int
	DocumentBytes, FramesPerSecond                    int
	OpeningPerIP, ConnectionsPerIP                    int
	OperationTimeout, RequestTimeout                  time.Duration
	QueuedFrames, QueuedBytes                         int
	WriteTimeout, InitTimeout, PingInterval           time.Duration
	DrainTimeout                                      time.Duration
	Depth, Aliases                                    int
}

// KeepHere has the server listen on this machine alone, as is right where
// everybody knows its key. The error says that HOST asks for more.
func (c *Config) KeepHere() error {
	switch {
	case c.Host == "":
		c.Host = "127.0.0.1"
	case c.Host != "localhost" && !net.ParseIP(c.Host).IsLoopback():
		return errors.New("HOST must be a loopback address with the published development key, given or not: everybody knows it")
	}
	return nil
}

// Row is one variable, as the documentation shows it.
type Row struct{ Name, Default, Meaning string }

// Load reads the environment for a mode. The error names every mistake, and
// holds no value that may be secret.
func Load(env func(string) string, mode Mode) (Config, error) {
	r := &reader{env: env, mode: mode}
	c := r.load()
	return c, errors.Join(r.errs...)
}

// Table is every variable with its default and meaning.
func Table() []Row {
	r := &reader{env: func(string) string { return "" }, mode: Serve} // what is missing there is of no interest here
	r.load()
	return r.rows
}

func (r *reader) load() Config {
	var c Config
	r.addresses(&c)
	r.secrets(&c)
	r.edges(&c)
	r.presence(&c)
	r.chat(&c)
	r.logging(&c)
	r.limits(&c)
	return c
}

// Pooled: DATABASE_URL goes through a transaction pooler, for there is another to listen on.
func (c Config) Pooled() bool { return c.ListenDatabaseURL != c.DatabaseURL }
