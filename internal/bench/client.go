package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/auth"
)

const patience = 30 * time.Second

// watch is one document for all who watch, as clients send it, and its variables.
func watch(users ...uuid.UUID) (query, variables string) {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = `"` + u.String() + `"`
	}
	return `subscription ($users: [uuid!]!) { presenceChanged(userIds: $users) { userId status lastSeenAt } }`, `{"users":[` + strings.Join(ids, ",") + `]}`
}

func setPresence(status string) string {
	return `mutation { setPresence(status: ` + status + `) { status } }`
}

// client is one socket. It looks at frames as bytes and decodes nothing, so
// that what is measured is the server.
type client struct {
	ws   *websocket.Conn
	next int
}

var tokens sync.Map // user to token: minting is not what is measured

func tokenOf(user uuid.UUID) (string, error) {
	if t, ok := tokens.Load(user); ok {
		return t.(string), nil
	}
	j, err := auth.ParseJWTConfig(secret)
	if err != nil {
		return "", err
	}
	t, err := auth.Mint(j, auth.Claims{User: user, Role: "user", TTL: time.Hour})
	tokens.Store(user, t)
	return t, err
}

func dial(ctx context.Context, url string, user uuid.UUID) (*client, error) {
	t, err := tokenOf(user)
	if err != nil {
		return nil, err
	}
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: patience, ReadBufferSize: 1024, WriteBufferSize: 1024}
	ws, res, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	_ = res.Body.Close()
	c := &client{ws: ws}
	if err := c.write(`{"type":"connection_init","payload":{"headers":{"Authorization":"Bearer ` + t + `"}}}`); err != nil {
		return nil, err
	}
	return c, c.until("connection_ack")
}

func (c *client) close() { _ = c.ws.Close() }

func (c *client) write(text string) error {
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// until reads up to a frame that holds text.
func (c *client) until(text string) error {
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, b, err := c.ws.ReadMessage()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", text, err)
		}
		if bytes.Contains(b, []byte(text)) {
			return nil
		}
		if bytes.Contains(b, []byte(`"errors"`)) || bytes.Contains(b, []byte(`"type":"error"`)) {
			return fmt.Errorf("waiting for %s: %s", text, b)
		}
	}
}

func (c *client) start(query, variables string) error {
	c.next++
	return c.write(fmt.Sprintf(`{"id":"%d","type":"subscribe","payload":{"query":"%s","variables":%s}}`, c.next, query, variables))
}

func (c *client) subscribe(query, variables string) error {
	if err := c.start(query, variables); err != nil {
		return err
	}
	return c.until(`"next"`)
}

func (c *client) mutate(query string) error {
	if err := c.start(query, "{}"); err != nil {
		return err
	}
	return c.until(`"complete"`)
}

// crowd is many sockets that watch alice, each with a goroutine of its own.
type crowd struct {
	all []*client
	ask []chan string
	got chan error
}

const friends = 10 // that each watches, besides alice

// gather connects the first n of people, each as itself. Each watches alice
// and the next few of the people.
func gather(ctx context.Context, url string, people []uuid.UUID, n int) (*crowd, error) {
	k := &crowd{got: make(chan error, n)}
	for i, p := range people[:n] {
		c, err := dial(ctx, url, p)
		if err != nil {
			return k, err
		}
		k.all = append(k.all, c)
		watched := []uuid.UUID{users[0]}
		for f := range friends {
			watched = append(watched, people[(i+1+f)%len(people)])
		}
		if err := c.subscribe(watch(watched...)); err != nil {
			return k, err
		}
		ask := make(chan string)
		k.ask = append(k.ask, ask)
		go func() {
			for text := range ask {
				k.got <- c.until(text)
			}
		}()
	}
	return k, nil
}

// until waits for a frame with text on every socket.
func (k *crowd) until(text string) error {
	for _, a := range k.ask {
		a <- text
	}
	var err error
	for range k.ask {
		err = errors.Join(err, <-k.got)
	}
	return err
}

func (k *crowd) close() {
	for _, a := range k.ask {
		close(a)
	}
	for _, c := range k.all {
		c.close()
	}
}

// alternate sets the status of alice, who is neither busy nor away, n times,
// waits each time until everybody has it, and says how long that took; twenty times a
// second at most, for no user is read again more often.
func alternate(alice *client, n int, everybody func(text string) error) ([]time.Duration, error) {
	took := make([]time.Duration, 0, n)
	for i := range n {
		status := []string{"busy", "away"}[i%2]
		began := time.Now()
		if err := alice.mutate(setPresence(status)); err != nil {
			return took, err
		}
		if err := everybody(status); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Until(began.Add(time.Second / 20)))
	}
	return took, nil
}

// warmUp is the first changes, which nobody measures, with alice as before at the end.
func warmUp(alice *client, everybody func(text string) error) error {
	if _, err := alternate(alice, 2, everybody); err != nil {
		return err
	}
	return alice.mutate(setPresence("online"))
}
