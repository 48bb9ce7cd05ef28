package door

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines is an answer that notes how long its connection may be read.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// breaking is a body that ends with an error, and of what happens meanwhile.
type breaking struct{ meanwhile func() }

func (b breaking) Read([]byte) (int, error) {
	b.meanwhile()
	return 0, io.ErrUnexpectedEOF
}

func (breaking) Close() error { return nil }

// TestAClosedBodyLeavesItsConnectionAlone: the transport may read it still when its request
// has been answered, and how long the connection may be read is then the server's matter.
func TestAClosedBodyLeavesItsConnectionAlone(t *testing.T) {
	t.Parallel()
	for closed, want := range map[bool]int{false: 2, true: 1} {
		conn := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		body := &arriving{control: http.NewResponseController(conn), began: time.Now(), stalled: time.Minute}
		body.ReadCloser = breaking{func() {
			if closed {
				_ = body.Close()
			}
		}}
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if len(conn.set) != want {
			t.Errorf("closed %v: deadlines %v", closed, conn.set)
		}
		_ = body.Close()
		if _, err := body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) || len(conn.set) != want {
			t.Errorf("closed %v: read with %v, deadlines %v", closed, err, conn.set)
		}
	}
}

// TestALateBodyIsRefused also where net/http has ended its request already, as it does before
// whoever reads the body hears of it; who has gone is not answered.
func TestALateBodyIsRefused(t *testing.T) {
	t.Parallel()
	for stalled, want := range map[time.Duration]int{-time.Second: http.StatusRequestTimeout, time.Minute: http.StatusOK} { // OK: nothing is written
		w := httptest.NewRecorder()
		f := &fate{arriving: &arriving{control: http.NewResponseController(w), began: time.Now(), stalled: stalled}}
		ctx, gone := context.WithCancel(t.Context())
		gone()
		r := httptest.NewRequestWithContext(f.follow(ctx), http.MethodPost, pathGraphQL, nil)
		f.arriving.ReadCloser = breaking{func() { (&Door{}).failed(w, r, ctx.Err()) }}
		_, _ = f.arriving.Read(make([]byte, 1))
		if w.Code != want {
			t.Errorf("with %s: %d", stalled, w.Code)
		}
		if f.arriving.late() {
			t.Error("what is not waited for is late")
		}
	}
}
