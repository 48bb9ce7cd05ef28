package hasura_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/nself-org/nchat-realtime/graph"
	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/hasura/rolesdl"
)

var update = flag.Bool("update", false, "write metadata/remote_schemas.yaml anew")

const remoteSchemas = `# Written by go test ./hasura -update: the role's schema is made from schema/.
- name: nchat_realtime
  definition:
    url: "{{"{{NCHAT_REALTIME_URL}}"}}/graphql"
    timeout_seconds: 60
    forward_client_headers: true
    headers:
      - name: x-nchat-webhook-secret
        value_from_env: HASURA_WEBHOOK_SECRET
  comment: Presence, typing, receipts and sync. Subscriptions are served beside Hasura.
  permissions:
    - role: user
      definition:
        schema: |
{{.}}`

// TestTheRoleSeesTheSchemaThereIs: remote_schemas.yaml is up to date.
func TestTheRoleSeesTheSchemaThereIs(t *testing.T) {
	t.Parallel()
	s := graph.Stitched(generated.NewExecutableSchema(generated.Config{}).Schema())
	var b bytes.Buffer
	sdl := ""
	for line := range strings.Lines(rolesdl.For(s)) {
		if strings.TrimSpace(line) != "" {
			sdl += "          " + line
		}
	}
	if err := template.Must(template.New("").Parse(remoteSchemas)).Execute(&b, sdl); err != nil {
		t.Fatal(err)
	}
	const file = "metadata/remote_schemas.yaml"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what schema/ makes of it (%v): go test ./hasura -update", file, err)
	}
}
