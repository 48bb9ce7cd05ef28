package rig

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy is a TCP link that can be cut, stalled, refused, turned to another server,
// and made to lose Postgres' notifications.
type proxy struct {
	l    net.Listener
	lose atomic.Int64 // of a thousand notifications, how many are lost
	lost atomic.Int64
	deaf atomic.Int64 // links that ended, those that began to hear, and notifications lost

	mu          sync.Mutex
	open        *sync.Cond
	network, to string      // guarded by mu; "": refused
	held        bool        // guarded by mu: everything is swallowed, and comes later
	links       []*oneProxy // guarded by mu
}

type oneProxy struct {
	in, out net.Conn
	held    bool // guarded by the proxy's mu
}

func newProxy(t testing.TB, network, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, network: network, to: to}
	p.open = sync.NewCond(&p.mu)
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close()
		p.stall(false)
		p.cut(true)
	})
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }
func (p *proxy) port() int    { return p.l.Addr().(*net.TCPAddr).Port }

// turn has new links go to another server.
func (p *proxy) turn(network, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.to = network, to
}

// stall swallows everything, for links that are there and new ones.
func (p *proxy) stall(held bool) {
	p.mu.Lock()
	p.held = held
	for _, c := range p.links {
		c.held = held
	}
	p.mu.Unlock()
	p.open.Broadcast()
}

// stallSome swallows what the links that are there now carry to the client.
func (p *proxy) stallSome(share float64, r *rand.Rand) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.links {
		if r.Float64() < share {
			c.held = true
			n++
		}
	}
	return n
}

// cut ends all links: by a reset, or in order.
func (p *proxy) cut(reset bool) (n int) {
	p.mu.Lock()
	links := p.links
	p.links = nil
	for _, c := range links {
		c.held = false
	}
	p.mu.Unlock()
	p.open.Broadcast()
	for _, c := range links {
		if tcp, ok := c.in.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		if tcp, ok := c.out.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_, _ = c.in.Close(), c.out.Close()
	}
	return len(links)
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.link(in)
	}
}

func (p *proxy) link(in net.Conn) {
	p.mu.Lock()
	network, to := p.network, p.to
	p.mu.Unlock()
	if to == "" {
		_ = in.Close()
		return
	}
	out, err := net.Dial(network, to)
	if err != nil {
		_ = in.Close()
		return
	}
	p.mu.Lock()
	c := &oneProxy{in: in, out: out, held: p.held}
	p.links = append(p.links, c)
	p.mu.Unlock()
	go p.copy(c, out, in)
	if network == "unix" {
		p.copyMessages(c)
	} else {
		p.copy(c, in, out)
	}
	p.deaf.Add(1)
	p.mu.Lock()
	for i, x := range p.links {
		if x == c {
			p.links = append(p.links[:i], p.links[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
}

// pass waits while the link is stalled.
func (p *proxy) pass(c *oneProxy) {
	p.mu.Lock()
	for c.held {
		p.open.Wait()
	}
	p.mu.Unlock()
}

func (p *proxy) copy(c *oneProxy, to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.pass(c)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// copyMessages carries what a Postgres says, message by message, without those
// notifications that are lost on the way.
func (p *proxy) copyMessages(c *oneProxy) {
	defer func() { _, _ = c.in.Close(), c.out.Close() }()
	head := make([]byte, 5)
	buf := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(c.out, head); err != nil {
			return
		}
		lost := head[0] == 'A' && rand.Int64N(1000) < p.lose.Load()
		n := int64(binary.BigEndian.Uint32(head[1:])) - 4
		p.pass(c)
		if lost {
			p.lost.Add(1)
			p.deaf.Add(1)
		} else if _, err := c.in.Write(head); err != nil {
			return
		}
		for n > 0 {
			k, err := io.ReadFull(c.out, buf[:min(n, int64(len(buf)))])
			if err != nil {
				return
			}
			n -= int64(k)
			if lost {
				continue
			}
			if head[0] == 'C' && bytes.HasPrefix(buf[:k], []byte("LISTEN")) {
				p.deaf.Add(1)
			}
			if _, err := c.in.Write(buf[:k]); err != nil {
				return
			}
		}
	}
}
