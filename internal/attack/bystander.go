package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

const stampPrefix = "said at "

// bystander is an ordinary user with a socket and an address of its own, who
// watches others, is in a room, and asks, says and types something now and then.
type bystander struct {
	k       *crowd
	at      int // its place in the crowd
	room    uuid.UUID
	others  []string // whom it watches, as JSON
	here    int      // members of its room besides it
	url     string
	token   string
	web     *http.Client
	ws      *websocket.Conn
	done    chan struct{} // closed when the socket has ended
	leaving atomic.Bool
	steps   int

	writing sync.Mutex
	mu      sync.Mutex
	next    int                                // guarded by mu
	waits   map[string]chan json.RawMessage    // guarded by mu: by operation
	online  map[string]bool                    // guarded by mu: whom it has seen online
	all     chan struct{}                      // closed once it has seen all of them
	heard   chan struct{}                      // holds one where it was told of what it said itself
	handle  map[string]func(p json.RawMessage) // by subscription
}

// addressed dials from an address of its own: limits go by addresses.
func addressed(a, b int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(a), byte(b))}, Timeout: patience}
}

func (k *crowd) join(ctx context.Context, base string, at int) (*bystander, error) {
	w := k.world
	b := &bystander{k: k, at: at, room: w.rooms[at/roomSize], url: base + "/graphql", done: make(chan struct{}), all: make(chan struct{}), heard: make(chan struct{}, 1),
		waits: map[string]chan json.RawMessage{}, online: map[string]bool{}}
	b.here = min(roomSize, len(w.people)-at/roomSize*roomSize) - 1
	for i := range min(watches, len(w.people)-1) {
		b.others = append(b.others, `"`+w.people[(at+1+i)%len(w.people)].String()+`"`)
	}
	var err error
	if b.token, err = mint(w.people[at].String()); err != nil {
		return nil, err
	}
	from := addressed(1, 1+at)
	b.web = &http.Client{Transport: &http.Transport{DialContext: from.DialContext}, Timeout: patience}
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patience, NetDialContext: from.DialContext}
	ws, res, err := d.DialContext(ctx, strings.Replace(b.url, "http", "ws", 1), nil)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	_ = res.Body.Close()
	b.ws = ws
	b.handle = map[string]func(json.RawMessage){"presence": b.presence, "room": b.message, "general": func(json.RawMessage) {}, "typing": func(json.RawMessage) {}}
	acked := make(chan struct{})
	go b.read(acked)
	b.write(fmt.Sprintf(`{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer %s"},"autoDeliver":%t}}`, b.token, at%5 == 0))
	select {
	case <-acked:
	case <-b.done:
		return nil, errors.New("the socket is closed")
	case <-time.After(patience):
		return nil, errors.New("no connection_ack")
	}
	room, general := b.room.String(), w.general.String()
	b.subscribe("presence", `subscription ($u: [uuid!]!) { presenceChanged(userIds: $u) { userId status } }`, `{"u":[`+strings.Join(b.others, ",")+`]}`)
	b.subscribe("room", `subscription ($c: uuid!) { messageChanged(channelId: $c) { kind message { id senderId content seq } cursor } }`, `{"c":"`+room+`"}`)
	b.subscribe("general", `subscription ($c: uuid!) { messageChanged(channelId: $c) { kind message { id senderId content seq } cursor } }`, `{"c":"`+general+`"}`)
	b.subscribe("typing", `subscription ($r: [RoomInput!]!) { typingChanged(rooms: $r) { totalCount users { userId } } }`, `{"r":[{"channelId":"`+room+`"}]}`)
	return b, nil
}

func (b *bystander) leave() {
	b.leaving.Store(true)
	_ = b.ws.Close()
	<-b.done
	b.web.CloseIdleConnections()
}

// settled waits until it is told of messages, and has seen online all whom it watches.
func (b *bystander) settled(ctx context.Context) error {
	select {
	case <-b.all:
	case <-b.done:
		return fmt.Errorf("bystander %d: the socket is closed", b.at)
	case <-ctx.Done():
		return fmt.Errorf("bystander %d: %w", b.at, ctx.Err())
	case <-time.After(patience):
		return fmt.Errorf("bystander %d does not see all others online", b.at)
	}
	for {
		if _, err := b.run(ctx, `mutation ($c: uuid!, $k: String!) { sendMessage(input: {channelId: $c, clientMessageId: $k, content: "hello"}) { status } }`,
			map[string]any{"c": b.room, "k": uuid.NewString()}); err != nil {
			return err
		}
		select {
		case <-b.heard:
			return nil
		case <-b.done:
			return fmt.Errorf("bystander %d: the socket is closed", b.at)
		case <-time.After(time.Second): // its subscription may have begun just after
		}
	}
}

func (b *bystander) write(text string) {
	b.writing.Lock()
	defer b.writing.Unlock()
	_ = b.ws.SetWriteDeadline(time.Now().Add(patience))
	_ = b.ws.WriteMessage(websocket.TextMessage, []byte(text)) // the reader sees it end
}

func (b *bystander) subscribe(id, query, variables string) {
	b.write(fmt.Sprintf(`{"id":%q,"type":"subscribe","payload":{"query":%q,"variables":%s}}`, id, query, variables))
}

type inbound struct {
	ID, Type string
	Payload  json.RawMessage
}

func (b *bystander) read(acked chan<- struct{}) {
	defer close(b.done)
	for {
		_, data, err := b.ws.ReadMessage()
		if err != nil {
			if !b.leaving.Load() {
				b.k.wrong("socket closed " + closeCode(err))
			}
			return
		}
		var f inbound
		if err := json.Unmarshal(data, &f); err != nil {
			b.k.wrong("an odd frame")
			continue
		}
		sub := b.handle[f.ID]
		switch {
		case f.Type == "connection_ack":
			close(acked)
		case f.Type == "ping":
			b.write(`{"type":"pong"}`)
		case sub != nil && f.Type == "next" && !bytes.Contains(f.Payload, []byte(`"errors"`)):
			sub(f.Payload)
		case sub != nil:
			b.k.wrong("subscription " + f.Type + " " + codeOf(f.Payload))
		case f.Type == "next" || f.Type == "error":
			b.mu.Lock()
			wait := b.waits[f.ID]
			delete(b.waits, f.ID)
			b.mu.Unlock()
			if wait != nil {
				wait <- f.Payload
			}
		}
	}
}

func closeCode(err error) string {
	if c, ok := errors.AsType[*websocket.CloseError](err); ok {
		return strconv.Itoa(c.Code)
	}
	return "without a code"
}

var code = regexp.MustCompile(`"code":"([^"]*)"`)

// codeOf is the first code of an answer; "": there is none.
func codeOf(answer []byte) string {
	if m := code.FindSubmatch(answer); m != nil {
		return string(m[1])
	}
	return ""
}

func (b *bystander) presence(p json.RawMessage) {
	var is struct {
		Data struct {
			PresenceChanged struct{ UserID, Status string }
		}
	}
	if json.Unmarshal(p, &is) != nil {
		return
	}
	got := is.Data.PresenceChanged
	b.mu.Lock()
	defer b.mu.Unlock()
	if got.Status != "offline" {
		b.online[got.UserID] = true
		if len(b.online) == len(b.others) {
			select {
			case <-b.all:
			default:
				close(b.all)
			}
		}
	} else if b.online[got.UserID] {
		b.k.add(func(f *figures) { f.offline++ })
	}
}

func (b *bystander) message(p json.RawMessage) {
	now := time.Now().UnixNano()
	if bytes.Contains(p, []byte(`"senderId":"`+b.k.world.people[b.at].String())) {
		select {
		case b.heard <- struct{}{}:
		default:
		}
		return
	}
	_, stamp, ok := bytes.Cut(p, []byte(stampPrefix))
	if !ok {
		return
	}
	end := bytes.IndexByte(stamp, ' ')
	if end < 0 {
		return
	}
	if sent, err := strconv.ParseInt(string(stamp[:end]), 10, 64); err == nil {
		b.k.add(func(f *figures) { f.deliveries = append(f.deliveries, time.Duration(now-sent)) })
	}
}

// step is one thing that it does: ask over HTTP, say something, type.
func (b *bystander) step(ctx context.Context) {
	b.steps++
	room := map[string]any{"c": b.room}
	switch n := b.steps + b.at; n % 3 {
	case 0:
		q := []string{`{ myPresence { status sessions { id } } }`, `query ($u: [uuid!]!) { presences(userIds: $u) { userId status } }`,
			`query ($c: uuid!) { messages(channelId: $c, first: 20) { messages { id content seq } } }`, `query { readStates { channelId unreadCount } }`}[n/3%4]
		b.timed(func() (json.RawMessage, error) {
			return b.ask(ctx, q, map[string]any{"u": json.RawMessage("[" + strings.Join(b.others, ",") + "]"), "c": b.room})
		})
	case 1:
		b.timed(func() (json.RawMessage, error) {
			text := fmt.Sprintf("%s%d and what one says besides", stampPrefix, time.Now().UnixNano())
			r, err := b.run(ctx, `mutation ($c: uuid!, $k: String!, $t: String!) { sendMessage(input: {channelId: $c, clientMessageId: $k, content: $t}) { status error { code } } }`,
				map[string]any{"c": b.room, "k": uuid.NewString(), "t": text})
			if err == nil {
				b.k.add(func(f *figures) { f.due += b.here })
			}
			return r, err
		})
	default:
		b.timed(func() (json.RawMessage, error) {
			return b.run(ctx, `mutation ($c: uuid!) { startTyping(room: {channelId: $c}) { accepted } }`, room)
		})
	}
}

func (b *bystander) timed(do func() (json.RawMessage, error)) {
	began := time.Now()
	_, err := do()
	took := time.Since(began)
	if err != nil {
		b.k.wrong(err.Error())
		return
	}
	b.k.add(func(f *figures) { f.answers = append(f.answers, took) })
}

// run is an operation over the socket.
func (b *bystander) run(ctx context.Context, query string, variables map[string]any) (json.RawMessage, error) {
	wait := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.next++
	id := strconv.Itoa(b.next)
	b.waits[id] = wait
	b.mu.Unlock()
	v, err := json.Marshal(variables)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	b.subscribe(id, query, string(v))
	select {
	case r := <-wait:
		return r, answered(r)
	case <-b.done:
		return nil, errors.New("no socket to ask over")
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		return nil, fmt.Errorf("no answer within %s over the socket", patience)
	}
}

// ask is an operation over HTTP.
func (b *bystander) ask(ctx context.Context, query string, variables map[string]any) (json.RawMessage, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+b.token)
	res, err := b.web.Do(req)
	if err != nil {
		return nil, errors.New("HTTP fails: " + reason(err))
	}
	defer func() { _ = res.Body.Close() }()
	r, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, errors.New("HTTP fails: " + reason(err))
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d %s", res.StatusCode, codeOf(r))
	}
	return r, answered(r)
}

// answered says of an answer whether it is what was asked for.
func answered(r json.RawMessage) error {
	if c := codeOf(r); c != "" {
		return errors.New(c)
	}
	if bytes.Contains(r, []byte(`"errors"`)) || bytes.Contains(r, []byte(`"failed"`)) {
		return fmt.Errorf("answered %.200s", r)
	}
	return nil
}
