package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nself-org/nchat-realtime/internal/config"
)

// TestApplyNamesWhatTheSwitchHides: remote schemas of the app's own without a
// permission, before anything is changed too.
func TestApplyNamesWhatTheSwitchHides(t *testing.T) {
	t.Parallel()
	const metadata = `{"version":3,"sources":[],"remote_schemas":[{"name":"cms","definition":{}},{"name":"shop","permissions":[{"role":"user"}]}]}`
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"resource_version":1,"metadata":`+metadata+`}`)
	}))
	t.Cleanup(h.Close)
	c, err := config.Load(func(string) string { return "" }, config.Dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		var out bytes.Buffer
		if err := (applying{endpoint: h.URL, dry: dry}).run(t.Context(), &out, c); err != nil || strings.Count(out.String(), "has no permission") != 1 ||
			!strings.Contains(out.String(), "\nremote schema cms has no permission: ") {
			t.Errorf("dry %v: %v\n%s", dry, err, &out)
		}
	}
}
