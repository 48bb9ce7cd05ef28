package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (r *reader) addresses(c *Config) {
	c.Host = r.take("HOST", "", "Address to listen on; default all, or 127.0.0.1 in `dev` without a JWT secret.")
	if strings.ContainsAny(c.Host, "/ []") || strings.Contains(c.Host, ":") && net.ParseIP(c.Host) == nil {
		r.bad("HOST", "must be an address or a host name, without a port")
	}
	c.Port = r.number("PORT", 3101, 0, 65535, "The public port; 0: any free one.")
	c.AdminAddr = r.take("ADMIN_ADDR", "127.0.0.1:3102", "Where metrics, profiles and the operators' page are served; in `dev` any free port if taken. `off`: nowhere.")
	if c.AdminAddr != "off" {
		if _, port, err := net.SplitHostPort(c.AdminAddr); err != nil || !isPort(port) {
			r.bad("ADMIN_ADDR", "must be host:port or off")
		}
	}
	c.AdminToken = r.take("ADMIN_TOKEN", "", "What operators enter at /admin on ADMIN_ADDR, where they see nodes, rooms and lag, and end sessions; at least 16 characters. Unset: there is no such page; `dev` makes one up.")
	if c.AdminToken != "" && len(c.AdminToken) < 16 {
		r.bad("ADMIN_TOKEN", "must have at least 16 characters")
	}
	c.DatabaseURL = r.postgres("DATABASE_URL", "Postgres; `dev` starts its own where unset.")
	c.ListenDatabaseURL = r.postgres("LISTEN_DATABASE_URL", "A direct connection to the same database for LISTEN and `migrate`, where DATABASE_URL goes through a transaction pooler.")
	if c.ListenDatabaseURL == "" {
		c.ListenDatabaseURL = c.DatabaseURL
	}
	c.BusURL = r.take("BUS_URL", "", "NATS (nats:// or tls://, a comma between servers) for doorbells and typing between nodes, the same hosts on every node. Unset: Postgres.")
	if c.BusURL != "" && !isNATS(c.BusURL) {
		r.bad("BUS_URL", "must be nats://host:port or tls://host:port, a comma between servers")
	}
	c.DataDir = r.take("DATA_DIR", ".nchat", "Where `dev` keeps its Postgres.")
}

// postgres takes where a database is: a URL, or libpq's keywords and values.
// Whether it is a good one is for those who connect: their errors hide the password.
func (r *reader) postgres(name, meaning string) string {
	v := r.take(name, "", meaning)
	switch {
	case v == "" && name == "DATABASE_URL" && r.mode == Serve:
		r.bad(name, "must be set")
	case v == "", strings.HasPrefix(v, "postgres://"), strings.HasPrefix(v, "postgresql://"), !strings.Contains(v, "://") && strings.Contains(v, "="):
	default:
		r.bad(name, "must begin with postgres:// or be keywords such as host=… dbname=…")
	}
	return v
}

// isNATS reports whether every server in the list can be one of NATS'.
func isNATS(servers string) bool {
	for s := range strings.SplitSeq(servers, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Port() != "" && !isPort(u.Port()) ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return false
		}
	}
	return true
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= 65535
}

func (r *reader) secrets(c *Config) {
	c.JWTSecret = r.take("HASURA_GRAPHQL_JWT_SECRET", "", "Hasura's own JSON. `dev` uses a published key where unset; `serve` refuses to start without it.")
	switch {
	case c.JWTSecret != "":
	case r.mode == Serve:
		r.bad("HASURA_GRAPHQL_JWT_SECRET", "must be set: the same value as Hasura's")
	default:
		if c.KeepHere() != nil {
			r.bad("HOST", "must be a loopback address while HASURA_GRAPHQL_JWT_SECRET is unset: everybody knows the key used then")
		}
	}
	c.AdminSecret = r.take("HASURA_GRAPHQL_ADMIN_SECRET", "", "Hasura's admin secret; unset: there is no admin by secret.")
	c.UnauthorizedRole = r.take("HASURA_GRAPHQL_UNAUTHORIZED_ROLE", "", "The role of callers without credentials; unset: they are refused.")
	c.WebhookSecret = r.take("HASURA_WEBHOOK_SECRET", "", "What Hasura sends as x-nchat-webhook-secret; unset: x-hasura-* headers and webhooks are refused.")
	if c.WebhookSecret != "" && len(c.WebhookSecret) < 16 {
		r.bad("HASURA_WEBHOOK_SECRET", "must have at least 16 characters")
	}
	if c.UserRoles = r.list("USER_ROLES", "user,me", "Roles whose x-hasura-user-id is a user."); len(c.UserRoles) == 0 {
		r.bad("USER_ROLES", "must name at least one role")
	}
	c.TokenLifetime = r.duration("TOKEN_LIFETIME", "24h", time.Minute, 366*24*time.Hour, "How long the longest of your tokens lives: for so long a revoked user is refused through Hasura where Hasura does not pass its token on.")
	if c.UnauthorizedRole == "admin" || slices.Contains(c.UserRoles, c.UnauthorizedRole) {
		r.bad("HASURA_GRAPHQL_UNAUTHORIZED_ROLE", "must be neither admin nor one of USER_ROLES: whoever has no credentials is nobody")
	}
}

func (r *reader) edges(c *Config) {
	c.AllowedOrigins = r.list("ALLOWED_ORIGINS", "", "Browser origins let in: exact, also a native app's (capacitor://localhost, file://), any host of such a scheme (moz-extension://*), https://*.example.com (*.example.com is the same), or *. Default: the server's own host.")
	for _, o := range c.AllowedOrigins {
		if !isOrigin(o) {
			r.bad("ALLOWED_ORIGINS", "must list origins such as https://app.example.com, https://*.example.com, or be *")
			break
		}
	}
	for _, p := range r.list("TRUSTED_PROXIES", "", "Addresses or networks whose X-Forwarded-For is believed. Default: none.") {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			addr, aerr := netip.ParseAddr(p)
			if aerr != nil {
				r.bad("TRUSTED_PROXIES", "must list addresses or networks such as 10.0.0.0/8")
				break
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix.Masked())
	}
}

// isOrigin reports whether an entry is one that can ever match.
func isOrigin(o string) bool {
	if o == "*" || o == "file://" { // the latter is what pages of Electron's say
		return true
	}
	if strings.HasPrefix(o, "*.") {
		o = "https://" + o
	}
	noPages := []string{"", "about", "blob", "data", "file", "ftp", "javascript", "mailto", "ws", "wss"}
	u, err := url.Parse(o)
	if err != nil || slices.Contains(noPages, u.Scheme) || u.Hostname() == "" || u.User != nil {
		return false
	}
	host := strings.TrimPrefix(u.Host, "*.")
	if native := u.Scheme != "http" && u.Scheme != "https"; native && host == "*" { // an extension's differs in each browser
		host = "any"
	}
	return strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && host != "" && !strings.Contains(host, "*")
}

// isPath reports whether an entry is a clean path, and not one that is served here.
func isPath(p string) bool {
	clean := path.Clean(p)
	if !strings.HasPrefix(p, "/") || clean == "/" || p != clean && p != clean+"/" || strings.ContainsAny(p, "?#%\\;* {}") {
		return false
	}
	own := []string{"/graphql", "/healthz", "/health", "/readyz", "/playground", "/hasura"}
	return !slices.ContainsFunc(own, func(o string) bool { return clean == o || strings.HasPrefix(clean, o+"/") })
}

func (r *reader) presence(c *Config) {
	c.IdleAfter = r.duration("IDLE_AFTER", "5m", time.Second, 24*time.Hour, "Without activity for this long a user is away.")
	c.HiddenAfter = r.duration("HIDDEN_AFTER", "150s", 0, 24*time.Hour, "Hidden and without activity for this long a user is away.")
	c.TypingBatch = r.duration("TYPING_BATCH", "100ms", time.Millisecond, 500*time.Millisecond, "How often a stream of typing tells further changes; the first goes at once.")
	c.OfflineGrace = r.duration("OFFLINE_GRACE", "5s", 0, time.Minute, "How long a closed socket still counts.")
	c.Reciprocity = r.choice("RECIPROCITY", "off", "Whether users see of others only what they share: off, receipts, all.", "off", "receipts", "all")
}

func (r *reader) chat(c *Config) {
	c.HasuraUpstream = r.url("HASURA_UPSTREAM_URL", "Where Hasura is: for `hasura apply` and `doctor`, and behind /v1/graphql, where both are one endpoint. Unset: this server alone answers there.", "http", "https")
	c.FrontDoorPaths = r.list("FRONT_DOOR_PATHS", "", "Paths of Hasura's served besides /v1/graphql and /v1beta1/relay, such as /api/rest/; with / at the end, all below. Hasura's admin API only if you name it.")
	if slices.ContainsFunc(c.FrontDoorPaths, func(p string) bool { return !isPath(p) }) {
		r.bad("FRONT_DOOR_PATHS", "must list paths such as /api/rest/, none of them this server's own")
	}
	c.FrontDoorDirect = r.choice("FRONT_DOOR_DIRECT", "off", "auto: operations of this server's fields alone are answered at /v1/graphql without Hasura, while a check every minute finds no allow list, limits or permissions there that would be gone round.", "off", "auto")
	c.Retention = r.duration("RETENTION", "168h", time.Hour, 10*365*24*time.Hour, "How long the log is kept.")
	c.EditPolicy = r.choice("EDIT_POLICY", "lww", "What happens to edits at odds: lww, merge.", "lww", "merge")
	c.LegacyReadColumns = r.flag("LEGACY_READ_COLUMNS", "off", "Also write nchat's own read columns of nchat_channel_members, with what everybody may know to be read and nothing else: nchat's metadata show them to everybody.")
	c.LegacyPresence = r.flag("LEGACY_PRESENCE", "off", "Also write nchat's own nchat_presence and nchat_users.last_seen_at, with what everybody may see and nothing else.")
	c.PresenceView = r.flag("PRESENCE_VIEW", "off", "Keep the view realtime.visible_presence, and have `hasura apply` track it.")
	c.PushWebhookURL = r.url("PUSH_WEBHOOK_URL", "Told of messages for users who do not look at any device, and when that is over; docs/push.md.", "http", "https")
	c.PushWebhookSecret = r.take("PUSH_WEBHOOK_SECRET", "", "Signs what is sent there; at least 16 characters.")
	c.PushAfter = r.duration("PUSH_AFTER", "1m", time.Second, time.Hour, "A user looks at a shown device for so long after its last activity; meanwhile nothing is pushed.")
	if c.PushWebhookURL != "" && len(c.PushWebhookSecret) < 16 {
		r.bad("PUSH_WEBHOOK_SECRET", "must have at least 16 characters where PUSH_WEBHOOK_URL is set")
	}
	c.PresenceWebhookURL = r.url("PRESENCE_WEBHOOK_URL", "Told of changes of presence, as everybody may see them.", "http", "https")
	c.PresenceWebhookSecret = r.take("PRESENCE_WEBHOOK_SECRET", "", "Signs what is sent there; at least 16 characters.")
	if c.PresenceWebhookURL != "" && len(c.PresenceWebhookSecret) < 16 {
		r.bad("PRESENCE_WEBHOOK_SECRET", "must have at least 16 characters where PRESENCE_WEBHOOK_URL is set")
	}
}

func (r *reader) logging(c *Config) {
	if err := c.LogLevel.UnmarshalText([]byte(r.take("LOG_LEVEL", "info", "debug, info, warn or error."))); err != nil {
		r.bad("LOG_LEVEL", "must be debug, info, warn or error")
	}
	def := "json"
	if r.mode == Dev {
		def = "text"
	}
	c.LogFormat = r.choice("LOG_FORMAT", def, "json or text; `dev` writes text unless told.", "json", "text")
}

func (r *reader) limits(c *Config) {
	l := &c.Limits
	l.OperationsPerSocket = r.number("MAX_OPERATIONS_PER_SOCKET", 64, 1, 10000, "Operations at a time on one socket.")
	l.SocketsPerUser = r.number("MAX_SOCKETS_PER_USER", 20, 1, 100000, "Sockets of one user on one node.")
	l.SocketsPerIP = r.number("MAX_SOCKETS_PER_IP", 200, 1, 1000000, "Sockets from one address (IPv6: one /64) on one node.")
	l.FrameBytes = r.number("MAX_FRAME_BYTES", 1<<20, 1024, 64<<20, "Bytes in one inbound frame.")
	l.BodyBytes = r.number("MAX_BODY_BYTES", 1<<20, 1024, 64<<20, "Bytes in one HTTP body; sixteen times that from Hasura.")
	l.Rooms = r.number("MAX_ROOMS", 100, 1, 10000, "Rooms in one operation, all its fields together.")
	l.IDs = r.number("MAX_IDS", 1000, 1, 10000, "Ids in one operation, all its fields together.")
	l.Batch = r.number("MAX_BATCH", 100, 1, 1000, "Messages in one operation.")
	l.ContentLength = r.number("MAX_CONTENT_CHARS", 10000, 1, 1000000, "Characters in a message.")
	l.StatusLength = r.number("MAX_STATUS_CHARS", 255, 1, 255, "Characters in a custom status.")
	l.OperationsPerMinute = r.number("OPERATIONS_PER_MINUTE", 600, 1, 1000000, "Operations a user may start in a minute, on one node.")
	l.PointsPerMinute = r.number("POINTS_PER_MINUTE", max(10*l.OperationsPerMinute, 1), 1, 10000000, "What a user's operations may cost in a minute, on one node (docs/security.md has the prices); half of it over one socket, twenty times from one address. Default: ten times OPERATIONS_PER_MINUTE.")
	l.MessagesPerMinute = r.number("MESSAGES_PER_MINUTE", max(2*l.OperationsPerMinute, 1), 1, 10000000, "Messages a user may send, edit or delete in a minute, on one node; a large one counts for every 4 KiB begun. Default: twice OPERATIONS_PER_MINUTE.")
	l.FieldsAtOnce = r.number("FIELDS_AT_ONCE", 4, 1, 100, "Root fields of one user, and reads of its subscriptions, that are worked on at a time; further ones wait for their turn.")
	l.WatchedIDs = r.number("MAX_WATCHED_IDS", 10000, 1, 1000000, "Users whose presence one user may watch at a time, on one node, over all its subscriptions; one larger channel is let in alone.")
	l.WaitingPolls = r.number("MAX_WAITING_POLLS", 20, 1, 10000, "Syncs of one user that may wait for news at a time, on one node.")
	l.DocumentBytes = r.number("MAX_DOCUMENT_BYTES", 64<<10, 1024, 1<<20, "Bytes in one GraphQL document, its variables not counted; none from Hasura.")
	l.FramesPerSecond = r.number("FRAMES_PER_SECOND", 50, 1, 10000, "Messages a socket is read at in a second, past a burst of ten seconds' worth; one more for every KiB, and five for an operation refused before it ran. Pings, pongs and completes are not counted, up to ten times as many.")
	l.OpeningPerIP = r.number("MAX_OPENING_SOCKETS_PER_IP", max(l.SocketsPerIP/2, 1), 1, 1000000, "Sockets from one address that have not authenticated yet. Default: half of MAX_SOCKETS_PER_IP.")
	l.ConnectionsPerIP = r.number("MAX_CONNECTIONS_PER_IP", max(5*l.SocketsPerIP, 1), 1, 5000000, "TCP connections from one address that is no trusted proxy, sockets among them. Default: five times MAX_SOCKETS_PER_IP.")
	l.OperationTimeout = r.duration("OPERATION_TIMEOUT", "60s", 30*time.Second, 10*time.Minute, "How long one operation over HTTP may take, a wait for news included.")
	l.RequestTimeout = r.duration("REQUEST_TIMEOUT", "30s", time.Second, 10*time.Minute, "How long the body of an HTTP request may take to arrive; of one for Hasura each part of it, at 4 KiB a second or more.")
	l.QueuedFrames = r.number("QUEUE_FRAMES", 256, 1, 100000, "Frames that may wait for one socket.")
	l.QueuedBytes = r.number("QUEUE_BYTES", 1<<20, 4096, 256<<20, "Bytes that may wait for one socket.")
	l.WriteTimeout = r.duration("WRITE_TIMEOUT", "10s", time.Second, time.Minute, "A socket into which nothing could be written for this long is closed.")
	l.InitTimeout = r.duration("INIT_TIMEOUT", "10s", time.Second, time.Minute, "How long a socket may take to send connection_init.")
	l.PingInterval = r.duration("PING_INTERVAL", "25s", time.Second, 5*time.Minute, "How often a socket is pinged.")
	drain := "10s"
	if r.mode == Dev {
		drain = "1s"
	}
	l.DrainTimeout = r.duration("DRAIN_TIMEOUT", drain, 0, 10*time.Minute, "How long a server that stops takes at most, whatever does not answer; 1s in `dev`, and 1s at least. Sockets are closed over all of it but the last 3 s, or half.")
	l.Depth = r.number("MAX_DEPTH", 20, 3, 100, "Fields within fields in one operation.")
	l.Aliases = r.number("MAX_ALIASES", 30, 1, 10000, "Root fields in one operation.")
}
