package config

import "fmt"

// String hides every secret: a config may be logged. Of what may hold a
// password or a token it tells only whether it is set.
func (c Config) String() string {
	set := func(s string) string {
		if s == "" {
			return "unset"
		}
		return "set"
	}
	return fmt.Sprintf("host=%q port=%d admin=%q admin_token=%s database=%s listen_database=%s jwt=%s admin_secret=%s webhook_secret=%s "+
		"hasura=%s door=%q/%s push_webhook=%s push_secret=%s presence_webhook=%s presence_secret=%s unauthorized_role=%q user_roles=%q origins=%q proxies=%v log=%s/%s limits=%+v",
		c.Host, c.Port, c.AdminAddr, set(c.AdminToken), set(c.DatabaseURL), set(c.ListenDatabaseURL), set(c.JWTSecret), set(c.AdminSecret), set(c.WebhookSecret),
		set(c.HasuraUpstream), c.FrontDoorPaths, c.FrontDoorDirect, set(c.PushWebhookURL), set(c.PushWebhookSecret),
		set(c.PresenceWebhookURL), set(c.PresenceWebhookSecret), c.UnauthorizedRole, c.UserRoles, c.AllowedOrigins, c.TrustedProxies,
		c.LogLevel, c.LogFormat, c.Limits)
}

// GoString is String: %#v would go around it.
func (c Config) GoString() string { return c.String() }

// MarshalText is String, for slog's and any other encoder.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
