package pgtest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// relay carries connections to a server.
type relay struct {
	l       net.Listener
	network string
	to      string
	copy    func(to, from net.Conn, sent bool) // sent: by the client

	mu  sync.Mutex
	all []net.Conn // guarded by mu
}

// relayTo is the url of a relay to url's server, until t ends; copy carries what goes one
// way over a connection, until either end is closed.
func relayTo(t testing.TB, url string, copied func(to, from net.Conn, sent bool)) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{network: "tcp", to: net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), copy: copied}
	if strings.HasPrefix(cfg.Host, "/") {
		r.network, r.to = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", cfg.Host, cfg.Port)
	}
	if r.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // ends with the test
		t.Fatal(err)
	}
	go r.accept()
	t.Cleanup(r.close)
	addr := r.l.Addr().(*net.TCPAddr)
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s sslmode=disable", addr.IP, addr.Port, cfg.User, cfg.Password, cfg.Database)
}

func (r *relay) close() {
	_ = r.l.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		_ = c.Close()
	}
}

func (r *relay) accept() {
	for {
		in, err := r.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(r.network, r.to) //nolint:noctx // ends with the test
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		r.all = append(r.all, in, out)
		r.mu.Unlock()
		go r.copy(out, in, true)
		go r.copy(in, out, false)
	}
}

// carry copies until either end is closed, and shows each part before it is written.
func carry(to, from net.Conn, each func([]byte)) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		each(buf[:n])
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
