package pgtest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Hole is a TCP link to a server that can be made to swallow everything: no
// answer, no refusal, no end, as when a cable is pulled.
type Hole struct {
	l       net.Listener
	network string
	to      string

	mu   sync.Mutex
	open *sync.Cond
	shut bool       // guarded by mu
	all  []net.Conn // guarded by mu
}

// NewHole is an open link to url's server, and the url by way of it.
func NewHole(t testing.TB, url string) (*Hole, string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	h := &Hole{network: "tcp", to: net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))}
	if strings.HasPrefix(cfg.Host, "/") {
		h.network, h.to = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)
	}
	h.open = sync.NewCond(&h.mu)
	if h.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // ends with the test
		t.Fatal(err)
	}
	go h.accept()
	t.Cleanup(func() {
		_ = h.l.Close()
		h.Shut(false)
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.all {
			_ = c.Close()
		}
	})
	addr := h.l.Addr().(*net.TCPAddr)
	return h, fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", addr.IP, addr.Port, cfg.User, cfg.Password, cfg.Database)
}

// Shut makes the link swallow everything, or carry again what it holds.
func (h *Hole) Shut(shut bool) {
	h.mu.Lock()
	h.shut = shut
	h.mu.Unlock()
	h.open.Broadcast()
}

func (h *Hole) accept() {
	for {
		in, err := h.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(h.network, h.to) //nolint:noctx // ends with the test
		if err != nil {
			_ = in.Close()
			continue
		}
		h.mu.Lock()
		h.all = append(h.all, in, out)
		h.mu.Unlock()
		go h.copy(in, out)
		go h.copy(out, in)
	}
}

func (h *Hole) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		h.mu.Lock()
		for h.shut {
			h.open.Wait()
		}
		h.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
