package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// chromium is a browser of this machine; "": none.
func chromium() string {
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// demoBuild is the command with the demo's page in it.
func demoBuild(t *testing.T) string {
	t.Helper()
	tag, err := exec.CommandContext(t.Context(), "../../web/build.sh").CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(tag)), "demo") {
		t.Fatalf("the page was not built: %v %s", err, tag)
	}
	bin := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "demo", "-o", bin, "../../cmd/nchat-realtime").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// demoServer is `dev` with the page, on one port.
type demoServer struct {
	bin, url, port, aside string
	cmd                   *exec.Cmd
}

func (d *demoServer) start(t *testing.T) {
	t.Helper()
	d.cmd = exec.Command(d.bin, "dev")
	d.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + d.url, "PORT=" + d.port, "ADMIN_ADDR=127.0.0.1:" + d.aside, "ADMIN_TOKEN=" + operators, "DATA_DIR=" + t.TempDir(), "HIDDEN_AFTER=1s"}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	(&node{t: t, base: "http://127.0.0.1:" + d.port}).ready()
}

func (d *demoServer) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// TestDemoInABrowser: the demo's page in a real browser, against the real server,
// through an outage of the network and one of the server. Each test of
// web/demo/test/browser.mjs is one of ours.
func TestDemoInABrowser(t *testing.T) { //nolint:tparallel // its parts are steps of one script
	t.Parallel()
	needsWebClient(t)
	browser := chromium()
	if browser == "" {
		t.Skip("no browser: neither chromium nor google-chrome is installed; .ci/setup installs it where it may")
	}
	d := &demoServer{bin: demoBuild(t), url: database(t), port: freePort(t), aside: freePort(t)}
	d.start(t)
	defer func() { d.kill() }()
	cmd := exec.CommandContext(t.Context(), "node", "test/browser.mjs", "http://127.0.0.1:"+d.port, browser, "http://127.0.0.1:"+d.aside, operators)
	cmd.Dir, cmd.Stderr = "../../web/demo", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the browser ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var is struct {
			Name, Error, Do string
			MS              int
		}
		if err := json.Unmarshal(lines.Bytes(), &is); err != nil {
			t.Fatal(err, lines.Text())
		}
		switch is.Do {
		case "kill":
			d.kill()
		case "start":
			d.start(t)
		default:
			count++
			t.Run(is.Name, func(t *testing.T) {
				t.Logf("%d ms", is.MS)
				if is.Error != "" {
					t.Error(is.Error)
				}
			})
			continue
		}
		if _, err := fmt.Fprintln(in, "done"); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil || count == 0 {
		t.Errorf("%d tests, %v", count, err)
	}
}
