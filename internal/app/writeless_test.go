package app

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestPostgresThatIsReadOnly: whoever reads is answered; who marks a message as read, or
// writes otherwise, is told to try again, and the log has one warning of it all.
func TestPostgresThatIsReadOnly(t *testing.T) {
	t.Parallel()
	log := &written{}
	p := built(t, nil, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	db := pgtest.Pool(t, p.config.DatabaseURL)
	var message uuid.UUID
	if err := db.QueryRow(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'read on') returning id`, demo.Team, demo.Bob).Scan(&message); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`select realtime.sequence(10000, false, true)`,
		`alter database ` + pgx.Identifier{p.pool.Config().ConnConfig.Database}.Sanitize() + ` set default_transaction_read_only = on`,
	} {
		if _, err := db.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	p.pool.Reset() // connections hear of it as they begin
	h := publicHandler(p)
	bearer := []string{"Authorization", "Bearer " + token(t, auth.Claims{})}
	reading := fmt.Sprintf(`mutation { acknowledgeRead(input: [{channelId: %q, messageId: %q}]) { id } }`, demo.Team, message)
	for _, query := range []string{reading, reading, `mutation { setPresence(status: busy) { status } }`, fmt.Sprintf(`mutation { sendMessage(input: {clientMessageId: %q, channelId: %q, content: "x"}) { error { code retryable retryAfterMs } } }`, uuid.New(), demo.Team), fmt.Sprintf(`mutation { markUnread(messageId: %q) { id } }`, message)} {
		if _, body := ask(t, h, query, bearer...); !strings.Contains(body, `"code":"unexpected"`) || !strings.Contains(body, `"retryable":true`) || !strings.Contains(body, `"retryAfterMs":`) {
			t.Errorf("%s: %s", query, body)
		}
	}
	if _, body := ask(t, h, `{ readStates { unreadCount } sync { hasMore } myPresence { status } }`, bearer...); strings.Contains(body, "errors") {
		t.Errorf("who reads: %s", body)
	}
	if text := log.String(); strings.Count(text, "Postgres takes no writes") != 1 || strings.Contains(text, "level=ERROR") {
		t.Errorf("the log has %s", text)
	}
}
