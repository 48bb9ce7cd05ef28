// Package console is the operators' page on ADMIN_ADDR: how this node and those
// beside it are, and an end to a session or to all that a user has.
//
// What it may show is decided here, and is what metrics may: numbers of this
// node, and of the whole installation what names nobody. A session is shown
// without its user, tenant, device or activity, a channel without its name, a
// direct one not at all: an operator who could read who is connected would see
// through every invisible user, and no setting of privacy says that operators
// may. For the same reason the end of a user's sessions is answered alike
// whether there were any. It has nothing by which it could ask more: Options
// are all it stands on.
package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// Options are what the page shows and does.
type Options struct {
	Token   string    // of operators; "": there is no page
	Node    uuid.UUID // this one
	Metrics prometheus.Gatherer
	// Ready is what this node needs to serve, by name, and whether it has it.
	Ready func() map[string]bool
	// Shared reads what all nodes have in common.
	Shared func(context.Context) (Shared, error)
	// Sockets are this node's whose peers have not taken all they were sent.
	Sockets func() []Socket
	Queue   int // bytes that may wait for one socket
	NATS    bool
	// EndSession closes one session; false: there is none of that id.
	EndSession func(ctx context.Context, id uuid.UUID) (bool, error)
	// EndUser refuses the tokens that a user has now, and closes what runs on them.
	EndUser func(ctx context.Context, tenant string, user uuid.UUID) error
	Log     *slog.Logger
}

// Shared is what all nodes have in common.
type Shared struct {
	Nodes    []Node    `json:"nodes"`
	Sessions []Session `json:"sessions"` // the newest
	Rooms    []Room    `json:"rooms"`    // the largest
	OverHTTP int       `json:"overHTTP"` // sessions that no node holds
	Log      Log       `json:"log"`
}

// Node is a server that has a lease.
type Node struct {
	ID       uuid.UUID `json:"id"`
	Started  time.Time `json:"started"`
	LeaseMs  int64     `json:"leaseMs"` // until it runs out; below zero: it is not heard of
	Bus      string    `json:"bus"`
	Sessions int       `json:"sessions"`
}

// Session is one, whoever's.
type Session struct {
	ID    uuid.UUID  `json:"id"`
	Node  *uuid.UUID `json:"node"` // null: over HTTP alone
	Since time.Time  `json:"since"`
}

// Room is a channel that is not a direct one.
type Room struct {
	ID       uuid.UUID `json:"id"`
	Members  int       `json:"members"`
	Messages int64     `json:"messages"`
}

// Log is how far the log is: of all, and as this node has read it.
type Log struct {
	Pos   int64 `json:"pos"`
	Here  int64 `json:"here"`
	Inbox int   `json:"inbox"`
}

// Socket is one of this node's.
type Socket struct {
	Session     uuid.UUID `json:"session"`
	Since       time.Time `json:"since"`
	Subprotocol string    `json:"subprotocol"`
	Frames      int       `json:"frames"` // that wait for it
	Bytes       int       `json:"bytes"`
}

// Handler serves the page at /admin and below; nil: there is no token, and so
// nothing. Files are for whoever reaches ADMIN_ADDR, they hold nothing; all else
// wants the token in a header, which no page of another origin can send.
func Handler(o Options) http.Handler {
	if o.Token == "" {
		return nil
	}
	c := &console{o: o, token: sha256.Sum256([]byte(o.Token))}
	mux := http.NewServeMux()
	mux.Handle("GET /admin/{$}", page("index.html"))
	mux.Handle("GET /admin", http.RedirectHandler("/admin/", http.StatusMovedPermanently))
	mux.Handle("GET /admin/console.js", page("console.js"))
	mux.Handle("GET /admin/console.css", page("console.css"))
	mux.Handle("GET /admin/state", c.only(c.state))
	mux.Handle("POST /admin/sessions/{id}/end", c.only(c.endSession))
	mux.Handle("POST /admin/users/{tenant}/{id}/end", c.only(c.endUser))
	return http.NewCrossOriginProtection().Handler(mux)
}

type console struct {
	o     Options
	token [sha256.Size]byte
	seen  reading
}

// only lets operators in.
func (c *console) only(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(sum[:], c.token[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this wants ADMIN_TOKEN", http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}

// endSession closes a session, and writes down that it was asked to.
func (c *console) endSession(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		http.Error(w, "not an id", http.StatusBadRequest)
		return
	}
	found, err := c.o.EndSession(r.Context(), id)
	c.audit(r, "audit: an operator ends a session", err, slog.String("session", id.String()), slog.Bool("found", found))
	switch {
	case err != nil:
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
	case !found:
		http.Error(w, "no such session", http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// endUser ends all that a user has, and says nothing of what that was.
func (c *console) endUser(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil || id == uuid.Nil || tenant == "" || len(tenant) > 200 || strings.ContainsRune(tenant, 0) {
		http.Error(w, "not a tenant and the id of a user", http.StatusBadRequest)
		return
	}
	err = c.o.EndUser(r.Context(), tenant, id)
	c.audit(r, "audit: an operator ends a user's sessions", err, slog.String("tenant", tenant), slog.String("user", id.String()))
	if err != nil {
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// audit writes a line of what an operator did, done or not.
func (c *console) audit(r *http.Request, what string, err error, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("from", r.RemoteAddr))
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.o.Log.LogAttrs(r.Context(), slog.LevelWarn, what, attrs...)
}
