package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

// What each variable does: a value that must change the configuration, and
// values that must be refused by name. free: any text is good.
var variables = map[string]struct {
	right string
	wrong []string
	free  bool
}{
	"HOST":                             {right: "::1", wrong: []string{"0.0.0.0:3101", "http://x", "[::1]", "a b"}},
	"PORT":                             {right: "8080", wrong: []string{"99999", "-1", "http", "3101 3102"}},
	"ADMIN_ADDR":                       {right: "off", wrong: []string{"nowhere", "127.0.0.1:x", "127.0.0.1:70000"}},
	"ADMIN_TOKEN":                      {right: "0123456789abcdef", wrong: []string{"s3cr3t-hunter"}},
	"DATABASE_URL":                     {right: "postgres://h/d", wrong: []string{"mysql://u:s3cr3t-hunter@h/d", "s3cr3t-hunter"}},
	"LISTEN_DATABASE_URL":              {right: "host=h dbname=d", wrong: []string{"localhost:5432"}},
	"DATA_DIR":                         {right: "/tmp/x", free: true},
	"HASURA_GRAPHQL_JWT_SECRET":        {right: `{"key":"x"}`, free: true},
	"HASURA_GRAPHQL_ADMIN_SECRET":      {right: "x", free: true},
	"HASURA_GRAPHQL_UNAUTHORIZED_ROLE": {right: "anonymous", wrong: []string{"admin", "user", "me"}},
	"HASURA_WEBHOOK_SECRET":            {right: "0123456789abcdef", wrong: []string{"s3cr3t-hunter"}},
	"TOKEN_LIFETIME":                   {right: "720h", wrong: []string{"10s", "9000h", "x"}},
	"USER_ROLES":                       {right: "member", wrong: []string{","}},
	"HASURA_UPSTREAM_URL":              {right: "http://hasura:8080", wrong: []string{"hasura:8080", "http://", "ftp://h", "https://u:s3cr3t-hunter@h\x7f"}},
	"FRONT_DOOR_PATHS":                 {right: "/api/rest/, /v1/version", wrong: []string{"api/rest", "/", "/a/../v1/metadata", "/a//b", "/a?b", "/%2e%2e/x", "/graphql", "/hasura/x", "/*"}},
	"FRONT_DOOR_DIRECT":                {right: "auto", wrong: []string{"on"}},
	"ALLOWED_ORIGINS":                  {right: "https://app.example.com, https://*.example.org:8443, *.example.net, capacitor://localhost, ionic://localhost, tauri://localhost, app://-, chrome-extension://abc, moz-extension://*, file://", wrong: []string{"null", "http://*", "moz-extension://a*", "example.com", "https://", "ftp://x", "wss://x", "file://x", "capacitor://", "capacitor://localhost/x", "https://a.com/path", "https://a.com?x", "https://*", "https://a.*.com", "https://*.", "https://u@a.com", "http://*.*.com"}},
	"TRUSTED_PROXIES":                  {right: "10.0.0.0/8, ::1", wrong: []string{"10.0.0.0/99", "proxy", "10.0.0.1:80"}},
	"IDLE_AFTER":                       {right: "10m", wrong: []string{"5", "-1s", "0s", "48h"}},
	"HIDDEN_AFTER":                     {right: "1m", wrong: []string{"-1s", "two minutes"}},
	"TYPING_BATCH":                     {right: "250ms", wrong: []string{"0s", "501ms", "fast"}},
	"OFFLINE_GRACE":                    {right: "1s", wrong: []string{"2h"}},
	"RECIPROCITY":                      {right: "receipts", wrong: []string{"some", "ALL"}},
	"RETENTION":                        {right: "24h", wrong: []string{"1s", "7d"}},
	"EDIT_POLICY":                      {right: "merge", wrong: []string{"best"}},
	"LEGACY_READ_COLUMNS":              {right: "on", wrong: []string{"1"}},
	"LEGACY_PRESENCE":                  {right: "on", wrong: []string{"yes"}},
	"PRESENCE_VIEW":                    {right: "on", wrong: []string{"true"}},
	"PRESENCE_WEBHOOK_URL":             {right: "https://app.example.com/presence", wrong: []string{"ftp://x", "https://u:s3cr3t-hunter@h\x7f"}},
	"PRESENCE_WEBHOOK_SECRET":          {right: "x", free: true},
	"PUSH_WEBHOOK_URL":                 {right: "https://push.example.com/x", wrong: []string{"ftp://x", "push"}},
	"PUSH_WEBHOOK_SECRET":              {right: "x", free: true},
	"PUSH_AFTER":                       {right: "90s", wrong: []string{"90", "0s", "2h"}},
	"BUS_URL":                          {right: "nats://a:4222", wrong: []string{"redis://x", "nats://", "postgres"}},
	"LOG_LEVEL":                        {right: "debug", wrong: []string{"loud", "7"}},
	"LOG_FORMAT":                       {right: "json", wrong: []string{"xml"}},
	"MAX_OPERATIONS_PER_SOCKET":        {right: "1", wrong: []string{"0", "x"}},
	"MAX_SOCKETS_PER_USER":             {right: "1", wrong: []string{"0", "1e3"}},
	"MAX_SOCKETS_PER_IP":               {right: "1", wrong: []string{"0"}},
	"MAX_FRAME_BYTES":                  {right: "2048", wrong: []string{"0", "1MiB"}},
	"MAX_BODY_BYTES":                   {right: "2048", wrong: []string{"0", "99999999999"}},
	"MAX_ROOMS":                        {right: "1", wrong: []string{"0"}},
	"MAX_IDS":                          {right: "1", wrong: []string{"0", "1000000"}},
	"MAX_BATCH":                        {right: "1", wrong: []string{"0"}},
	"MAX_CONTENT_CHARS":                {right: "1", wrong: []string{"0"}},
	"MAX_STATUS_CHARS":                 {right: "1", wrong: []string{"0", "256"}},
	"OPERATIONS_PER_MINUTE":            {right: "1", wrong: []string{"0", "-600"}},
	"POINTS_PER_MINUTE":                {right: "1", wrong: []string{"0", "many"}},
	"MESSAGES_PER_MINUTE":              {right: "1", wrong: []string{"0"}},
	"FIELDS_AT_ONCE":                   {right: "1", wrong: []string{"0", "101"}},
	"MAX_WATCHED_IDS":                  {right: "1", wrong: []string{"0"}},
	"MAX_WAITING_POLLS":                {right: "1", wrong: []string{"0"}},
	"MAX_DOCUMENT_BYTES":               {right: "1024", wrong: []string{"0", "2000000"}},
	"FRAMES_PER_SECOND":                {right: "1", wrong: []string{"0"}},
	"MAX_OPENING_SOCKETS_PER_IP":       {right: "1", wrong: []string{"0"}},
	"MAX_CONNECTIONS_PER_IP":           {right: "1", wrong: []string{"0"}},
	"OPERATION_TIMEOUT":                {right: "2m", wrong: []string{"0s", "29s"}},
	"REQUEST_TIMEOUT":                  {right: "2s", wrong: []string{"0s", "1h"}},
	"QUEUE_FRAMES":                     {right: "1", wrong: []string{"0"}},
	"QUEUE_BYTES":                      {right: "4096", wrong: []string{"0"}},
	"WRITE_TIMEOUT":                    {right: "1s", wrong: []string{"0s", "10"}},
	"INIT_TIMEOUT":                     {right: "1s", wrong: []string{"0s"}},
	"PING_INTERVAL":                    {right: "1s", wrong: []string{"0s"}},
	"DRAIN_TIMEOUT":                    {right: "0s", wrong: []string{"-1s"}},
	"MAX_DEPTH":                        {right: "3", wrong: []string{"0"}},
	"MAX_ALIASES":                      {right: "1", wrong: []string{"0"}},
}

const secret = "s3cr3t-hunter"

func TestEveryVariableIsDescribedReadAndProved(t *testing.T) {
	t.Parallel()
	read := map[string]bool{}
	if _, err := Load(func(n string) string { read[n] = true; return "" }, Dev); err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, r := range Table() {
		if rows[r.Name] || r.Meaning == "" {
			t.Errorf("%s is listed twice or without a meaning", r.Name)
		}
		rows[r.Name] = true
		if v, ok := variables[r.Name]; !ok || !v.free && len(v.wrong) == 0 {
			t.Errorf("%s has no proof in this test", r.Name)
		}
		if !read[r.Name] {
			t.Errorf("%s is listed and never read", r.Name)
		}
	}
	for name := range read {
		if !rows[name] {
			t.Errorf("%s is read and not listed", name)
		}
	}
	for name := range variables {
		if !rows[name] {
			t.Errorf("%s is proved and does not exist", name)
		}
	}
}

func TestEveryVariableCounts(t *testing.T) {
	t.Parallel()
	plain, err := Load(env(), Dev)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range variables {
		given := []string{name, v.right}
		if hook, ok := strings.CutSuffix(name, "_WEBHOOK_URL"); ok {
			given = append(given, hook+"_WEBHOOK_SECRET", "sixteen letters.")
		}
		c, err := Load(env(given...), Dev)
		if err != nil {
			t.Errorf("%s=%s: %v", name, v.right, err)
		}
		if reflect.DeepEqual(c, plain) {
			t.Errorf("%s=%s changes nothing", name, v.right)
		}
	}
}

func TestWebhooksAreSigned(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"PUSH", "PRESENCE"} {
		for _, secret := range []string{"", "too short"} {
			_, err := Load(env(hook+"_WEBHOOK_URL", "https://push.example.com", hook+"_WEBHOOK_SECRET", secret), Dev)
			if err == nil || !strings.HasPrefix(err.Error(), hook+"_WEBHOOK_SECRET must ") {
				t.Errorf("%q: %v", secret, err)
			}
		}
	}
}

func TestEveryWrongValueIsNamedAndNotRepeated(t *testing.T) {
	t.Parallel()
	for name, v := range variables {
		for _, wrong := range v.wrong {
			_, err := Load(env("HASURA_GRAPHQL_JWT_SECRET", "{}", name, wrong), Dev)
			if err == nil {
				t.Errorf("%s=%s was taken", name, wrong)
				continue
			}
			if !strings.HasPrefix(err.Error(), name+" must ") || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s=%s: %v", name, wrong, err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats the value", name)
			}
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	bad := map[string]string{}
	for name, v := range variables {
		if !v.free && name != "DATABASE_URL" {
			bad[name] = v.wrong[0]
		}
	}
	_, err := Load(func(n string) string { return bad[n] }, Serve)
	if err == nil {
		t.Fatal("taken")
	}
	lines := strings.Split(err.Error(), "\n")
	for name := range bad {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+" must ") }) {
			t.Errorf("%s is not named", name)
		}
	}
	for _, missing := range []string{"DATABASE_URL must be set", "HASURA_GRAPHQL_JWT_SECRET must be set"} {
		if !strings.Contains(err.Error(), missing) {
			t.Errorf("nothing says %q", missing)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load(env("DATABASE_URL", "postgres:///x", "HASURA_GRAPHQL_JWT_SECRET", "{}"), Serve)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Port: 3101, AdminAddr: "127.0.0.1:3102", DatabaseURL: "postgres:///x", ListenDatabaseURL: "postgres:///x", DataDir: ".nchat",
		JWTSecret: "{}", UserRoles: []string{"user", "me"}, TokenLifetime: 24 * time.Hour,
		IdleAfter: 5 * time.Minute, HiddenAfter: 150 * time.Second, OfflineGrace: 5 * time.Second, TypingBatch: 100 * time.Millisecond, Reciprocity: "off",
		Retention: 168 * time.Hour, EditPolicy: "lww", FrontDoorDirect: "off", PushAfter: time.Minute, LogLevel: slog.LevelInfo, LogFormat: "json",
		Limits: Limits{OperationsPerSocket: 64, SocketsPerUser: 20, SocketsPerIP: 200, FrameBytes: 1 << 20, BodyBytes: 1 << 20,
			Rooms: 100, IDs: 1000, Batch: 100, ContentLength: 10000, StatusLength: 255, OperationsPerMinute: 600,
			PointsPerMinute: 6000, MessagesPerMinute: 1200, FieldsAtOnce: 4, WatchedIDs: 10000, WaitingPolls: 20, DocumentBytes: 64 << 10,
			FramesPerSecond: 50, OpeningPerIP: 100, ConnectionsPerIP: 1000, OperationTimeout: time.Minute, RequestTimeout: 30 * time.Second,
			QueuedFrames: 256, QueuedBytes: 1 << 20, WriteTimeout: 10 * time.Second, InitTimeout: 10 * time.Second,
			PingInterval: 25 * time.Second, DrainTimeout: 10 * time.Second, Depth: 20, Aliases: 30},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("\n%#v\n%#v", c, want)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	const jwt = "HASURA_GRAPHQL_JWT_SECRET"
	for name, c := range map[string]struct {
		env     []string
		mode    Mode
		host    string
		refused string
	}{
		"dev without a secret stays on this machine":   {nil, Dev, "127.0.0.1", ""},
		"dev without a secret may choose the loopback": {[]string{"HOST", "::1"}, Dev, "::1", ""},
		"dev without a secret may not be reached":      {[]string{"HOST", "0.0.0.0"}, Dev, "", "HOST must be a loopback address"},
		"nor by a name":                        {[]string{"HOST", "example.com"}, Dev, "", "HOST must be a loopback address"},
		"dev with a secret listens everywhere": {[]string{jwt, "{}"}, Dev, "", ""},
		"dev with a secret may choose":         {[]string{jwt, "{}", "HOST", "0.0.0.0"}, Dev, "0.0.0.0", ""},
		"serve needs a secret":                 {[]string{"DATABASE_URL", "postgres:///x"}, Serve, "", jwt + " must be set"},
		"blanks are no secret":                 {[]string{"DATABASE_URL", "postgres:///x", jwt, " \n"}, Serve, "", jwt + " must be set"},
		"serve needs a database":               {[]string{jwt, "{}"}, Serve, "", "DATABASE_URL must be set"},
	} {
		got, err := Load(env(c.env...), c.mode)
		if c.refused != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.refused) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || got.Host != c.host {
			t.Errorf("%s: host %q, %v", name, got.Host, err)
		}
	}
	if c, err := Load(env(), Dev); err != nil || c.LogFormat != "text" {
		t.Errorf("dev logs %s: %v", c.LogFormat, err)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	c, err := Load(env("TRUSTED_PROXIES", "10.1.2.3/8 , 192.0.2.7,,::1", "ALLOWED_ORIGINS", " https://a.com , *.b.com "), Dev)
	if err != nil {
		t.Fatal(err)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("::1/128")}
	if !slices.Equal(c.TrustedProxies, proxies) {
		t.Errorf("proxies %v", c.TrustedProxies)
	}
	if !slices.Equal(c.AllowedOrigins, []string{"https://a.com", "*.b.com"}) {
		t.Errorf("origins %q", c.AllowedOrigins)
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const long = secret + secret
	c, err := Load(env("HASURA_GRAPHQL_ADMIN_SECRET", long, "ADMIN_TOKEN", long, "HASURA_WEBHOOK_SECRET", long, "HASURA_GRAPHQL_JWT_SECRET", long,
		"PRESENCE_WEBHOOK_SECRET", long, "PRESENCE_WEBHOOK_URL", "https://h/?token="+long,
		"PUSH_WEBHOOK_SECRET", long, "PUSH_WEBHOOK_URL", "https://h/?token="+long, "HASURA_UPSTREAM_URL", "http://u:"+long+"@h",
		"DATABASE_URL", "postgres://u:"+long+"@h/d", "LISTEN_DATABASE_URL", "postgres://u:"+long+"@h/d"), Serve)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "config", c, "at", &c)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("start", "config", c, "at", &c)
	encoded, err := json.Marshal(map[string]any{"config": c})
	if err != nil {
		t.Fatal(err)
	}
	for how, s := range map[string]string{
		"v": fmt.Sprintf("%v", c), "+v": fmt.Sprintf("%+v", c), "#v": fmt.Sprintf("%#v", c), "q": fmt.Sprintf("%q", c),
		"pointer": fmt.Sprintf("%v %+v %#v", &c, &c, &c), "inside": fmt.Sprintf("%+v", struct{ C Config }{c}),
		"slog": logged.String(), "json": string(encoded),
	} {
		if strings.Contains(s, secret) {
			t.Errorf("%s: %s", how, s)
		}
		if !strings.Contains(s, "port=3101") {
			t.Errorf("%s says nothing: %s", how, s)
		}
	}
}

func TestWhoeverHasNoCredentialsIsNobody(t *testing.T) {
	t.Parallel()
	for role, good := range map[string]bool{"public": true, "admin": false, "user": false, "me": false, "": true} {
		if _, err := Load(env("HASURA_GRAPHQL_UNAUTHORIZED_ROLE", role), Dev); (err == nil) != good {
			t.Errorf("%q: %v", role, err)
		}
	}
}

// A bus is NATS or none, and no mistake tells the password.
func TestTheBus(t *testing.T) {
	t.Parallel()
	for value, good := range map[string]bool{"": true, " ": true, "nats://user:" + secret + "@x": true, "tls://a:4222,tls://b:4222": true, "nats://a, nats://b": true,
		"redis://" + secret + "@x": false, "nats://": false, "nats://a,": false, "x:4222": false, "nats://user:" + secret + "%@x": false, "nats://a/path": false, "nats://a?x=" + secret: false} {
		c, err := Load(env("BUS_URL", value), Dev)
		if (err == nil) != good || good && c.BusURL != strings.TrimSpace(value) {
			t.Errorf("%q: %q, %v", value, c.BusURL, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "BUS_URL must be") || strings.Contains(err.Error(), secret)) {
			t.Error(err)
		}
	}
}
