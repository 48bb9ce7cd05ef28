// Package webhook serves what Hasura calls besides GraphQL: actions, event
// triggers and cron triggers. It verifies, decodes, calls the domain method
// that a resolver would call, and encodes. It holds no rule of a domain.
//
// Whoever calls must bear the secret shared with Hasura; the session variables
// of an action are believed as Hasura's headers are, and no further.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/message"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/receipt"
)

// Identify is auth, as far as webhooks ask it.
type Identify interface {
	// TrustsHasura reports whether a request bears the shared secret.
	TrustsHasura(h http.Header) bool
	// Session is who session variables that Hasura sends beside headers speak of.
	Session(ctx context.Context, h http.Header, vars map[string]string) (auth.Identity, error)
}

// Options are what the package stands on.
type Options struct {
	Pool      *pgxpool.Pool
	Auth      Identify
	Presence  *presence.Service
	Messages  *message.Service
	Receipts  *receipt.Service
	Committed func()                                 // called after each commit that wrote
	Crons     map[string]func(context.Context) error // by name
	BodyLimit int64                                  // bytes
	// Admit lets a caller do an action once it is paid for and its turn has come, or
	// refuses; done is called after the action.
	Admit func(ctx context.Context, caller auth.Identity, action string, input json.RawMessage) (done func(), err error)
	// Audit is told of each action before it is done; nil: nobody asks.
	Audit func(ctx context.Context, caller auth.Identity, action string)
	Log   *slog.Logger
}

// Handler serves /hasura/.
type Handler struct {
	o       Options
	actions map[string]action
}

// New builds the handler.
func New(o Options) *Handler {
	h := &Handler{o: o}
	h.actions = map[string]action{
		"setUserStatus":   typed(h.setUserStatus),
		"markChannelRead": typed(h.markChannelRead),
		"sendChatMessage": typed(h.sendChatMessage),
		"whoIsOnline":     typed(h.whoIsOnline),
	}
	return h
}

// Mount adds the paths to a mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("/hasura/actions/{name}", h.guard(h.action))
	mux.HandleFunc("/hasura/events/{trigger}", h.guard(h.event))
	mux.HandleFunc("/hasura/cron/{name}", h.guard(h.cron))
	mux.HandleFunc("/hasura/", h.guard(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		refuse(w, http.StatusNotFound, fault.New(fault.Invalid, "there is no such webhook"))
	}))
}

type webhook func(w http.ResponseWriter, r *http.Request, body []byte)

// guard lets in who bears the secret, with a body of JSON that is not too large.
// Everything is answered in JSON: of anything else Hasura says only that it is
// none.
func (h *Handler) guard(next webhook) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, no-store")
		if !h.o.Auth.TrustsHasura(r.Header) {
			refuse(w, http.StatusUnauthorized, fault.New(fault.Denied, `invalid "x-nchat-webhook-secret"`))
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, fault.New(fault.Invalid, "only POST"))
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, fault.New(fault.Invalid, "the body must be application/json"))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.o.BodyLimit))
		if err != nil {
			status := http.StatusBadRequest
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				status = http.StatusRequestEntityTooLarge
			}
			refuse(w, status, fault.New(fault.Invalid, "the body is cut off, or longer than %d bytes", h.o.BodyLimit))
			return
		}
		next(w, r, body)
	}
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"message":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// refuse answers a fault in the words Hasura passes on.
func refuse(w http.ResponseWriter, status int, f *fault.Error) {
	answer(w, status, map[string]any{"message": f.Message, "code": f.Code, "extensions": f.Extensions()})
}

// cron runs one of the sweeps that the server also runs by itself.
func (h *Handler) cron(w http.ResponseWriter, r *http.Request, _ []byte) {
	run, ok := h.o.Crons[r.PathValue("name")]
	if !ok {
		refuse(w, http.StatusNotFound, fault.New(fault.Invalid, "there is no such sweep"))
		return
	}
	if err := run(r.Context()); err != nil {
		h.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"done": true})
}

const retryAfter = 5 * time.Second

// failed answers what is not the caller's fault. Retry-After makes Hasura try
// again without end: it stands only where the reason passes by itself.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	if postgres.Outage(err) {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		refuse(w, http.StatusServiceUnavailable, fault.Later(fault.Unexpected, retryAfter, "the database is away"))
		return
	}
	h.o.Log.ErrorContext(r.Context(), "webhook", "path", r.URL.Path, "error", err)
	if constraint, refused := postgres.Refused(err); constraint {
		refuse(w, http.StatusBadRequest, fault.New(fault.Constraint, "the database refuses this"))
		return
	} else if refused {
		refuse(w, http.StatusBadRequest, fault.New(fault.Invalid, "a value that the database does not take"))
		return
	}
	refuse(w, http.StatusInternalServerError, fault.From(err))
}
