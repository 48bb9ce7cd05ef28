package main

import (
	"os"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/config"
)

// The table in the README is the one the server reads.
func TestReadmeHasEveryVariable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range config.Table() {
		def := r.Default
		if def == "" {
			def = "unset"
		}
		if row := "| `" + r.Name + "` | " + def + " | " + r.Meaning + " |"; !strings.Contains(string(text), row) {
			t.Errorf("README lacks: %s", row)
		}
	}
}
