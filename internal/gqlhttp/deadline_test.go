package gqlhttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// A client that stops reading holds its own stream for the write deadline only.
func TestAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"events": `{"query":"subscription { flood }"}`, "one large answer": `{"query":"{ large }"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Options{WriteTimeout: 50 * time.Millisecond})
			accept, times := mediaSSE, 1
			if !strings.Contains(body, "flood") {
				accept, times = mediaJSON, 64 // more than any buffer between us holds
			}
			conn := dial(t, s)
			for range times {
				if _, err := fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: %s\r\nContent-Length: %d\r\n\r\n%s", accept, len(body), body); err != nil {
					t.Fatal(err)
				}
			}
			wait(t, "the handler", s.left)
			wait(t, "the connection's end", s.closed)
			if accept == mediaSSE {
				if err := wait(t, "the operation's end", s.schema.ended); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			} else if n := s.schema.ran.Load(); n >= int64(times) {
				t.Errorf("%d answers went nowhere", n)
			}
		})
	}
}

// raw sends one request's bytes on a connection, and reads the answer to it.
func raw(t *testing.T, conn net.Conn, request string) (status int, body string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode, all(t, resp)
}

func dial(t *testing.T, s *site) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func post(length int, body string) string {
	return fmt.Sprintf("POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body)
}

// Neither the operation nor whatever comes next on the connection runs into the
// deadlines of a body and an answer.
func TestDeadlinesEndWithWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{WriteTimeout: 100 * time.Millisecond, ReadTimeout: 100 * time.Millisecond})
	conn := dial(t, s)
	const slow = `{"query":"{ slow }"}`
	if status, body := raw(t, conn, post(len(slow), slow)); status != http.StatusOK || !strings.Contains(body, "done") {
		t.Error("the operation:", status, body)
	}
	const stream = "GET /graphql?query={hello} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
	<-time.After(150 * time.Millisecond)
	if status, body := raw(t, conn, stream); status != http.StatusOK || !strings.HasSuffix(body, completed) {
		t.Error("an event stream:", status, body)
	}
	<-time.After(150 * time.Millisecond)
	if status, body := raw(t, conn, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusOK || body != "plain" {
		t.Error("the next request:", status, body)
	}
}

// HTTP/2 has deadlines of its own: a stream that is silent for longer than a
// write may take goes on.
func TestASilentStreamOverHTTP2(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{WriteTimeout: time.Second, ReadTimeout: time.Second}, func(s *httptest.Server) { s.EnableHTTP2 = true })
	resp := s.subscribe(t, "subscription { forever }") //nolint:bodyclose // by subscribe
	if resp.ProtoMajor != 2 {
		t.Fatal(resp.Proto)
	}
	got := lines(resp.Body)
	for i := range 2 {
		<-time.After(1500 * time.Millisecond)
		select {
		case s.schema.tick <- i:
		case err := <-s.schema.ended:
			t.Fatal("the silent stream was ended:", err)
		case <-time.After(patience):
			t.Fatal("nobody takes the next event")
		}
		for l := range got {
			if strings.HasPrefix(l, "data: ") {
				break
			}
			if strings.Contains(l, "complete") {
				t.Fatal(l)
			}
		}
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := wait(t, "the operation's end", s.schema.ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, "the handler", s.left)
}

func TestABodyIsRefusedByItsLengthAlone(t *testing.T) {
	t.Parallel()
	if status, body := raw(t, dial(t, newSite(t, Options{})), post(1<<40, "")); status != http.StatusRequestEntityTooLarge || !strings.Contains(body, "1048576 bytes") {
		t.Error(status, body)
	}
}

func TestABodyThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{ReadTimeout: 50 * time.Millisecond})
	if status, body := raw(t, dial(t, s), post(100, "{")); status != http.StatusRequestTimeout || !strings.Contains(body, valid) {
		t.Error(status, body)
	}
	wait(t, "the connection's end", s.closed)
	// One that is refused is not waited for either.
	if status, body := raw(t, dial(t, s), strings.Replace(post(100, "{"), "application/json", "text/plain", 1)); status != http.StatusUnsupportedMediaType {
		t.Error(status, body)
	}
	wait(t, "the connection's end", s.closed)
}

func TestBodiesOfUnknownLengthAreLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{BodyLimit: func(*http.Request) int64 { return 1000 }})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, io.MultiReader(strings.NewReader(ask), strings.NewReader(strings.Repeat(" ", 10000))))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", mediaJSON)
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body := all(t, resp); resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "1000 bytes") || s.schema.ran.Load() != 0 {
		t.Error(resp.Status, body)
	}
}

// TestARefusalByRateWaits: each way it may be answered; not for Hasura, not with a
// large body in hand, and no other refusal.
func TestARefusalByRateWaits(t *testing.T) {
	t.Parallel()
	const pause = 200 * time.Millisecond
	s := newSite(t, Options{Refusal: pause})
	for name, c := range map[string]struct{ accept, body string }{
		"alone":              {mediaJSON, `{"query":"{ limited }"}`},
		"in a batch":         {mediaJSON, `[{"query":"{ limited }"},{"query":"{ hello }"}]`},
		"in its own media":   {mediaGraphQL, `{"query":"{ limited }"}`},
		"several in a batch": {mediaJSON, `[{"query":"{ limited }"},{"query":"{ limited }"}]`},
	} {
		began := time.Now()
		resp := s.do(t, http.MethodPost, "", c.accept, mediaJSON, c.body, nil)
		got := all(t, resp)
		_ = resp.Body.Close()
		if took := time.Since(began); took < pause || !strings.Contains(got, "slow down") {
			t.Errorf("%s: %s after %v", name, got, took)
		}
	}
	never := newSite(t, Options{Refusal: time.Hour, AlwaysOK: func(r *http.Request) bool { return r.Header.Get("X-Hasura") != "" }})
	for name, c := range map[string]struct {
		body, want string
		header     http.Header
	}{
		"for Hasura":   {`{"query":"{ limited }"}`, "slow down", http.Header{"X-Hasura": {"yes"}}},
		"a large body": {`{"query":"{ limited } #` + strings.Repeat(" ", lingering) + `"}`, "slow down", nil},
		"what is run":  {`{"query":"{ hello }"}`, "hello", nil},
		"denied":       {`{"query":"{ denied }"}`, "access", nil},
		"no GraphQL":   {`{"query":"{"}`, "errors", nil},
	} {
		resp := never.do(t, http.MethodPost, "", mediaJSON, mediaJSON, c.body, c.header)
		if got := all(t, resp); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
		_ = resp.Body.Close()
	}
	const chunk = `{"query":"{ limited }"}`
	chunked := fmt.Sprintf("POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(chunk), chunk)
	if _, got := raw(t, dial(t, never), chunked); !strings.Contains(got, "slow down") {
		t.Errorf("a body that does not say its length: %s", got)
	}
}

// TestAnAnswerForWhichThereIsNoRoom: a large one asks for it, and gives it back once
// it is read; without any it is refused, and smaller ones are not.
func TestAnAnswerForWhichThereIsNoRoom(t *testing.T) {
	t.Parallel()
	asked, free := make(chan int, 10), make(chan struct{}, 1)
	free <- struct{}{}
	s := newSite(t, Options{Room: func(_ context.Context, bytes int) (func(), error) {
		asked <- bytes
		select {
		case <-free:
			return func() { free <- struct{}{} }, nil
		default:
			return nil, fault.Later(fault.RateLimited, time.Second, "no room")
		}
	}})
	query := func(text string) string {
		resp := s.do(t, http.MethodPost, "", mediaJSON, mediaJSON, `{"query":"`+text+`"}`, nil)
		defer func() { _ = resp.Body.Close() }()
		return all(t, resp)
	}
	for range 2 {
		if got := query("{ large }"); len(got) < 1<<20 {
			t.Fatalf("%.200s", got)
		}
		if n := wait(t, "room", asked); n < 1<<20 {
			t.Errorf("%d bytes", n)
		}
		<-s.left
	}
	<-free
	if got := query("{ large }"); !strings.Contains(got, "no room") {
		t.Errorf("%.200s", got)
	}
	if got := query("{ hello }"); !strings.Contains(got, "hello") || len(asked) != 1 {
		t.Errorf("%.200s, asked %d times", got, len(asked))
	}
}
