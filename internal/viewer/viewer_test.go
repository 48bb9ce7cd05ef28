package viewer

import (
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Nobody is denied, of whichever tenant and over whichever socket.
func TestNobodyIsDenied(t *testing.T) {
	t.Parallel()
	for _, v := range []Viewer{{}, Of("primary", uuid.Nil), {Key: Key{Tenant: "primary"}, Session: uuid.New()}} {
		if err := v.Denied(); err == nil || fault.From(err).Code != fault.Denied {
			t.Errorf("%+v: %v", v, err)
		}
	}
	if err := Of("primary", uuid.New()).Denied(); err != nil {
		t.Error("a user:", err)
	}
}
