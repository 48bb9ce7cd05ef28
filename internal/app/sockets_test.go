package app

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/clientip"
	"github.com/nself-org/nchat-realtime/internal/clock"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/origin"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// admitting is an admission by tokens of the tests' key.
func admitting(t *testing.T, key string) *admission {
	t.Helper()
	j, err := auth.ParseJWTConfig(key)
	if err != nil {
		t.Fatal(err)
	}
	known := auth.NewRevocations(0)
	return &admission{authn: auth.New(auth.Options{JWT: &j, AdminSecret: testAdmin, UnauthorizedRole: "guest", Revocations: known}),
		revoked: known, live: newLive(), clock: clock.New()}
}

func bearing(token string, more map[string]any) map[string]any {
	payload := map[string]any{"headers": map[string]any{"Authorization": "Bearer " + token}}
	for k, v := range more {
		payload[k] = v
	}
	return payload
}

// TestWhoIsLetIn: whose socket it is, until when, and what it is told.
func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	in := admitting(t, testKey)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	text := token(t, auth.Claims{User: demo.Bob, TTL: time.Until(expires.Add(time.Second / 2)), Tenant: "acme"})
	conn := &wsock.Conn{}
	a, err := in.init(t.Context(), wsock.Request{Header: http.Header{}, Payload: bearing(text, nil), Conn: conn})
	if err != nil {
		t.Fatal(err)
	}
	if a.UserKey != "acme/"+demo.Bob.String() || a.Begin == nil || a.ExpiresAt.After(expires.Add(time.Second)) || a.ExpiresAt.Before(expires.Add(-apart-time.Second)) {
		t.Errorf("%q until %v, to begin: %v", a.UserKey, a.ExpiresAt, a.Begin != nil)
	}
	if a.Ack["userId"] != demo.Bob || a.Ack["role"] != "user" || a.Ack["sessionId"] != conn.ID() || a.Ack["heartbeatIntervalMs"] != int64(30000) ||
		a.Ack["expiresAt"] == nil {
		t.Errorf("ack: %v", a.Ack)
	}
	if b, ok := in.live.get(conn.ID()); !ok || b.id.Load().UserID != demo.Bob {
		t.Error("nobody knows who is behind it")
	}
	// Who is nobody has a socket, and no session.
	a, err = in.init(t.Context(), wsock.Request{Header: http.Header{}, Conn: conn})
	if err != nil || a.UserKey != "" || a.Begin != nil || a.Ack["userId"] != nil || a.Ack["role"] != "guest" || a.Ack["expiresAt"] != nil {
		t.Errorf("a guest: %+v %v", a.Ack, err)
	}
}

// TestWhoIsNotLetIn, and that nothing is kept of it.
func TestWhoIsNotLetIn(t *testing.T) {
	t.Parallel()
	good := token(t, auth.Claims{TTL: time.Hour})
	for what, c := range map[string]struct {
		payload map[string]any
		code    fault.Code
		field   string
	}{
		"an expired token":             {bearing(token(t, auth.Claims{TTL: time.Minute, Now: time.Now().Add(-time.Hour)}), nil), fault.InvalidJWT, ""},
		"no token at all":              {bearing("x", nil), fault.InvalidJWT, ""},
		"a role it does not have":      {map[string]any{"headers": map[string]any{"Authorization": "Bearer " + good, "x-hasura-role": "editor"}}, fault.Denied, ""},
		"a wrong admin secret":         {map[string]any{"headers": map[string]any{"x-hasura-admin-secret": "guess"}}, "", ""},
		"headers that are none":        {map[string]any{"headers": 5}, fault.InvalidHeaders, ""},
		"presence of another kind":     {bearing(good, map[string]any{"presence": "no"}), fault.Invalid, "presence"},
		"a device of another kind":     {bearing(good, map[string]any{"device": "phone"}), fault.Invalid, "device"},
		"a device's name of another":   {bearing(good, map[string]any{"device": map[string]any{"name": 5}}), fault.Invalid, "device.name"},
		"a device's name without end":  {bearing(good, map[string]any{"device": map[string]any{"name": strings.Repeat("x", 5000)}}), fault.Invalid, "device.name"},
		"a device that there is not":   {bearing(good, map[string]any{"device": map[string]any{"type": "toaster"}}), fault.Invalid, "device.type"},
		"auto-deliver of another kind": {bearing(good, map[string]any{"autoDeliver": 1}), fault.Invalid, "autoDeliver"},
	} {
		in := admitting(t, testKey)
		_, err := in.init(t.Context(), wsock.Request{Header: http.Header{}, Payload: c.payload, Conn: &wsock.Conn{}})
		f := fault.From(err)
		if err == nil || c.code != "" && f.Code != c.code || f.Field != c.field || f.Code == fault.Unexpected {
			t.Errorf("%s: %v (field %q), want %s %s", what, err, f.Field, c.code, c.field)
		}
		if len(in.live.all) != 0 {
			t.Errorf("%s: somebody is behind a socket that was not let in", what)
		}
	}
}

// TestACookieNeedsAListedPage: any page may have a browser send one; a server
// that passes one on names no page.
func TestACookieNeedsAListedPage(t *testing.T) {
	t.Parallel()
	const key = `{"type":"HS256","key":"a-key-of-the-tests-of-app-and-of-nobody-else","header":{"type":"Cookie","name":"session"}}`
	pages := origin.New([]string{"https://app.example.com"}, clientip.New(nil).Encrypted)
	cookie := token(t, auth.Claims{TTL: time.Hour})
	for page, good := range map[string]bool{"https://app.example.com": true, "https://evil.example.com": false, "": true} {
		r := &http.Request{Method: http.MethodGet, Host: "realtime.example.com",
			Header: http.Header{"Cookie": {"session=" + cookie}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}}
		if page != "" {
			r.Header.Set("Origin", page)
		}
		r = noteOrigin(pages, r)
		_, err := admitting(t, key).init(r.Context(), wsock.Request{Header: r.Header, Conn: &wsock.Conn{}})
		if good != (err == nil) || err != nil && fault.From(err).Code != fault.Denied {
			t.Errorf("from %q: %v", page, err)
		}
	}
}

// TestRevokedInTheMoment: between the check of a token and its socket being
// known nobody else would see the revocation.
func TestRevokedInTheMoment(t *testing.T) {
	t.Parallel()
	p := built(t, nil)
	text := token(t, auth.Claims{TTL: time.Hour})
	if err := p.revoked.store.Revoke(t.Context(), "primary", demo.Alice, nil); err != nil {
		t.Fatal(err)
	}
	j, err := auth.ParseJWTConfig(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.revoked.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The authenticator has not heard of it; the list that the socket is held to has.
	in := &admission{authn: auth.New(auth.Options{JWT: &j}), revoked: p.revoked.known, live: newLive(), clock: clock.New()}
	_, err = in.init(t.Context(), wsock.Request{Header: http.Header{}, Payload: bearing(text, nil), Conn: &wsock.Conn{}})
	if fault.From(err).Code != fault.InvalidJWT || len(in.live.all) != 0 {
		t.Errorf("%v; %d behind sockets", err, len(in.live.all))
	}
}

// TestWhatAClientSaysOfItsDevice is shown as it said it, and nothing guessed.
func TestWhatAClientSaysOfItsDevice(t *testing.T) {
	t.Parallel()
	id := auth.Identity{Tenant: "primary", UserID: demo.Alice, TokenID: "t1"}
	o, err := openingOf(wsock.Request{Conn: &wsock.Conn{}}, id, session{})
	if err != nil || !o.Counts || o.Device != presence.DeviceUnknown || o.Name != nil || o.DeviceID != nil || o.TokenID != "t1" || o.Key.User != demo.Alice {
		t.Errorf("said nothing: %+v %v", o, err)
	}
	o, err = openingOf(wsock.Request{Conn: &wsock.Conn{}, Payload: map[string]any{"presence": nil, "hidden": nil, "lastActivityAgoMs": nil, "device": nil}}, id, session{})
	if err != nil || !o.Counts || o.Hidden || o.Ago != 0 || o.Device != presence.DeviceUnknown {
		t.Errorf("null: %+v %v", o, err)
	}
	payload := map[string]any{"presence": false, "hidden": true, "lastActivityAgoMs": 1500.0, "device": map[string]any{"id": "d1", "name": "Alice's phone", "type": "ios", "colour": "red"}}
	o, err = openingOf(wsock.Request{Conn: &wsock.Conn{}, Payload: payload}, id, session{})
	if err != nil || o.Counts || o.Device != presence.DeviceIOS || *o.Name != "Alice's phone" || *o.DeviceID != "d1" || !o.Hidden || o.Ago != 1500*time.Millisecond {
		t.Errorf("%+v %v", o, err)
	}
	for name, bad := range map[string][]any{"hidden": {"yes", 1.0}, "lastActivityAgoMs": {"1", -1.0, 0.5, 86_400_001.0}} {
		for _, v := range bad {
			if _, err := openingOf(wsock.Request{Conn: &wsock.Conn{}, Payload: map[string]any{name: v}}, id, session{}); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %v: %v", name, v, err)
			}
		}
	}
	for _, on := range []bool{true, false} {
		ctx, err := withAutoDeliver(t.Context(), map[string]any{"autoDeliver": on})
		if err != nil || autoDelivers(ctx) != on {
			t.Errorf("autoDeliver %v: %v", on, err)
		}
	}
	if autoDelivers(context.Background()) {
		t.Error("what nobody asked for is delivered by itself")
	}
}

// TestWhoseBucket: a user's own, by whatever way; an address's for those who
// are nobody; nobody's for what Hasura asks by itself.
func TestWhoseBucket(t *testing.T) {
	t.Parallel()
	user := uuid.New()
	at := context.WithValue(t.Context(), ipKey{}, "192.0.2.7")
	for what, c := range map[string]struct {
		id   auth.Identity
		key  string
		free bool
	}{
		"a user":                 {auth.Identity{Tenant: "a", UserID: user, Via: auth.ViaJWT}, "a/" + user.String(), false},
		"a user through Hasura":  {auth.Identity{Tenant: "a", UserID: user, Via: auth.ViaHasura}, "a/" + user.String(), false},
		"of another tenant":      {auth.Identity{Tenant: "b", UserID: user, Via: auth.ViaJWT}, "b/" + user.String(), false},
		"nobody":                 {auth.Identity{Via: auth.ViaAnonymous}, "ip/192.0.2.7", false},
		"nobody through Hasura":  {auth.Identity{Via: auth.ViaHasura}, "", true},
		"the admin, by a secret": {auth.Identity{Admin: true, Via: auth.ViaAdminSecret}, "", true},
	} {
		if key, free := rateKey(auth.With(at, c.id)); key != c.key || free != c.free {
			t.Errorf("%s: %q %v, want %q %v", what, key, free, c.key, c.free)
		}
	}
}
