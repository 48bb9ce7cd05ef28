package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
)

const (
	secret   = `{"type":"HS256","key":"a-key-of-the-attacks-alone-and-long-enough-for-it"}`
	patience = 30 * time.Second // what is waited for at most; never a measurement
)

// server is the shipped program in a process of its own, with its own defaults.
type server struct {
	base string // http://…
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	said []string // guarded by mu: warnings and errors
}

// command is the program, or a command that runs it, with more arguments.
func command(ctx context.Context, program, db string, args ...string) *exec.Cmd {
	words := append(strings.Fields(program), args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // who runs the attacks says what is attacked
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + db, "HASURA_GRAPHQL_JWT_SECRET=" + secret,
		"HOST=127.0.0.1", "PORT=0", "ADMIN_ADDR=off", "DRAIN_TIMEOUT=0s", "LOG_LEVEL=info"}
	return cmd
}

func migrate(ctx context.Context, program, db string) error {
	if out, err := command(ctx, program, db, "migrate").CombinedOutput(); err != nil {
		return fmt.Errorf("migrating: %w: %.2000s", err, out)
	}
	return nil
}

// start has a server serve, and waits until it is ready.
func start(ctx context.Context, program, db string) (*server, error) {
	s := &server{cmd: command(ctx, program, db, "serve"), done: make(chan struct{})}
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	at := make(chan string, 1)
	go func() {
		defer close(s.done)
		s.follow(pipe, at)
		_ = s.cmd.Wait()
	}()
	select {
	case a := <-at:
		s.base = "http://" + a
	case <-s.done:
		return nil, fmt.Errorf("the server ended: %s", s.heard())
	case <-time.After(patience):
		s.stop()
		return nil, fmt.Errorf("the server does not serve: %s", s.heard())
	}
	for end := time.Now().Add(patience); !s.ready(ctx); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.stop()
			return nil, fmt.Errorf("the server is not ready: %s", s.heard())
		}
	}
	return s, nil
}

func (s *server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (s *server) follow(pipe io.Reader, at chan<- string) {
	lines := bufio.NewReader(pipe)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var line struct{ Level, Msg, Public, Error string }
		switch {
		case json.Unmarshal(text, &line) != nil:
			s.note(string(text))
		case line.Msg == "serving":
			at <- line.Public
		case line.Level == "WARN" || line.Level == "ERROR":
			s.note(line.Msg + " " + line.Error)
		}
	}
}

const notes = 1000 // lines of a server that are kept

func (s *server) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.said) < notes {
		s.said = append(s.said, strings.TrimSpace(text))
	}
}

// heard are the warnings and errors, each once with how often.
func (s *server) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := map[string]int{}
	for _, line := range s.said {
		count[line]++
	}
	return tally(count)
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// resident is what the server holds now, and the most it held since reset, in
// bytes; 0 where the system does not say.
func (s *server) resident() (now, most int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	is := func(name string) int64 {
		_, rest, _ := bytes.Cut(text, []byte(name+":"))
		if f := bytes.Fields(rest); len(f) > 0 {
			kb, err := strconv.ParseInt(string(f[0]), 10, 64)
			if err == nil {
				return kb << 10
			}
		}
		return 0
	}
	return is("VmRSS"), is("VmHWM")
}

// reset has Linux count the most anew.
func (s *server) reset() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0o600)
}

// tally are words with how often each was said, the most frequent first.
func tally(count map[string]int) string {
	var words []string
	for w := range count {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	for i, w := range words {
		words[i] = fmt.Sprintf("%s %s", w, thousands(count[w]))
	}
	return strings.Join(words, "; ")
}

// thousands is a number as docs write it.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func mint(user string) (string, error) {
	j, err := auth.ParseJWTConfig(secret)
	if err != nil {
		return "", fmt.Errorf("the key: %w", err)
	}
	id, err := parse(user)
	if err != nil {
		return "", err
	}
	t, err := auth.Mint(j, auth.Claims{User: id, Role: "user", TTL: time.Hour})
	if err != nil {
		return "", fmt.Errorf("a token: %w", err)
	}
	return t, nil
}
