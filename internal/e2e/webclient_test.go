package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const webClient = "../../web/client"

// vitest is what it reports of a run.
type vitest struct {
	TestResults []struct {
		Message          string
		AssertionResults []struct {
			FullName, Status string
			FailureMessages  []string
		}
	}
}

// client runs a command of web/client.
func client(t *testing.T, env []string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = webClient
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd.CombinedOutput()
}

func needsWebClient(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs a package of Node")
	}
	version, err := exec.CommandContext(t.Context(), "node", "-p", "parseInt(process.versions.node)").Output()
	if major, _ := strconv.Atoi(strings.TrimSpace(string(version))); err != nil || major < 20 {
		t.Skip("node is not installed, or older than 20")
	}
	if _, err := os.Stat(webClient + "/node_modules"); err != nil {
		t.Fatal("the packages of web/client are not installed: .ci/setup does it")
	}
}

// tests runs tests of web/client; each is one of ours.
func tests(t *testing.T, env ...string) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	out, err := client(t, env, "node", "node_modules/vitest/vitest.mjs", "run", "--reporter=default", "--reporter=json", "--outputFile.json="+report)
	text, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("no report (%v): %s", err, out)
	}
	var r vitest
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range r.TestResults {
		for _, a := range file.AssertionResults {
			count++
			t.Run(a.FullName, func(t *testing.T) {
				t.Parallel()
				if a.Status != "passed" {
					t.Error(a.Status, a.FailureMessages)
				}
			})
		}
		if len(file.AssertionResults) == 0 {
			t.Error(file.Message)
		}
	}
	if err != nil || count == 0 {
		t.Errorf("%d tests, %v: %s", count, err, out)
	}
}

// TestWebClientPackage: it builds, its types are the schema's, every resolver
// takes it, and it is as small as it says.
func TestWebClientPackage(t *testing.T) {
	t.Parallel()
	needsWebClient(t)
	if out, err := client(t, nil, "npm", "run", "build", "--silent"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := client(t, nil, "npm", "run", "check", "--silent")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	tests(t)
}

// rough is a server that is killed and started again, on one port.
type rough struct {
	url, port string
	*node
}

func (r *rough) start(t *testing.T) { r.node = startNode(t, r.url, "PORT="+r.port) }

// TestWebClient: the package's own tests, against real servers.
func TestWebClient(t *testing.T) {
	t.Parallel()
	needsWebClient(t)
	url := database(t)
	calm := startNode(t, url)
	r := &rough{url: database(t), port: freePort(t)}
	r.start(t)

	type call struct {
		*http.Request
		answer chan string
	}
	calls := make(chan call)
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := call{req, make(chan string, 1)}
		select {
		case calls <- c:
			fmt.Fprint(w, <-c.answer)
		case <-t.Context().Done():
		}
	}))
	defer control.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tests(t, "NCHAT_TEST_SERVER="+calm.base, "NCHAT_TEST_ROUGH="+r.base, "NCHAT_TEST_CONTROL="+control.URL)
	}()
	pool := pgtest.Pool(t, url)
	for {
		select {
		case <-ended:
			return
		case c := <-calls:
			q, answer := c.URL.Query(), "ok"
			switch c.URL.Path {
			case "/token":
				seconds, _ := strconv.Atoi(q.Get("seconds"))
				answer = token(t, uuid.MustParse(q.Get("user")), func(cl *auth.Claims) { cl.TTL = time.Duration(seconds) * time.Second })
			case "/kill":
				_ = r.cmd.Process.Kill()
				<-r.done
			case "/start":
				r.start(t)
			case "/revoke":
				x := calm.post(`mutation { revokeSessions(userId: "`+q.Get("user")+`") }`, http.Header{"X-Hasura-Admin-Secret": {admin}})
				answer = x.String()
			case "/sql":
				if _, err := pool.Exec(t.Context(), q.Get("text")); err != nil {
					t.Error(err)
				}
			}
			c.answer <- answer
		}
	}
}

// freePort is one that nobody listens on now, and that the system gives to no connection
// while the server of it is dead: below those it takes for such.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000)) //nolint:gosec // any will do
		l, err := net.Listen("tcp", "127.0.0.1:"+port) //nolint:noctx // a moment
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
