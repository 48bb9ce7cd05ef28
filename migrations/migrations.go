// Package migrations carries the numbered SQL files inside the binary. They run
// forward only, in the order of their numbers; package postgres runs them.
package migrations

import "embed"

// FS holds the *.sql files of this directory.
//
//go:embed *.sql
var FS embed.FS
