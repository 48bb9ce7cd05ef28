//go:build unix

package wsock

import "syscall"

// attempts: the system can say that a write would have to wait.
const attempts = true

// writeAtOnce is how much of b a connection takes without waiting.
func writeAtOnce(fd uintptr, b []byte) (n int) {
	for n < len(b) {
		k, err := syscall.Write(int(fd), b[n:]) //nolint:gosec // a file descriptor is an int
		if err == syscall.EINTR {               //nolint:errorlint // it is a number
			continue
		}
		if err != nil || k <= 0 {
			break
		}
		n += k
	}
	return n
}
