package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoSendsStillReadsTheAnswer: a peer that wants its connection closed, as proxies
// do, and is answered before it has sent all, is not cut off with the answer on its way.
func TestWhoSendsStillReadsTheAnswer(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"HASURA_UPSTREAM_URL": "http://127.0.0.1:1"})
	p.lingers = time.Minute // however slow this machine is
	at := strings.TrimPrefix(running(t, p), "http://")
	const size = 128 << 10
	for path, want := range map[string]int{"/nowhere": http.StatusNotFound, "/v1/graphql": http.StatusBadGateway, "/hasura/actions": http.StatusUnauthorized} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		send := func(what string) {
			if _, err := io.WriteString(conn, what); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, size))
		in := bufio.NewReader(conn)
		if _, err := in.Peek(1); err != nil { // it is answered
			t.Fatal(err)
		}
		for range 4 {
			send(strings.Repeat("x", size/4))
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != want {
			t.Errorf("%s: %d %v", path, res.StatusCode, err)
		}
		_ = res.Body.Close()
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: ended by %v", path, err)
		}
		_ = conn.Close()
	}
}

// TestASocketIsNotLingeredFor: its connection is not the server's any more, whatever body it
// said would come.
func TestASocketIsNotLingeredFor(t *testing.T) {
	t.Parallel()
	panicked := make(chan any, 1)
	e := edge{body: time.Minute, lingers: time.Minute, next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.CopyN(conn, rw, 4)
		}()
	})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { panicked <- recover() }()
		e.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if v := <-panicked; v != nil {
		t.Errorf("it panics: %v", v)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil) //nolint:bodyclose // a socket has none
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || string(got) != "ping" {
		t.Errorf("%q %v", got, err)
	}
}

// stubborn is a connection whose reader has all the time there is, until it is to have none.
type stubborn struct {
	*httptest.ResponseRecorder
	once sync.Once
	over chan struct{}
}

func (s *stubborn) SetReadDeadline(at time.Time) error {
	if !at.After(time.Now()) {
		s.once.Do(func() { close(s.over) })
	}
	return nil
}

func (s *stubborn) Read([]byte) (int, error) { <-s.over; return 0, io.ErrUnexpectedEOF }
func (s *stubborn) Close() error             { return nil }

// TestLingeringEnds in its time, also where somebody else took the deadline away that it set.
func TestLingeringEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, began := &stubborn{ResponseRecorder: httptest.NewRecorder(), over: make(chan struct{})}, time.Now()
		(&guarded{ResponseWriter: s, body: &watched{ReadCloser: s}}).linger(time.Minute)
		if took := time.Since(began); took != time.Minute || !s.Flushed {
			t.Errorf("it takes %s, answered first: %v", took, s.Flushed)
		}
	})
}
