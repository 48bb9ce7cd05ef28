//go:build demo

package web

import (
	"embed"
	"io/fs"
)

//go:embed all:demo/dist
var dist embed.FS

func files() fs.FS { return sub(dist, "demo/dist") }
