package presence

import "embed"

// SQL is the package's functions and triggers, for package postgres to install.
//
//go:embed *.sql
var SQL embed.FS
