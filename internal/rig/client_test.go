package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	deaf   = 5 * time.Second  // without a word from the server a client takes its socket for dead
	answer = 15 * time.Second // what a client waits for an answer before it asks elsewhere
)

// client is a user with one device: a socket that is dialled again whenever it ends,
// with a stream that goes on at its cursor, and somebody who writes and reads.
type client struct {
	r     *rig
	at    int
	user  string
	token string
	web   *http.Client
	rand  *rand.Rand // of the writer alone
	stop  context.CancelFunc
	over  chan struct{} // closed when its socket is gone for good

	mu       sync.Mutex
	told     *Client          // guarded by mu, as are the rest
	cursor   string           // where its stream is
	known    map[string]int64 // by channel
	newest   map[string]string
	versions map[string]int // by message, what was told
	up       bool
	alive    time.Time
	node     int
	resumes  []time.Duration
	before   time.Time                       // the last word but one
	out      map[string]bool                 // channels that it was told it is no member of
	put      func(any) error                 // to its socket; nil: there is none
	asked    map[string]chan json.RawMessage // over it, by id
	pictures map[string][]string             // who types, by channel
}

type frame struct {
	ID, Type string
	Payload  json.RawMessage
}

// run keeps a socket until ctx ends.
func (c *client) run(ctx context.Context) {
	defer close(c.over)
	for try := 0; ctx.Err() == nil; try++ {
		began := c.lastAlive()
		err := c.session(ctx, (c.at+try)%len(c.r.nodes), began)
		c.mu.Lock()
		c.gone()
		if ctx.Err() == nil {
			c.r.ended(closeCode(err), err)
		}
		c.mu.Unlock()
		t := time.NewTimer(time.Duration(20+rand.IntN(200)) * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (c *client) lastAlive() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive
}

func closeCode(err error) string {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return strconv.Itoa(closed.Code)
	}
	return "1006"
}

// session is one socket, from the upgrade to its end.
func (c *client) session(ctx context.Context, n int, lastAlive time.Time) error {
	counts := c.r.nodes[n].counts()
	dialling, cancel := context.WithTimeout(ctx, deaf)
	defer cancel()
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}}
	ws, res, err := d.DialContext(dialling, "ws://"+c.r.nodes[n].link.addr()+"/graphql", nil)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	defer ws.Close()
	defer counts.ended.Add(1)
	ended := context.AfterFunc(ctx, func() {
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		_ = ws.Close()
	})
	defer ended()
	var writing sync.Mutex
	write := func(v any) error {
		writing.Lock()
		defer writing.Unlock()
		_ = ws.SetWriteDeadline(time.Now().Add(deaf))
		return ws.WriteJSON(v)
	}
	if err := write(map[string]any{"type": "connection_init", "payload": map[string]any{"headers": map[string]string{"Authorization": "Bearer " + c.token}}}); err != nil {
		return err
	}
	asking := time.AfterFunc(deaf/4, func() { _ = write(map[string]string{"type": "ping"}) })
	defer asking.Stop()
	for {
		_ = ws.SetReadDeadline(time.Now().Add(deaf))
		_, data, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		var f frame
		if err := json.Unmarshal(data, &f); err != nil {
			return err
		}
		counts.read.Add(1)
		asking.Reset(deaf / 4)
		c.mu.Lock()
		c.before, c.alive = c.alive, time.Now()
		c.mu.Unlock()
		switch {
		case f.Type == "ping":
			err = write(map[string]string{"type": "pong"})
		case f.Type == "connection_ack":
			c.entered(n, lastAlive, write)
			if err = c.base(ctx); err == nil {
				err = write(c.subscription())
			}
		case f.ID != "" && f.ID != stream:
			c.answered(f)
		case f.Type == "next":
			err = c.next(ctx, f.Payload)
		case f.Type == "error", f.Type == "complete":
			err = fmt.Errorf("the stream ended: %.300s", f.Payload)
			denied := codeOf(f.Payload) == "access-denied" && c.r.excused(c.user, time.Now().Add(-patient))
			if !denied && !bytes.Contains(f.Payload, []byte(`"retryable":true`)) {
				c.r.odd("stream " + codeOf(f.Payload))
			}
		}
		if err != nil {
			return err
		}
	}
}

// gone notes that the socket is over, and with it what it told of state.
func (c *client) gone() {
	c.put = nil
	for id, answer := range c.asked {
		close(answer)
		delete(c.asked, id)
	}
	for ch, users := range c.pictures {
		if len(users) > 0 {
			c.r.pictured(Typing{Viewer: c.user, Channel: ch, Before: c.alive, At: c.alive})
		}
		delete(c.pictures, ch)
	}
	if c.up {
		c.up = false
		c.r.span(c.user, c.alive)
	}
}

// entered notes that the user is there from now on.
func (c *client) entered(n int, lastAlive time.Time, write func(any) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up, c.node, c.put = true, n, write
	if !lastAlive.IsZero() {
		c.resumes = append(c.resumes, c.alive.Sub(lastAlive))
	}
	c.r.enter(c.user, c.alive)
}

// base fetches all there is where the client has no cursor, and begins there.
func (c *client) base(ctx context.Context) error {
	c.mu.Lock()
	cursor := c.cursor
	c.mu.Unlock()
	if cursor != "" {
		return nil
	}
	const q = `query ($c: String) { sync(cursor: $c, first: 1000) { cursor hasMore reset channels { channelId lastSeq } messages { channelId seq } } }`
	known := map[string]int64{}
	for more := true; more; {
		var p syncPage
		if err := c.ask(ctx, -1, q, map[string]any{"c": orNull(cursor)}, "sync", &p); err != nil {
			return err
		}
		for _, ch := range p.Channels {
			known[ch.ChannelID] = max(known[ch.ChannelID], number(ch.LastSeq))
		}
		for _, m := range p.Messages {
			known[m.ChannelID] = max(known[m.ChannelID], number(m.Seq))
		}
		cursor, more = p.Cursor, p.HasMore
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cursor, c.known, c.newest, c.versions = cursor, known, map[string]string{}, map[string]int{}
	for ch, seq := range known {
		c.told.Told = append(c.told.Told, Told{Kind: Base, Channel: ch, Seq: seq})
	}
	return nil
}

type syncPage struct {
	Cursor         string
	HasMore, Reset bool
	Channels       []struct{ ChannelID, LastSeq string }
	Messages       []struct{ ChannelID, Seq string }
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// ask asks over HTTP, of a node: -1 for any. The answer's field is decoded into out.
func (c *client) ask(ctx context.Context, n int, query string, variables map[string]any, field string, out any) error {
	if n < 0 {
		n = rand.IntN(len(c.r.nodes))
	}
	began := time.Now()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.r.nodes[n].link.addr()+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.web.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var is struct {
		Data   map[string]json.RawMessage
		Errors []struct {
			Message    string
			Extensions struct {
				Code      string
				Retryable bool
			}
		}
	}
	if err := json.Unmarshal(raw, &is); err != nil {
		return fmt.Errorf("HTTP %d: %.200s", res.StatusCode, raw)
	}
	if len(is.Errors) > 0 {
		x := is.Errors[0]
		if !x.Extensions.Retryable {
			if c.r.excused(c.user, began) {
				return errFinal
			}
			c.r.odd(fmt.Sprintf("%s: %s, not to be tried again: %.60s", field, x.Extensions.Code, x.Message))
			return fmt.Errorf("%s: %w", x.Extensions.Code, errFinal)
		}
		return errors.New(x.Extensions.Code)
	}
	return json.Unmarshal(is.Data[field], out)
}

// errFinal: asking again would bring the same.
var errFinal = errors.New("not to be tried again")

// until asks again, elsewhere, until it is answered; false: the patience is over, or
// the answer is a refusal for good.
func (c *client) until(ctx context.Context, query string, variables map[string]any, field string, out any) bool {
	for end := time.Now().Add(2 * patient); time.Now().Before(end) && ctx.Err() == nil; {
		if err := c.ask(ctx, -1, query, variables, field, out); err == nil || errors.Is(err, errFinal) {
			return err == nil
		}
		t := time.NewTimer(time.Duration(50+rand.IntN(100)) * time.Millisecond)
		<-t.C
	}
	return false
}

func codeOf(answer []byte) string {
	_, rest, found := strings.Cut(string(answer), `"code":"`)
	if code, _, ok := strings.Cut(rest, `"`); found && ok {
		return code
	}
	return "without a code"
}

func newWeb() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: answer}).DialContext, MaxIdleConnsPerHost: 4}}
}
