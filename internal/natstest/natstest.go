// Package natstest runs a NATS server inside a test.
package natstest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is one on a loopback port of its own.
type Server struct {
	t   testing.TB
	o   server.Options
	srv *server.Server
}

// New starts one that lets in "nats" with the password given, or anybody where
// that is empty; it ends with the test.
func New(t testing.TB, password string) *Server {
	t.Helper()
	s := &Server{t: t, o: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}}
	if password != "" {
		s.o.Username, s.o.Password = "nats", password
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// URL is where it listens, without credentials.
func (s *Server) URL() string { return s.srv.ClientURL() }

// Stop ends it; its clients lose their connections.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Start runs it, again on the port it had.
func (s *Server) Start() {
	s.t.Helper()
	o := s.o
	srv, err := server.NewServer(&o)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		s.t.Fatal("the NATS server does not start")
	}
	s.srv = srv
	s.o.Port = o.Port
}
