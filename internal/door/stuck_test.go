package door

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/door/double"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// TestAnUpstreamThatDoesNotRead, though it goes on talking, is lost as soon as something
// cannot be written to it: what can be asked again is, elsewhere, and what is ours,
// or another's, does not notice.
func TestAnUpstreamThatDoesNotRead(t *testing.T) {
	t.Parallel()
	const n = 24
	r := newRig(t, setup{tables: true, double: func(o *double.Options) { o.ReadBuffer = 256 << 10 },
		limits:  wsock.Limits{MessageRate: 1e6, PingEvery: time.Minute},
		options: []func(*Options){func(o *Options) { o.HeldBytes, o.WriteTimeout = 64<<20, 3*time.Second }}})
	t.Cleanup(func() { r.h.Gate(false) })
	other := r.open(wsock.TransportWS)
	other.start("1", `subscription { items { text } }`)
	other.expect(`"first"`)
	p := r.open(wsock.TransportWS)
	p.start("ours", `subscription { ours }`)
	p.expect(`{"ours":0}`)
	r.h.Gate(true)
	p.start("m", `mutation { held }`) // its messages are read one after the other
	eventually(t, "it runs", func() bool { return r.h.Asked.Load() == 2 })
	large := strings.Repeat("x", 256<<10)
	for i := range n {
		p.say(`{"id":"` + fmt.Sprintf("l%02d", i) + `","type":"subscribe","payload":{"query":"subscription { items { text } }","variables":{"x":"` + large + `"}}}`)
	}
	r.engine.tell(1)
	r.insert("second")
	other.expect(`"second"`)
	told := map[string]int{}
	for len(told) < n+2 {
		got := p.expect(`"id"`)
		switch {
		case strings.Contains(got, `"id":"m"`) && strings.Contains(got, `"code":"outcome-unknown"`):
			told["m"]++
		case strings.Contains(got, `{"ours":1}`):
			told["ours"]++
		case strings.Contains(got, `"second"`):
			told[got[strings.Index(got, `"id":"l`):][:len(`"id":"l00"`)]]++
		case strings.Contains(got, `"first"`): // it was there again before the second
		default:
			t.Fatalf("%.300s", got)
		}
	}
	for what, times := range told {
		if times != 1 {
			t.Errorf("%s was told %d times", what, times)
		}
	}
	if r.seen.of("lost closed") == 0 || r.seen.of("lost garbage")+r.seen.of("lost silent") > 0 {
		t.Error("it is not counted as what it is:", r.seen.n)
	}
}

// TestAPingThatTakesItsTime, as everything does on a machine that is busy, costs no upstream:
// what is said after it is written.
func TestAPingThatTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := net.Pipe()
		defer func() { _, _ = mine.Close(), theirs.Close() }()
		in := bufio.NewReader(theirs)
		go func() {
			q, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			sum := sha1.Sum([]byte(q.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			_, _ = fmt.Fprintf(theirs, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
				base64.StdEncoding.EncodeToString(sum[:]))
		}()
		dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return mine, nil }}
		ws, res, err := dialer.DialContext(t.Context(), "ws://hasura", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		d := &Door{times: times{pulse: time.Second, silence: time.Minute}, o: Options{WriteTimeout: 10 * time.Second}}
		u := &upstream{l: &Link{d: d}, ws: ws, began: time.Now(), ops: map[string]*op{}}
		u.l.mu.Lock()
		u.beatLocked()
		u.l.mu.Unlock()
		defer u.pulse.Stop()
		<-time.After(5 * time.Second) // nobody reads, and the ping waits
		first := make(chan byte, 1)
		go func() {
			b, _ := in.ReadByte() //nolint:errcheck // then it is no ping
			first <- b
			for b, err := in.ReadByte(); err == nil; b, err = in.ReadByte() {
				_ = b
			}
		}()
		if err := u.write([]byte(`{"type":"pong"}`)); err != nil {
			t.Error("nothing can be written any more:", err)
		}
		if b := <-first; b != 0x89 {
			t.Errorf("%#x came, and no ping", b)
		}
	})
}
