package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/sweep"
)

// maxEventID bounds what is remembered of a delivery.
const maxEventID = 200

// row is the part of a table's row that events speak of.
type row struct {
	ID        uuid.UUID `json:"id"`
	ChannelID uuid.UUID `json:"channel_id"`
	UserID    uuid.UUID `json:"user_id"`
}

// delivery is Hasura's payload. Who wrote, and when, is not asked: the rows are
// read as they are.
type delivery struct {
	ID      string `json:"id"`
	Trigger struct {
		Name string `json:"name"`
	} `json:"trigger"`
	Table struct {
		Schema string `json:"schema"`
		Name   string `json:"name"`
	} `json:"table"`
	Event struct {
		Data struct {
			Old json.RawMessage `json:"old"`
			New json.RawMessage `json:"new"`
		} `json:"data"`
	} `json:"event"`
}

// rows are the row before and after, as far as there are.
func (d delivery) rows() ([]row, error) {
	var out []row
	for _, raw := range []json.RawMessage{d.Event.Data.Old, d.Event.Data.New} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var r row
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}

// event takes in one delivery, once. What cannot be understood is said so and
// taken: delivering it again would not mend it.
func (h *Handler) event(w http.ResponseWriter, r *http.Request, body []byte) {
	var d delivery
	err := json.Unmarshal(body, &d)
	var rows []row
	if err == nil {
		rows, err = d.rows()
	}
	if err != nil || d.ID == "" || len(d.ID) > maxEventID || strings.ContainsRune(d.ID, 0) || d.Trigger.Name != r.PathValue("trigger") || len(rows) == 0 {
		h.o.Log.WarnContext(r.Context(), "an event that cannot be understood", "trigger", r.PathValue("trigger"))
		answer(w, http.StatusOK, map[string]string{"ignored": "not an event of this trigger"})
		return
	}
	reconcile, ok := reconcilers[d.Table.Schema+"."+d.Table.Name]
	if !ok {
		answer(w, http.StatusOK, map[string]string{"ignored": "nothing depends on this table"})
		return
	}
	first, err := h.once(r.Context(), d.ID, func(tx pgx.Tx) error { //nolint:contextcheck // r carries it
		for _, x := range rows {
			if err := reconcile(r.Context(), tx, x); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	h.o.Committed()
	answer(w, http.StatusOK, map[string]bool{"duplicate": !first})
}

// once does what an event asks, unless that was done before; both or neither
// is remembered.
func (h *Handler) once(ctx context.Context, id string, do func(pgx.Tx) error) (first bool, err error) {
	err = postgres.Quietly(ctx, h.o.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into realtime.hasura_events (id) values ($1) on conflict do nothing`, id)
		if err != nil {
			return fmt.Errorf("remembering an event: %w", err)
		}
		if first = tag.RowsAffected() == 1; !first {
			return nil
		}
		return do(tx)
	})
	return first, err
}

// reconcilers bring the log in step with a row, whatever the event said of it.
var reconcilers = map[string]func(context.Context, pgx.Tx, row) error{
	"public.nchat_messages": func(ctx context.Context, tx pgx.Tx, r row) error {
		return exec(ctx, tx, `select realtime.reconcile_message($1)`, r.ID)
	},
	"public.nchat_channel_members": func(ctx context.Context, tx pgx.Tx, r row) error {
		return exec(ctx, tx, `select realtime.reconcile_member($1, $2)`, r.ChannelID, r.UserID)
	},
	"public.nchat_users": func(ctx context.Context, tx pgx.Tx, r row) error {
		return exec(ctx, tx, `select realtime.reconcile_user($1), realtime.touch($1)`, r.ID)
	},
}

func exec(ctx context.Context, tx pgx.Tx, q string, args ...any) error {
	if _, err := tx.Exec(ctx, q, args...); err != nil {
		return fmt.Errorf("reconciling a row: %w", err)
	}
	return nil
}

const eventsKept = 7 * 24 * time.Hour

// Sweeps forget deliveries that Hasura has long given up.
func (h *Handler) Sweeps() []sweep.Task {
	const q = `
delete from realtime.hasura_events e where e.ctid = any (array(select o.ctid from realtime.hasura_events o where o.at < (select clock_timestamp() - $2::interval) limit $1))`
	return []sweep.Task{{Of: "hasura_events", Batch: sweep.Rows(h.o.Pool, q, eventsKept)}}
}
