package door

import (
	"bytes"
	"encoding/json"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// giveUp ends an operation, here and upstream, of which a result cannot be passed on.
func (u *upstream) giveUp(o *op, id string, err error) {
	if u.take(id) == o {
		o.end(wsock.End{Err: err})
		u.stop(o, id)
	}
}

// large ends the operation of a frame that is larger than any may be, by its beginning.
func (u *upstream) large(beginning []byte) error {
	id, err := idOf(beginning)
	if o := u.find(id); err == nil && o != nil {
		u.giveUp(o, id, o.unread(fault.New(fault.Invalid, "a result of Hasura's has more than %d bytes: ask for less at once", u.l.d.frame)))
	}
	return err
}

// unread is what is said where a result does not reach its client: of what may have
// changed something, that it did.
func (o *op) unread(err error) error {
	if o.kind == mutation || o.kind == unsure {
		return limit.CarriedOut()
	}
	return err
}

// idOf is whose a frame is of which only the beginning is there: Hasura says that before
// the payload.
func idOf(beginning []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(beginning))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return "", errGarbage
	}
	for {
		key, err := d.Token()
		if err != nil || key == "payload" {
			return "", errGarbage
		}
		value, err := d.Token()
		if _, text := value.(string); err != nil || !text {
			return "", errGarbage
		}
		if key == "id" {
			return value.(string), nil //nolint:forcetypeassert // it is one
		}
	}
}
