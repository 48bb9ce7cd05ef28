//go:build !demo

package web

import "io/fs"

// Without Node there is nothing to embed, and the program is whole all the same.
func files() fs.FS { return nil }
