package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/graph/generated"
	"github.com/nself-org/nchat-realtime/internal/auth"
	"github.com/nself-org/nchat-realtime/internal/config"
	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/limit"
	"github.com/nself-org/nchat-realtime/internal/wsock"
)

// onASocket is the context of an operation that came over one, from an address.
func onASocket(t *testing.T, ip string) context.Context {
	t.Helper()
	got := make(chan context.Context, 1)
	tr := wsock.New(wsock.Options{CheckOrigin: func(*http.Request) bool { return true }, ClientIP: func(*http.Request) string { return ip },
		Init: func(ctx context.Context, _ wsock.Request) (wsock.Accepted, error) {
			return wsock.Accepted{Context: ctx}, nil
		},
		Operation: func(ctx context.Context, _ *wsock.Conn) context.Context {
			got <- ctx
			return ctx
		}})
	exec := executor.New(generated.NewExecutableSchema(generated.Config{}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tr.Do(w, r, exec) }))
	t.Cleanup(func() {
		tr.Drain(context.Background(), 0)
		srv.Close()
	})
	d := websocket.Dialer{Subprotocols: []string{wsock.TransportWS}}
	ws, res, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	for _, m := range []string{`{"type":"connection_init"}`, `{"id":"1","type":"subscribe","payload":{"query":"{ __typename }"}}`} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	return <-got
}

// TestWhoPaysThePoints: a user, its socket with half as much, and all behind its
// address with twenty times as much; none of these for what has none.
func TestWhoPaysThePoints(t *testing.T) {
	t.Parallel()
	user := uuid.New()
	b := newBudgets(config.Limits{PointsPerMinute: 100, OperationsPerMinute: 1, MessagesPerMinute: 1, WatchedIDs: 1, WaitingPolls: 1, FieldsAtOnce: 1}, 4)
	me := auth.Identity{Tenant: "a", UserID: user, Via: auth.ViaJWT}
	socket := onASocket(t, "192.0.2.7")
	c, ok := wsock.FromContext(socket)
	if !ok {
		t.Fatal("no socket")
	}
	hasura := me
	hasura.Via = auth.ViaHasura
	web := context.WithValue(t.Context(), ipKey{}, "192.0.2.7")
	mine := limit.Account{Limiter: b.points, Key: "a/" + user.String()}
	address := limit.Account{Limiter: b.address, Key: "192.0.2.7"}
	for what, x := range map[string]struct {
		ctx  context.Context //nolint:containedctx // of one row
		want []limit.Account
	}{
		"over a socket":      {auth.With(socket, me), []limit.Account{mine, {Limiter: b.session, Key: c.ID().String()}, address}},
		"over HTTP":          {auth.With(web, me), []limit.Account{mine, address}},
		"through Hasura":     {auth.With(web, hasura), []limit.Account{mine}},
		"an admin by secret": {auth.With(web, auth.Identity{Admin: true, Via: auth.ViaAdminSecret}), nil},
	} {
		got := b.accounts(x.ctx)
		if len(got) != len(x.want) {
			t.Errorf("%s: %+v", what, got)
			continue
		}
		for i := range got {
			if got[i] != x.want[i] {
				t.Errorf("%s: account %d is %+v", what, i, got[i])
			}
		}
	}
}

// TestHowManyPointsThereAre, at one instant.
func TestHowManyPointsThereAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudgets(config.Limits{PointsPerMinute: 100}, 4)
		for what, x := range map[string]struct {
			of   *limit.Limiter
			most int
		}{"a user's": {b.points, 100}, "a socket's": {b.session, 50}, "an address's": {b.address, 2000}} {
			for range x.most {
				if ok, _ := x.of.Allow("k"); !ok {
					t.Fatalf("%s are fewer than %d", what, x.most)
				}
			}
			if ok, after := x.of.Allow("k"); ok || after <= 0 {
				t.Errorf("%s are more than %d", what, x.most)
			}
		}
	})
}

// TestMembersArePaidFor: what lists or counts a channel's members costs by how many they
// are, each once, whichever way and under however many names it is asked.
func TestMembersArePaidFor(t *testing.T) {
	t.Parallel()
	const points = 20
	p := built(t, map[string]string{"POINTS_PER_MINUTE": strconv.Itoa(points)})
	if _, err := p.pool.Exec(t.Context(), `
		with u as (insert into public.nchat_users (email, display_name) select i || '@example.com', 'u' || i from generate_series(1, 1000) i returning id)
		insert into public.nchat_channel_members (channel_id, user_id) select $1, id from u`, demo.Team); err != nil {
		t.Fatal(err)
	}
	h, team := publicHandler(p), demo.Team.String()
	bearer := func(user uuid.UUID) []string {
		return []string{"Authorization", "Bearer " + token(t, auth.Claims{User: user})}
	}
	hasura := []string{"x-nchat-webhook-secret", testHooks, "x-hasura-role", "user", "x-hasura-user-id", demo.Bob.String()}
	list, counts := `{ channelPresence(channelId: "`+team+`", first: 1) { totalCount } }`,
		"{ "+aliases(30, `channelPresenceCounts(channelId: "`+team+`") { online }`)+"}"
	for what, c := range map[string]struct {
		costs int
		ask   func() (int, string)
	}{
		"a list":                       {10, func() (int, string) { return ask(t, h, list, bearer(demo.Alice)...) }},
		"thirty counts through Hasura": {6, func() (int, string) { return ask(t, h, counts, hasura...) }},
		"an action": {10, func() (int, string) {
			return act(t.Context(), h, demo.Carol, "whoIsOnline", `{"channelId":"`+team+`"}`)
		}},
	} {
		began, paid, least := time.Now(), 0, points-c.costs
		for {
			_, body := c.ask()
			if strings.Contains(body, `"rate-limited"`) && strings.Contains(body, `"retryAfterMs"`) {
				break
			}
			if strings.Contains(body, `"errors"`) || !strings.Contains(body, `"totalCount"`) && !strings.Contains(body, `"online"`) && !strings.HasPrefix(body, "[") {
				t.Fatalf("%s: %.300s", what, body)
			}
			paid += c.costs
			if most := points * (1 + time.Since(began).Minutes()); float64(paid) > most {
				t.Fatalf("%s: %d points' worth is answered, of %.0f", what, paid, most)
			}
		}
		if paid <= least {
			t.Errorf("%s: only %d points' worth is answered", what, paid)
		}
	}
}

// TestCountingUnreadIsPaidFor by how many there are, however it is asked: the next
// operation waits for it.
func TestCountingUnreadIsPaidFor(t *testing.T) {
	t.Parallel()
	const points, unread, counting = 400, 20_000, 400 / countShare // a point, whatever there is to count
	p := built(t, map[string]string{"POINTS_PER_MINUTE": strconv.Itoa(points)})
	for _, q := range []string{`select realtime.sequence(10000, false, true)`,
		`insert into realtime.messages (message_id, channel_id, seq, members, countable)
		  select gen_random_uuid(), channel_id, seq + i, 1, true from realtime.channels, generate_series(1, ` + strconv.Itoa(unread) + `) i where channel_id = '` + demo.Team.String() + `'`} {
		if _, err := p.pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	h := publicHandler(p)
	for query, costs := range map[string]int{
		`{ readStates { unreadCount } }`:                                         5,
		`{ unreadTotals { messages } }`:                                          2,
		`{ readState(channelId: "` + demo.Team.String() + `") { unreadCount } }`: 1,
	} {
		user := []uuid.UUID{demo.Alice, demo.Bob, demo.Carol}[costs/2]
		bearer, began, owes := []string{"Authorization", "Bearer " + token(t, auth.Claims{User: user})}, time.Now(), 0
		for {
			_, body := ask(t, h, query, bearer...)
			if strings.Contains(body, `"rate-limited"`) {
				if owes < points/2 {
					t.Errorf("%s: refused after %d points' worth: it counts for more than its share", query, owes)
				}
				break
			}
			if strings.Contains(body, `"errors"`) || !strings.Contains(body, ":"+strconv.Itoa(unread/1000)) {
				t.Fatalf("%s: %.300s", query, body)
			}
			owes += costs + counting
			if most := points*(1+time.Since(began).Minutes()) + counting; float64(owes) > most {
				t.Fatalf("%s: %d points' worth is answered, of %.0f", query, owes, most)
			}
		}
	}
}

// TestAskingWhatOneMaySeeHasARate: presenceVisibility, by requests and by aliases,
// whoever is asked of and whatever it answers.
func TestAskingWhatOneMaySeeHasARate(t *testing.T) {
	t.Parallel()
	p := built(t, map[string]string{"POINTS_PER_MINUTE": "60"})
	h := graphqlHandler(p)
	refused := func(user uuid.UUID, query string) bool {
		t.Helper()
		_, body := ask(t, h, query, "Authorization", "Bearer "+token(t, auth.Claims{User: user}))
		switch {
		case strings.Contains(body, `"rate-limited"`) && strings.Contains(body, `"retryAfterMs"`):
			return true
		case !strings.Contains(body, `"canViewPresence"`) || strings.Contains(body, `"errors"`):
			t.Fatal(body)
		}
		return false
	}
	one := func(of uuid.UUID) string {
		return `{ presenceVisibility(userId: "` + of.String() + `") { canViewPresence } }`
	}
	served := 0
	for served < 600 && !refused(demo.Carol, one([]uuid.UUID{demo.Alice, demo.Carol, uuid.New()}[served%3])) {
		served++
	}
	if served < 60 || served >= 600 {
		t.Errorf("%d questions are answered, of 60 points and what came back meanwhile", served)
	}
	served = 0
	for many := "{ " + aliases(30, `presenceVisibility(userId: "`+demo.Alice.String()+`") { canViewPresence }`) + "}"; served < 600 && !refused(demo.Bob, many); {
		served++
	}
	if served < 60 || served >= 600 {
		t.Errorf("%d times thirty questions are answered", served)
	}
}
