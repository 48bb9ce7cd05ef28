package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHowItEnds(t *testing.T) {
	t.Parallel()
	none := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(none.Close)
	tokens := []string{"--token", "a", "--token", "b", "--token", "c"}
	for name, run1 := range map[string]struct {
		args []string
		code int
		says string
	}{
		"the names":       {[]string{"--list"}, exitOK, "protocol: "},
		"no URL":          {tokens, exitNotRun, "--url"},
		"a URL of no web": {append([]string{"--url", "localhost:8080"}, tokens...), exitNotRun, "--url"},
		"two tokens":      {append([]string{"--url", none.URL}, tokens[:4]...), exitNotRun, "3 times"},
		"no such check":   {append([]string{"--url", none.URL, "--only", "^nothing$"}, tokens...), exitNotRun, "no check"},
		"a bad pattern":   {append([]string{"--url", none.URL, "--only", "("}, tokens...), exitNotRun, "--only"},
		"no such server":  {append([]string{"--url", none.URL}, tokens...), exitNotRun, "404"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), run1.args, &out, &out); code != run1.code || !strings.Contains(out.String(), run1.says) {
			t.Errorf("%s: ended with %d: %s", name, code, out.String())
		}
	}
}
