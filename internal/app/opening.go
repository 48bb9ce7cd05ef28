package app

import (
	"context"
	"math"
	"time"

	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/presence"
	"github.com/nself-org/nchat-realtime/internal/viewer"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// openingOf reads what connection_init says of the device and its user's activity. Of
// the device nothing is believed, it is only shown to its own user. What is null is not said.
func openingOf(r wsock.Request, id auth.Identity, socket session) (presence.Opening, error) {
	o := presence.Opening{ID: r.Conn.ID(), Key: viewer.Key{Tenant: id.Tenant, User: id.UserID}, Counts: true,
		Device: presence.DeviceUnknown, TokenID: id.TokenID, Socket: socket}
	if v := r.Payload["presence"]; v != nil {
		counts, ok := v.(bool)
		if !ok {
			return o, fault.Field("presence", "presence must be true or false")
		}
		o.Counts = counts
	}
	if v := r.Payload["hidden"]; v != nil {
		hidden, ok := v.(bool)
		if !ok {
			return o, fault.Field("hidden", "hidden must be true or false")
		}
		o.Hidden = hidden
	}
	if v := r.Payload["lastActivityAgoMs"]; v != nil {
		most := presence.MaxActivityAgo.Milliseconds()
		ms, ok := v.(float64)
		if !ok || ms != math.Trunc(ms) || ms < 0 || ms > float64(most) {
			return o, fault.Field("lastActivityAgoMs", "lastActivityAgoMs must be 0 to %d", most)
		}
		o.Ago = time.Duration(ms) * time.Millisecond
	}
	device, ok := r.Payload["device"].(map[string]any)
	if !ok {
		if r.Payload["device"] != nil {
			return o, fault.Field("device", "device must be an object")
		}
		return o, nil
	}
	return withDevice(o, device)
}

func withDevice(o presence.Opening, device map[string]any) (presence.Opening, error) {
	for name, into := range map[string]**string{"id": &o.DeviceID, "name": &o.Name} {
		v := device[name]
		if v == nil {
			continue
		}
		text, ok := v.(string)
		if !ok {
			return o, fault.Field("device."+name, "device.%s must be a string", name)
		}
		line, err := presence.DeviceText("device."+name, &text)
		if err != nil {
			return o, err
		}
		if *into = &text; name == "name" {
			*into = line
		}
	}
	if v := device["type"]; v != nil {
		kind, _ := v.(string)
		switch d := presence.Device(kind); d {
		case presence.DeviceWeb, presence.DeviceIOS, presence.DeviceAndroid, presence.DeviceDesktop, presence.DeviceUnknown:
			o.Device = d
		default:
			return o, fault.Field("device.type", "device.type must be web, ios, android, desktop or unknown")
		}
	}
	return o, nil
}

type autoDeliverKey struct{}

// withAutoDeliver reads whether what is written to the socket counts as delivered.
func withAutoDeliver(ctx context.Context, payload map[string]any) (context.Context, error) {
	v, ok := payload["autoDeliver"]
	if !ok {
		return ctx, nil
	}
	on, ok := v.(bool)
	if !ok {
		return ctx, fault.Field("autoDeliver", "autoDeliver must be true or false")
	}
	return context.WithValue(ctx, autoDeliverKey{}, on), nil
}

func autoDelivers(ctx context.Context) bool {
	on, _ := ctx.Value(autoDeliverKey{}).(bool)
	return on
}
