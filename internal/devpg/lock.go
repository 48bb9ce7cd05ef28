//go:build unix

package devpg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// holder is what the lock file says of the process that holds it.
type holder struct {
	PID int    `json:"pid"`
	URL string `json:"url,omitempty"`
}

// takeLock holds the directory for as long as the returned file is open in this
// process; the kernel lets go of it however the process ends.
func takeLock(h home) (*os.File, error) {
	f, err := h.open("lock", os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of Postgres' directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = note(f, holder{PID: os.Getpid()})
		if err == nil {
			return f, nil
		}
	}
	defer f.Close()
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	var other holder
	// Unreadable for a moment while the other writes: then the pid is not known.
	if raw, err := io.ReadAll(f); err == nil {
		_ = json.NewDecoder(bytes.NewReader(raw)).Decode(&other)
	}
	return nil, &RunningError{Dir: h.base, PID: other.PID, URL: other.URL}
}

func noteURL(f *os.File, url string) error { return note(f, holder{PID: os.Getpid(), URL: url}) }

func note(f *os.File, who holder) error {
	raw, err := json.Marshal(who)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if _, err := f.WriteAt(append(raw, '\n'), 0); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	return nil
}

// dropLock leaves the file: removing it would let two processes lock two files
// of one name. It is unlocked before it is closed: a process that is being
// forked meanwhile has the file too, until it becomes its program.
func dropLock(f *os.File) error {
	return errors.Join(f.Truncate(0), syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// open opens a file of ours in the base. As root it is given to the base's
// owner, so that this user can go on without root; a symlink put there in our
// way is not followed.
func (h home) open(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(h.base, name), flags|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil || os.Geteuid() != 0 {
		return f, err
	}
	info, err := os.Stat(h.base)
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			err = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
