package graph

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/nself-org/nchat-realtime/graph/model"
	"github.com/nself-org/nchat-realtime/internal/feed"
	"github.com/nself-org/nchat-realtime/internal/presence"
)

// TestNumbersStayWrongOnTheirWayIn: what is out of bounds is so still for the
// domain, which refuses it: neither an absent value nor one that overflows.
func TestNumbersStayWrongOnTheirWayIn(t *testing.T) {
	t.Parallel()
	if q := toQuery(nil, nil, nil, nil, nil); q.First != 0 || q.Wait != 0 || q.Cursor != "" {
		t.Errorf("absent: %+v", q)
	}
	for in, ok := range map[int]bool{0: false, 1: true, feed.MaxFirst: true, -5: false} {
		if q := toQuery(nil, nil, nil, &in, nil); (q.First >= 1) != ok {
			t.Errorf("first %d: %d", in, q.First)
		}
	}
	most := int(feed.MaxWait.Milliseconds())
	for in, ok := range map[int]bool{0: true, most: true, most + 1: false, -1: false, math.MinInt: false, math.MaxInt: false} {
		if q := toQuery(nil, nil, nil, nil, &in); (q.Wait >= 0 && q.Wait <= feed.MaxWait) != ok {
			t.Errorf("waitMs %d: %v", in, q.Wait)
		}
	}
	most = int(presence.MaxActivityAgo.Milliseconds())
	for in, ok := range map[int]bool{0: true, most: true, most + 1: false, -1: false, math.MinInt: false, math.MaxInt: false} {
		a := toActivity(model.HeartbeatInput{LastActivityAgoMs: graphql.OmittableOf(&in)})
		if (a.Ago >= 0 && a.Ago <= presence.MaxActivityAgo) != ok || !a.Active {
			t.Errorf("lastActivityAgoMs %d: %+v", in, a)
		}
	}
	ago, idle := 1000, false
	if a := toActivity(model.HeartbeatInput{LastActivityAgoMs: graphql.OmittableOf(&ago), Active: graphql.OmittableOf(&idle)}); a.Active || a.Ago != time.Second {
		t.Errorf("active is not what was said: %+v", a)
	}
}

// TestAStreamsEndSaysWhy, once and last, and a stream that ends by itself says
// nothing.
func TestAStreamsEndSaysWhy(t *testing.T) {
	t.Parallel()
	present := func(_ context.Context, err error) *gqlerror.Error { return &gqlerror.Error{Message: err.Error()} }
	for _, why := range []error{nil, errors.New("its room is gone")} {
		told := 0
		next := Endings{Present: present}.InterceptOperation(t.Context(), func(ctx context.Context) graphql.ResponseHandler {
			fail := failer(ctx)
			return func(context.Context) *graphql.Response {
				if told++; told <= 2 {
					return &graphql.Response{}
				}
				if why != nil && told == 3 {
					fail(why)
				}
				return nil
			}
		})
		for range 2 {
			if r := next(t.Context()); r == nil || len(r.Errors) > 0 {
				t.Fatalf("%v: %v", why, r)
			}
		}
		if r := next(t.Context()); why == nil && r != nil || why != nil && (len(r.Errors) != 1 || r.Errors[0].Message != why.Error() || r.Data != nil) {
			t.Errorf("%v: it ends with %+v", why, r)
		}
		if r := next(t.Context()); r != nil {
			t.Errorf("%v: after its end comes %+v", why, r)
		}
	}
	failer(t.Context())(errors.New("nobody listens")) // outside of an operation: nothing happens
}
