// Package hasura carries the Hasura project of this directory inside the
// binary, for `nchat-realtime hasura apply`. Hasura's own CLI reads the same
// files: hasura metadata apply --project hasura.
package hasura

import "embed"

// Project is the directory: config.yaml and metadata/.
//
//go:embed config.yaml metadata
var Project embed.FS
