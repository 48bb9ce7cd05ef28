package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

const examples = "../../examples/"

// example runs one until the test ends, and is what it prints.
func example(t *testing.T, dir string, env []string, args ...string) *logged {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a script's curl ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := &logged{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { <-ended })
	return out
}

// besideClients is a directory that finds the clients' packages above it. What is
// in dist is nobody's source: tests that read the tree pass it by.
func besideClients(t *testing.T) string {
	t.Helper()
	const built = "clients/dist"
	if err := os.MkdirAll(built, 0o750); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(built, "example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// forNode puts an example where the clients' packages are, with a WebSocket for a
// Node that has none of its own.
func forNode(t *testing.T, name string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	dir := besideClients(t)
	text, err := os.ReadFile(examples + name + "/index.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{
		"index.mjs":  text,
		"socket.mjs": []byte(`import WebSocket from "ws"; import { webcrypto } from "node:crypto"; globalThis.WebSocket ??= WebSocket; globalThis.crypto ??= webcrypto;`),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestExamplesInTheDemoWorld: those of examples/ that speak to it see Alice come
// online and hear what they themselves, and a shell, say.
func TestExamplesInTheDemoWorld(t *testing.T) {
	t.Parallel()
	n := startNode(t, database(t))
	as := func(user uuid.UUID) []string {
		return []string{"URL=" + n.base + "/v1/graphql", "TOKEN=" + token(t, user)}
	}
	out := map[string]*logged{}
	for name, user := range map[string]uuid.UUID{"apollo": demo.Bob, "urql": demo.Carol, "graphql-ws": demo.Dave} {
		out[name] = example(t, forNode(t, name), as(user), "node", "--import", "./socket.mjs", "index.mjs", "Hello", "from", name)
	}
	program := filepath.Join(t.TempDir(), "example")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, examples+"go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out["go"] = example(t, ".", as(demo.Frank), program, "Hello", "from", "go")
	out["curl"] = example(t, examples+"curl", as(demo.Bob), "./watch.sh")
	for name, o := range out {
		eventually(t, name+" has begun", func() bool {
			return strings.Contains(o.String(), "StreamReset") || strings.Contains(o.String(), "message Hello from "+name)
		})
	}
	example(t, examples+"curl", as(demo.Alice), "./say.sh", "Hello", "from", "a", "shell")
	for name, o := range out {
		eventually(t, name+" sees and hears Alice", func() bool {
			said := o.String()
			return strings.Contains(said, "Hello from a shell") && (strings.Contains(said, "presence online") || strings.Contains(said, `"status":"online"`))
		})
	}
}

var exampleProxy = regexp.MustCompile(`proxy +(http://\S+)/v1/graphql`)

// TestExampleCluster: one command brings three nodes behind a proxy, where two who
// are on different ones see each other type and write.
func TestExampleCluster(t *testing.T) {
	t.Parallel()
	url := database(t)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "cluster")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, examples+"cluster").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out := example(t, ".", []string{"DATABASE_URL=" + url, "HASURA_GRAPHQL_JWT_SECRET=" + secret}, program, "-bin", bin, "-listen", "127.0.0.1:0")
	eventually(t, "three nodes", func() bool { return strings.Contains(out.String(), "A token:") })
	if n := strings.Count(out.String(), "\nnode "); n != 3 {
		t.Fatalf("%d nodes: %s", n, out)
	}
	proxy := &node{t: t, base: exampleProxy.FindStringSubmatch(out.String())[1]}
	alice, bob := proxy.dialAt("/v1/graphql", token(t, demo.Alice)), proxy.dialAt("/v1/graphql", token(t, demo.Bob))
	var nodes int
	if err := pgtest.Pool(t, url).QueryRow(t.Context(), `select count(distinct node_id) from realtime.sessions`).Scan(&nodes); err != nil || nodes != 2 {
		t.Fatalf("the two are on %d nodes, %v", nodes, err)
	}
	typed, written := bob.start(typing(inChannel(demo.General))), bob.start(`subscription { events(kinds: [messages]) { payload { __typename ... on MessageCreated { message { content } } } } }`)
	next(t, typed)
	until(t, written, "StreamReset")
	provoked(t, typed, "Alice is typing...", alice.types(inChannel(demo.General)))
	alice.run(`mutation { sendMessage(input: {channelId: "` + demo.General.String() + `", clientMessageId: "across", content: "across"}) { status } }`)
	until(t, written, `"across"`)
	until(t, typed, `"text":null`)
}
