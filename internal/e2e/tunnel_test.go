package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

// fleet is servers that come and go behind one name.
type fleet struct {
	mu    sync.Mutex
	nodes []*node // guarded by mu
}

func (f *fleet) any() *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[rand.IntN(len(f.nodes))] //nolint:gosec // a test's dice
}

func (f *fleet) replace(i int, n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[i] = n
}

// ask is one operation to any server; false: no answer came, or one that is
// none (an outage), and nobody knows what became of it.
func (f *fleet) ask(t *testing.T, tok, query string) (result, bool) {
	body, err := json.Marshal(map[string]any{"query": query})
	if err != nil {
		t.Error(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.any().base+"/graphql", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return result{}, false
	}
	req.Header = bearer(tok)
	req.Header.Set("Content-Type", "application/json")
	res, err := (&http.Client{Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		return result{}, false
	}
	defer func() { _ = res.Body.Close() }()
	var r result
	return r, json.NewDecoder(res.Body).Decode(&r) == nil && len(r.Errors) == 0
}

// sending is what the senders were told.
type sending struct {
	mu    sync.Mutex
	acked map[string]string // guarded by mu: message id by key
}

// send sends one message until it is acknowledged, as a client with a queue does.
func (s *sending) send(t *testing.T, f *fleet, tok string, channel uuid.UUID, key string) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(2 * patient); time.Now().Before(end); {
		r, ok := f.ask(t, tok, fmt.Sprintf(`mutation { sendMessage(input: {clientMessageId: %q, channelId: %q, content: %q}) { status message { id } error { code retryable } } }`, key, channel, key))
		var d struct {
			SendMessage struct {
				Status  string
				Message struct{ ID string }
				Error   struct {
					Code      string
					Retryable bool
				}
			}
		}
		if ok && json.Unmarshal(r.Data, &d) == nil {
			if d.SendMessage.Status == "sent" {
				s.mu.Lock()
				s.acked[key] = d.SendMessage.Message.ID
				s.mu.Unlock()
				return
			}
			if !d.SendMessage.Error.Retryable {
				t.Errorf("%s: %s", key, r)
				return
			}
		}
		select {
		case <-pause.C:
		case <-t.Context().Done():
			return
		}
	}
	t.Errorf("%s is never acknowledged", key)
}

// follower reads events as a client does: whenever the socket ends it comes
// back, to any server, with the last cursor.
type follower struct {
	cursor string
	seen   map[string]int
	last   map[string]int64
	bad    []string
	done   func(seen int) bool
}

func (f *follower) run(t *testing.T, from *fleet, tok string) {
	for end := time.Now().Add(3 * patient); !f.done(len(f.seen)) && time.Now().Before(end); {
		f.once(t, from.any(), tok)
	}
}

func (f *follower) once(t *testing.T, n *node, tok string) {
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: 5 * time.Second}
	ws, res, err := d.DialContext(t.Context(), strings.Replace(n.base, "http", "ws", 1)+"/graphql", nil)
	if err != nil {
		return
	}
	_ = res.Body.Close()
	defer func() { _ = ws.Close() }()
	query := `subscription { events(kinds: [messages]) { cursor payload { __typename ... on MessageCreated { message { id seq channelId } } ... on StreamReset { reason } } } }`
	if f.cursor != "" {
		query = strings.Replace(query, "(", `(cursor: "`+f.cursor+`", `, 1)
	}
	_ = ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"headers": map[string]string{"Authorization": "Bearer " + tok}}})
	for !f.done(len(f.seen)) {
		if err := ws.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return
		}
		var m struct {
			Type    string
			Payload json.RawMessage
		}
		if err := ws.ReadJSON(&m); err != nil {
			return // also when it is only quiet: then the next connection resumes
		}
		if m.Type == "connection_ack" {
			_ = ws.WriteJSON(map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{"query": query}})
		}
		if m.Type == "error" && !strings.Contains(string(m.Payload), `"retryable":true`) {
			f.bad = append(f.bad, string(m.Payload))
			return
		}
		if m.Type == "next" {
			f.note(m.Payload)
		}
	}
}

func (f *follower) note(payload json.RawMessage) {
	var x struct {
		Data struct {
			Events struct {
				Cursor  string
				Payload struct {
					Typename string `json:"__typename"`
					Reason   string
					Message  struct{ ID, Seq, ChannelID string }
				}
			}
		}
	}
	if err := json.Unmarshal(payload, &x); err != nil || x.Data.Events.Cursor == "" {
		f.bad = append(f.bad, string(payload))
		return
	}
	e := x.Data.Events
	if e.Payload.Typename == "StreamReset" && f.cursor != "" {
		f.bad = append(f.bad, "reset: "+e.Payload.Reason)
	}
	f.cursor = e.Cursor
	if e.Payload.Typename != "MessageCreated" {
		return
	}
	m := e.Payload.Message
	if f.seen[m.ID]++; f.seen[m.ID] > 1 {
		f.bad = append(f.bad, "twice: "+m.ID)
	}
	seq, err := strconv.ParseInt(m.Seq, 10, 64)
	if err != nil || seq <= f.last[m.ChannelID] {
		f.bad = append(f.bad, fmt.Sprintf("out of order: %s after %d", m.Seq, f.last[m.ChannelID]))
	}
	f.last[m.ChannelID] = seq
}

// TestNothingAcknowledgedIsLostThroughCrashes: a server is killed and Postgres
// restarted in the middle of it, and whoever has an acknowledgement has a
// message, once, which every reader reads once and in order.
func TestNothingAcknowledgedIsLostThroughCrashes(t *testing.T) {
	whole(t)
	const senders, each = 6, 60
	own := pgtest.Cluster(t)
	url := own.Migrated()
	pool := pgtest.Pool(t, url)
	if _, err := demo.Load(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	env := []string{"OPERATIONS_PER_MINUTE=100000", "MAX_SOCKETS_PER_USER=1000", "MAX_SOCKETS_PER_IP=1000"}
	f := &fleet{nodes: []*node{startNode(t, url, env...), startNode(t, url, env...)}}
	s := &sending{acked: map[string]string{}}
	var over atomic.Bool
	done := func(n int) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return over.Load() && n >= len(s.acked)
	}
	var readers, writers sync.WaitGroup
	followers := make([]*follower, 3)
	tok := token(t, demo.Bob)
	began := make(chan struct{}, len(followers))
	for i := range followers {
		fo := &follower{seen: map[string]int{}, last: map[string]int64{}, done: done}
		followers[i] = fo
		r, ok := f.ask(t, tok, `{ sync(first: 1000) { cursor hasMore } }`)
		var d struct{ Sync struct{ Cursor string } }
		if !ok || json.Unmarshal(r.Data, &d) != nil {
			t.Fatal(r)
		}
		fo.cursor = d.Sync.Cursor
		readers.Go(func() { began <- struct{}{}; fo.run(t, f, tok) })
	}
	for range followers {
		<-began
	}
	var sent atomic.Int64
	half := make(chan struct{})
	for i := range senders {
		who := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}[i%3]
		where := []uuid.UUID{demo.General, demo.Team}[i%2]
		mine := token(t, who)
		writers.Go(func() {
			for j := range each {
				s.send(t, f, mine, where, fmt.Sprintf("s%d-%d", i, j))
				if sent.Add(1) == senders*each/4 {
					close(half)
				}
			}
		})
	}
	<-half
	_ = f.nodes[0].cmd.Process.Kill() // as kill -9
	own.Abort()                       // and Postgres, with what it had not written
	own.Start()
	f.replace(0, startNode(t, url, env...))
	writers.Wait()
	over.Store(true)
	readers.Wait()
	var rows, keys int
	if err := pgtest.Pool(t, url).QueryRow(t.Context(), `select count(*), count(distinct content) from public.nchat_messages where content ~ '^s[0-9]+-[0-9]+$'`).Scan(&rows, &keys); err != nil {
		t.Fatal(err)
	}
	if rows != senders*each || keys != rows || len(s.acked) != rows {
		t.Errorf("%d messages of %d keys, %d acknowledged, want %d of each", rows, keys, len(s.acked), senders*each)
	}
	for i, fo := range followers {
		lost := 0
		for _, id := range s.acked {
			if fo.seen[id] == 0 {
				lost++
			}
		}
		if lost > 0 || len(fo.bad) > 0 {
			t.Errorf("reader %d: %d lost, wrong: %.3q", i, lost, fo.bad)
		}
	}
}
