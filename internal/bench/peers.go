package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// peer is a server that hands messages to the sockets of their rooms: how it is started, and
// how one talks to it.
type peer struct {
	kind    string
	command []string // what runs it; none: this program
	dial    func(ctx context.Context, url string, user uuid.UUID) (*client, error)
	join    func(c *client, room uuid.UUID) error
	say     func(c *client, room uuid.UUID, text string) error
}

// The alternatives besides stock. Those of others are in peers/, and made by make bench.
const (
	kindNode       = "graphql-ws on Node"
	kindSocketIO   = "Socket.IO"
	kindCentrifuge = "Centrifuge"
	kindRaw        = "raw sockets"
)

const (
	peersDir   = "internal/bench/peers"
	centrifuge = "bin/bench-centrifuge"
)

// peers are those that can run here, and a word on those that cannot.
func peers() (all []peer, missing []string) {
	gql := peer{dial: dial, join: func(c *client, room uuid.UUID) error { return c.start(watchRoom, `{"c":"`+room.String()+`"}`) },
		say: func(c *client, room uuid.UUID, text string) error {
			return c.mutate(`mutation { sendMessage(input: {channelId: \"` + room.String() + `\", clientMessageId: \"` + uuid.NewString() + `\", content: \"` + text + `\"}) { status } }`)
		}}
	as := func(p peer, kind string, command ...string) peer {
		p.kind, p.command = kind, command
		return p
	}
	all = []peer{as(gql, kindOurs), as(gql, kindStock)}
	if _, err := os.Stat(peersDir + "/node_modules"); err == nil {
		node := func(file string) []string { return []string{"node", "--expose-gc", peersDir + "/" + file} }
		all = append(all, as(gql, kindNode, node("graphqlws.mjs")...), as(socketIO, kindSocketIO, node("socketio.mjs")...))
	} else {
		missing = append(missing, kindNode+" and "+kindSocketIO+": npm has not installed "+peersDir)
	}
	if _, err := os.Stat(centrifuge); err == nil {
		all = append(all, as(centrifuges, kindCentrifuge, "./"+centrifuge))
	} else {
		missing = append(missing, kindCentrifuge+": "+centrifuge+" is not built")
	}
	return append(all, as(raws, kindRaw)), missing
}

// plainly dials a WebSocket without a subprotocol, says something and waits for a word.
func plainly(ctx context.Context, url, hello, want string) (*client, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 1024, WriteBufferSize: 1024}
	ws, res, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	_ = res.Body.Close()
	c := &client{ws: ws}
	if hello == "" {
		return c, nil
	}
	return c, c.then(hello, want)
}

// then says something and waits for a word.
func (c *client) then(text, want string) error {
	if err := c.write(text); err != nil {
		return err
	}
	return c.until(want)
}

// A frame of Engine.IO: 2 and 3 are ping and pong, 40 connects, 42 is an event.
var socketIO = peer{
	dial: func(ctx context.Context, url string, _ uuid.UUID) (*client, error) {
		return plainly(ctx, url, "40", "40{")
	},
	join: func(c *client, room uuid.UUID) error { return c.then(`42["join","`+room.String()+`"]`, `"joined"`) },
	say: func(c *client, room uuid.UUID, text string) error {
		return c.then(`42["say","`+room.String()+`","`+text+`"]`, `"said"`)
	},
}

var centrifuges = peer{
	dial: func(ctx context.Context, url string, _ uuid.UUID) (*client, error) {
		return plainly(ctx, url, `{"id":1,"connect":{}}`, `"connect":{`)
	},
	join: func(c *client, room uuid.UUID) error {
		return c.then(`{"id":2,"subscribe":{"channel":"`+room.String()+`"}}`, `"subscribe":{`)
	},
	say: func(c *client, room uuid.UUID, text string) error {
		c.next++
		return c.then(fmt.Sprintf(`{"id":%d,"publish":{"channel":%q,"data":%s}}`, c.next+2, room, told(text, c.next)), `"publish":{`)
	},
}

// told is a message as those without a schema tell it.
func told(text string, number int) string {
	return fmt.Sprintf(`{"kind":"created","message":{"id":%q,"senderId":%q,"content":%q,"seq":"%d","createdAt":%q}}`,
		uuid.NewString(), users[0], text, number, time.Now().UTC().Format(time.RFC3339Nano))
}

// raws is what a socket costs by itself: a room is a list, a message is encoded and framed once.
var raws = peer{
	dial: func(ctx context.Context, url string, _ uuid.UUID) (*client, error) { return plainly(ctx, url, "", "") },
	join: func(c *client, room uuid.UUID) error { return c.then("join "+room.String(), "joined") },
	say: func(c *client, room uuid.UUID, text string) error {
		return c.then("say "+room.String()+" "+text, "said")
	},
}

// rawConn is one socket; its lock is held while somebody writes to it.
type rawConn struct {
	mu sync.Mutex
	ws *websocket.Conn
}

func (c *rawConn) write(m *websocket.PreparedMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.WritePreparedMessage(m)
}

type rawRooms struct {
	mu    sync.RWMutex
	rooms map[string][]*rawConn // guarded by mu
	said  int                   // guarded by mu
}

// raw is the server of raws.
func raw(ctx context.Context, ready func(url string)) error {
	r := &rawRooms{rooms: map[string][]*rawConn{}}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	web := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = web.Close() })
	ready("ws://" + l.Addr().String() + "/")
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (r *rawRooms) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	up := websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512, CheckOrigin: func(*http.Request) bool { return true }}
	ws, err := up.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	c := &rawConn{ws: ws}
	answer := func(text string) {
		if m, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(text)); err == nil {
			c.write(m)
		}
	}
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			return
		}
		what, rest, _ := strings.Cut(string(b), " ")
		room, text, _ := strings.Cut(rest, " ")
		if what == "join" {
			r.mu.Lock()
			r.rooms[room] = append(r.rooms[room], c)
			r.mu.Unlock()
			answer("joined")
			continue
		}
		r.say(room, text)
		answer("said")
	}
}

func (r *rawRooms) say(room, text string) {
	r.mu.Lock()
	r.said++
	n := r.said
	r.mu.Unlock()
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(told(text, n)))
	if err != nil {
		return
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, c := range r.rooms[room] {
		c.write(m)
	}
}

// pinned is a command on the processor that servers have to themselves, where one was named.
func pinned(ctx context.Context, command ...string) *exec.Cmd {
	if cpu := os.Getenv(envCPU); cpu != "" {
		command = append([]string{"taskset", "-c", cpu}, command...)
	}
	return exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // one of the servers above
}
