//go:build unix && !linux

package devpg

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// diesWithParent: only Linux ends a child whose parent died; a guard does here.
const diesWithParent = false

func endWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// serves reports whether pid is a postmaster of this very data directory: we
// start it with the directory on its command line.
func serves(pid int, data string) bool {
	out, err := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "command=").Output()
	return err == nil && strings.Contains(string(out), "postgres -D "+data)
}
