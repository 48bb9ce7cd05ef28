package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/nself-org/nchat-realtime/internal/config"
)

// composed is what our compose file may say; a key besides is a mistake.
type composed struct {
	Name     string             `yaml:"name"`
	URL      any                `yaml:"x-database-url"`
	Shared   any                `yaml:"x-shared"`
	Realtime any                `yaml:"x-realtime"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
	Configs  map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       string            `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Configs     []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
	} `yaml:"configs"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck *struct {
		Test     []string `yaml:"test"`
		Interval string   `yaml:"interval"`
		Timeout  string   `yaml:"timeout"`
		Retries  int      `yaml:"retries"`
	} `yaml:"healthcheck"`
	Restart         string   `yaml:"restart"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
}

// TestComposeHolds what can be told of it without Docker: its form, pinned
// images, health checks, names that exist, ports of this machine alone.
func TestComposeHolds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c composed
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&c); err != nil {
		t.Fatal(err)
	}
	ours := []string{}
	for _, r := range config.Table() {
		ours = append(ours, r.Name)
	}
	pinned := regexp.MustCompile(`^[a-z./-]+:v?\d+\.\d+`)
	for name, s := range c.Services {
		if s.Build == "" && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s is not pinned", name, s.Image)
		}
		if s.Restart == "unless-stopped" && (s.Healthcheck == nil || len(s.Healthcheck.Test) < 2 || s.Healthcheck.Retries == 0) {
			t.Errorf("%s lasts and has no health check", name)
		}
		for on, d := range s.DependsOn {
			x, ok := c.Services[on]
			if !ok || d.Condition == "service_healthy" && x.Healthcheck == nil || d.Condition == "service_completed_successfully" && x.Restart != "on-failure" {
				t.Errorf("%s waits for %s: %s", name, on, d.Condition)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s is open to the network at %s", name, p)
			}
		}
		for _, x := range s.Configs {
			if c.Configs[x.Source].Content == "" {
				t.Errorf("%s: no config %s", name, x.Source)
			}
		}
		for key := range s.Environment {
			if s.Build != "" && !slices.Contains(ours, key) {
				t.Errorf("%s: %s is no variable of the server", name, key)
			}
		}
	}
	secrets := []string{"HASURA_WEBHOOK_SECRET", "HASURA_GRAPHQL_JWT_SECRET", "HASURA_GRAPHQL_ADMIN_SECRET"}
	for _, key := range secrets {
		if a, b := c.Services["hasura"].Environment[key], c.Services["realtime"].Environment[key]; a == "" || a != b {
			t.Errorf("%s differs: %q %q", key, a, b)
		}
	}
	if c.Services["hasura"].Environment["HASURA_GRAPHQL_ENABLE_REMOTE_SCHEMA_PERMISSIONS"] != "true" || c.Services["hasura"].Environment["NCHAT_REALTIME_URL"] == "" {
		t.Error("Hasura lacks what the metadata ask of it")
	}
	for name, to := range map[string]string{"api.localhost": "http://realtime:3101", "realtime.localhost": "http://realtime:3101"} {
		if !regexp.MustCompile(`server_name ` + name + `;\s+location / \{ proxy_pass ` + to).MatchString(c.Configs["proxy"].Content) {
			t.Errorf("%s does not lead to %s", name, to)
		}
	}
	if !slices.Contains(c.Services["realtime"].Ports, "127.0.0.1:3101:3101") {
		t.Error("realtime.localhost:3101 is not the server")
	}
}
