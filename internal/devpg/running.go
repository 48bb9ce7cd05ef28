package devpg

import (
	"errors"
	"fmt"
)

// RunningError says that another process holds the directory.
type RunningError struct {
	Dir string
	PID int    // the holder; 0 if not known
	URL string // of its Postgres; empty while it starts
}

// ErrRunning is what every *RunningError is.
var ErrRunning = errors.New("already running")

func (e *RunningError) Error() string {
	s := fmt.Sprintf("already running: process %d holds %s", e.PID, e.Dir)
	if e.URL != "" {
		s += ", its Postgres is " + e.URL
	}
	return s
}

// Is makes errors.Is(err, ErrRunning) true.
func (e *RunningError) Is(target error) bool { return target == ErrRunning }
