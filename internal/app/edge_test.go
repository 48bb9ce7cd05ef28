package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
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
