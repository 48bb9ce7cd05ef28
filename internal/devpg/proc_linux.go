package devpg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// diesWithParent: the kernel ends a child whose parent died (prctl(2), PR_SET_PDEATHSIG).
const diesWithParent = true

func endWithParent(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// serves reports whether pid is a postmaster of this very data directory, which
// is its working directory. A process we may not look at is not ours.
func serves(pid int, data string) bool {
	proc := fmt.Sprintf("/proc/%d", pid)
	exe, err := os.Readlink(proc + "/exe")
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "postgres") {
		return false
	}
	cwd, err := os.Stat(proc + "/cwd")
	if err != nil {
		return false
	}
	want, err := os.Stat(data)
	return err == nil && os.SameFile(cwd, want)
}
