package postgres

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestSilentLinkEndsARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &impatientConn{Conn: near, limit: answerTimeout}
		defer c.Close()
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read = %v; want a timeout", err)
		}
		if took := time.Since(began); took != answerTimeout {
			t.Errorf("Read gave up after %v; want %v", took, answerTimeout)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write into a full pipe = %v; want a timeout", err)
		}
	})
}

// Each byte that arrives starts the wait anew: a long answer is no dead link.
func TestSlowAnswerIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := &impatientConn{Conn: near, limit: answerTimeout}
		defer c.Close()
		go func() {
			defer far.Close()
			for range 5 {
				<-time.After(answerTimeout - time.Second)
				if _, err := far.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		for i := range 5 {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	})
}

// The driver's own deadline (a context that ended) goes before ours, and ours
// is back when it is lifted.
func TestDriversDeadlineGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &impatientConn{Conn: near, limit: answerTimeout}
		defer c.Close()
		for _, tc := range []struct {
			set  time.Time
			want time.Duration
		}{
			{time.Now().Add(time.Second), time.Second},
			{time.Time{}, answerTimeout},
		} {
			if err := c.SetDeadline(tc.set); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read = %v; want a timeout", err)
			}
			if took := time.Since(began); took != tc.want {
				t.Errorf("Read gave up after %v; want %v", took, tc.want)
			}
		}
	})
}
