package feed

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
	"github.com/nself-org/nchat-realtime/internal/postgres"
	"github.com/nself-org/nchat-realtime/internal/viewer"
)

// Open begins a stream after a cursor, or now without one: after everything
// committed before the call. channels nil: all that the viewer is a member of.
// Errors: access-denied for a channel it may not read; validation-failed for a
// cursor that is not its own.
func (s *Service) Open(ctx context.Context, v viewer.Viewer, cursor string, channels []uuid.UUID) (*Stream, error) {
	if err := v.Denied(); err != nil {
		return nil, err
	}
	// turn before the state: to begin anew once too often is only a bother
	x := &Stream{s: s, v: v, only: channels, turn: s.tail.turns(), pending: pending{dirty: map[topic]struct{}{}}}
	if err := x.start(ctx, cursor); err != nil {
		return nil, err
	}
	x.sub = s.tail.hub.Subscribe(topicOf(v.User))
	lookAgain(x)
	for {
		st, why, err := x.regrant(ctx, placeOf(x))
		if err == nil && why != "" { // between the two it became another one
			if err = x.begin(st, cmp.Or(x.reset, why)); err == nil {
				continue
			}
		}
		if err != nil {
			x.Close()
			return nil, err
		}
		return x, nil
	}
}

// start goes to where a cursor says, else to where the log ends now, and tells why.
func (x *Stream) start(ctx context.Context, cursor string) error {
	why := Started
	if cursor != "" {
		st, p, err := x.s.standing(ctx, x.s.o.Pool, x.v, nil, cursor)
		if err != nil {
			return err
		}
		if why, err = x.resume(st, p); err != nil || why == "" {
			return err
		}
	}
	// What is committed and has no position yet was before now all the same.
	if err := x.s.ToRead(ctx); err != nil {
		return err
	}
	st, err := loadState(ctx, x.s.o.Pool, nowhere)
	if err != nil {
		return err
	}
	return x.begin(st, why)
}

// resume goes to where a cursor says; a reason: it leads nowhere any more.
func (x *Stream) resume(st state, p place) (Reason, error) {
	if err := x.begin(st, ""); err != nil {
		return "", err
	}
	if p.mode != atEntry {
		return "", fault.Field("cursor", "cursor stands within a sync that is not finished: ask for its remaining pages first")
	}
	x.pos, x.mark, x.from = p.pos, p.mark, p
	return judge(p, st), nil
}

// standing opens a cursor and reads the state for whoever stands there. Whom a
// cursor is sealed for is known before, as a rule: that saves a round trip.
func (s *Service) standing(ctx context.Context, db postgres.DB, v viewer.Viewer, channels []uuid.UUID, cursor string) (state, place, error) {
	at := int64(nowhere)
	if guess := s.lastSealer(); guess != nil {
		if keys, err := guess.keyring(v, channels); err == nil {
			if p, err := keys.open(cursor); err == nil {
				at = p.pos
			}
		}
	}
	for {
		st, err := loadState(ctx, db, at)
		if err != nil {
			return st, place{}, err
		}
		keys, err := s.sealerOf(st).keyring(v, channels)
		if err != nil {
			return st, place{}, err
		}
		p, err := keys.open(cursor)
		if err != nil || p.pos == at {
			return st, p, err
		}
		at = p.pos
	}
}

// judge tells whether a place is still part of the log, by the state as it was
// read for it.
func judge(p place, st state) Reason {
	switch {
	case p.epoch != st.epoch || p.pos > st.pos:
		return Changed
	case p.pos < st.floor:
		return Expired
	case p.mark != st.standing: // its position is another entry's
		return Changed
	}
	return ""
}

// regrant reads the viewer's rights again, and listens to what it may read. A reason: they
// are not of the history that is told up to a place, and nothing has changed.
func (x *Stream) regrant(ctx context.Context, upTo place) (state, Reason, error) {
	began := time.Now()
	gs, st, err := loadGrantsAt(ctx, x.s.o.Pool, x.v, x.only, upTo.pos)
	if err != nil {
		return st, "", err
	}
	if why := judge(upTo, st); why != "" {
		return st, why, nil
	}
	x.asked = began
	for _, c := range x.only {
		if !gs[c].readable {
			return st, "", fault.Access()
		}
	}
	for id := range x.gs {
		if !gs[id].readable {
			x.sub.Remove(topic{id: id})
		}
		if _, known := gs[id]; !known {
			x.sub.Remove(topic{id: id, rights: true})
		}
	}
	x.gs = gs
	x.sub.Add(gs.topics()...)
	return st, "", nil
}
