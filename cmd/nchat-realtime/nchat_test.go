package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// TestDevOnNchatsOwnDatabase: beside its tables and triggers, with the demo world in them.
func TestDevOnNchatsOwnDatabase(t *testing.T) {
	t.Parallel()
	r := startOn(t, pgtest.NchatURL(t), filepath.Join(open(t, 0o755, nil), "data"), nil)
	base := r.ready()
	for query, want := range map[string]string{
		`mutation { sendMessage(input: {clientMessageId: \"k\", channelId: \"00000000-0000-4000-9000-000000000001\", content: \"hello\"}) { message { content } error { code } } }`: `"hello"`,
		`mutation { followThread(threadId: \"00000000-0000-4000-a000-000000000001\") { followed } }`:                                                                                `true`,
		`mutation { setChannelNotifications(channelId: \"00000000-0000-4000-9000-000000000001\", input: {level: mentions}) { level } }`:                                             `"mentions"`,
	} {
		if got := r.query(base, query); !strings.Contains(got, want) || strings.Contains(got, `"errors"`) {
			t.Errorf("%s: %s", query, got)
		}
	}
	_ = r.cmd.Process.Kill() // it ends before its database does
	r.ended()
}
