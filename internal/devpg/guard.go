//go:build unix

package devpg

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guard is a shell that waits for us on a pipe. A line means that we cleaned up
// ourselves; the end of the pipe without one means that we were killed: then it
// ends the server and, for a temporary cluster, removes the directory.
type guard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// The server is asked only where the kernel has not done so already; the pid is
// read at the last moment and gone when the server is.
const guardScript = `
read -r word && exit 0
cd / 
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ "$2" = ask ] && [ -n "$pid" ]; then kill -INT "$pid" 2>/dev/null; fi
n=0
while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
if [ "$3" = remove ]; then rm -rf "$1"; fi
`

func startGuard(base string, remove bool) (*guard, error) {
	ask, rm := "no", "no"
	if !diesWithParent {
		ask = "ask"
	}
	if remove {
		rm = "remove"
	}
	// No output of ours is handed on: whoever waits for our output to end would
	// wait for the guard.
	cmd := exec.Command("/bin/sh", "-c", guardScript, "nchat-pg-guard", base, ask, rm) //nolint:noctx // it outlives everything, that is its use
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	return &guard{cmd: cmd, in: in}, nil
}

// dismiss ends the guard without its doing anything.
func (g *guard) dismiss() error {
	_, err := io.WriteString(g.in, "done\n")
	return errors.Join(err, g.in.Close(), g.cmd.Wait())
}
