package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/natstest"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func typing(rooms ...string) string {
	return `subscription { typingChanged(rooms: [` + strings.Join(rooms, ",") + `]) { id totalCount text users { userId displayName } } }`
}

func inChannel(id uuid.UUID) string { return `{channelId: "` + id.String() + `"}` }
func inDM(id uuid.UUID) string      { return `{dmId: "` + id.String() + `"}` }

func startTyping(room string) string {
	return `mutation { startTyping(room: ` + room + `) { accepted expiresAt nextAllowedAt } }`
}

// types is whoever starts to type in a room, for provoked.
func (s *sock) types(room string) func() { return func() { s.run(startTyping(room)) } }

func TestTypingAcrossNodes(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(*testing.T) map[string]string{
		"postgres": func(*testing.T) map[string]string { return nil },
		"nats":     func(t *testing.T) map[string]string { return map[string]string{"BUS_URL": natstest.New(t, "").URL()} },
	} {
		t.Run(name, func(t *testing.T) {
			whole(t)
			typingAcrossNodes(t, env(t))
		})
	}
}

func typingAcrossNodes(t *testing.T, env map[string]string) {
	db := database(t)
	one, two := inside(t, db, env), inside(t, db, env)
	alice, carol := one.dial(token(t, demo.Alice)), one.dial(token(t, demo.Carol))
	bob := two.dial(token(t, demo.Bob)).start(typing(inChannel(demo.Team), inChannel(demo.General)))
	if r := next(t, bob); strings.Count(r.String(), `"totalCount":0,"text":null,"users":[]`) != 2 {
		t.Fatal("the snapshot:", r)
	}
	if r := alice.run(startTyping(inChannel(demo.Team))); !strings.Contains(r.String(), `"accepted":true,"expiresAt":"2`) {
		t.Fatal(r)
	}
	if r := provoked(t, bob, "", alice.types(inChannel(demo.Team))); !strings.Contains(r.String(), `[{"id":"channel:`+demo.Team.String()+`","totalCount":1,"text":"Alice is typing...","users":[{"userId":"`+demo.Alice.String()+`","displayName":"Alice"}]}]`) {
		t.Fatal("only the room that changed:", r)
	}
	provoked(t, bob, "Alice and Carol are typing...", func() {
		alice.run(startTyping(inChannel(demo.Team)))
		carol.run(startTyping(inChannel(demo.Team)))
	})
	var many strings.Builder // in one operation: however slow the machine, they come faster than they may
	for i := range 12 {
		fmt.Fprintf(&many, "a%d: startTyping(room: %s) { accepted nextAllowedAt } ", i, inChannel(demo.Team))
	}
	if r := alice.run("mutation { " + many.String() + "}"); !strings.Contains(r.String(), `{"accepted":false,"nextAllowedAt":"2`) {
		t.Fatal("too many, and not said so:", r)
	}
	// Nobody sees their own.
	insisting(t, "alice sees carol", carol.types(inChannel(demo.Team)), func() bool {
		r := alice.run(`{ typing(room: ` + inChannel(demo.Team) + `) { text } }`).String()
		if strings.Contains(r, "Alice") {
			t.Fatal(r)
		}
		return strings.Contains(r, `"Carol is typing..."`)
	})
	alice.run(`mutation { stopTyping(room: ` + inChannel(demo.Team) + `) { accepted } }`)
	provoked(t, bob, `"Carol is typing..."`, carol.types(inChannel(demo.Team)))
	// A message ends it, whoever wrote it into the table.
	if _, err := pgtest.Pool(t, db).Exec(t.Context(), `insert into public.nchat_messages (channel_id, user_id, content) values ($1, $2, 'done')`, demo.Team, demo.Carol); err != nil {
		t.Fatal(err)
	}
	until(t, bob, demo.Team.String()+`","totalCount":0,"text":null`)
	// A socket that closes is silent at once; nothing else would end this one so soon.
	late := one.dial(token(t, demo.Carol))
	provoked(t, bob, demo.General.String()+`","totalCount":1,"text":"Carol is typing..."`, late.types(inChannel(demo.General)))
	_ = late.ws.Close()
	until(t, bob, demo.General.String()+`","totalCount":0,"text":null`)
}

func TestTypingIsAsPrivateAsItsOwnerChose(t *testing.T) {
	whole(t)
	db := database(t)
	n := inside(t, db, map[string]string{"OPERATIONS_PER_MINUTE": "100000"})
	alice := n.dial(token(t, demo.Alice))
	bob := n.dial(token(t, demo.Bob)).start(typing(inChannel(demo.General)))
	dave := n.dial(token(t, demo.Dave)).start(typing(inChannel(demo.General)))
	erin := n.dial(token(t, demo.Erin)).start(typing(inChannel(demo.General), inDM(demo.AliceErin)))
	next(t, bob)
	next(t, dave)
	next(t, erin)
	again := func() {
		t.Helper()
		eventually(t, "accepted", func() bool {
			return strings.Contains(alice.run(startTyping(inChannel(demo.General))).String(), `"accepted":true`)
		})
	}
	set := func(input string) {
		t.Helper()
		if r := alice.run(`mutation { updatePresenceSettings(input: {` + input + `}) { id } }`); len(r.Errors) > 0 {
			t.Fatal(r)
		}
	}
	provoked(t, bob, "Alice is typing", again)
	provoked(t, dave, "Alice is typing", alice.types(inChannel(demo.General)))
	set(`typingVisibility: contacts`) // at once, while she types
	until(t, dave, `"text":null`)
	again()
	set(`broadcastTyping: false`)
	until(t, bob, `"text":null`)
	set(`broadcastTyping: true, typingVisibility: everyone`)
	provoked(t, bob, "Alice is typing", again)
	provoked(t, dave, "Alice is typing", alice.types(inChannel(demo.General)))
	alice.run(`mutation { setInvisibleMode(enabled: true) { id } }`)
	until(t, bob, `"text":null`)
	until(t, dave, `"text":null`)
	again()
	alice.run(startTyping(inDM(demo.AliceBob)))
	if r := n.post(`{ typing(room: `+inDM(demo.AliceBob)+`) { totalCount } }`, bearer(token(t, demo.Bob))); !strings.Contains(r.String(), `"totalCount":0`) {
		t.Fatal("the invisible type in a direct conversation:", r)
	}
	// Whom she blocked was told of nothing from the beginning.
	select {
	case r := <-erin:
		t.Fatal("told to somebody blocked:", r)
	default:
	}
}

// Whoever typed on a node that dies types no more, soon and by itself.
func TestTypingEndsWithItsNode(t *testing.T) {
	t.Parallel()
	db := database(t)
	one, two := startNode(t, db), startNode(t, db)
	bob := two.dial(token(t, demo.Bob)).start(typing(inChannel(demo.General)))
	next(t, bob)
	provoked(t, bob, "Alice is typing", one.dial(token(t, demo.Alice)).types(inChannel(demo.General)))
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	until(t, bob, `"text":null`)
	t.Logf("over %.1f s after kill -9", time.Since(killed).Seconds())
}

// However many rooms, one user is taken at five signals a second, after ten at
// once: asked in one operation, so that a slow machine does not spread them.
func TestTypingEverywhereAtOnceIsLimited(t *testing.T) {
	whole(t)
	n := inside(t, database(t), nil)
	alice := n.dial(token(t, demo.Alice))
	var all strings.Builder
	for i := range 4 {
		for k, room := range []string{inChannel(demo.General), inChannel(demo.Team), inDM(demo.AliceBob), inDM(demo.DaveAlice), `{channelId: "` + demo.General.String() + `", threadId: "00000000-0000-4000-a000-000000000001"}`} {
			fmt.Fprintf(&all, "s%d_%d: startTyping(room: %s) { accepted } ", i, k, room)
		}
	}
	began := time.Now()
	r := alice.run("mutation { " + all.String() + "}")
	most := 10 + 5*int(time.Since(began).Seconds()+1)
	if len(r.Errors) > 0 {
		t.Fatal("too many is an error:", r)
	}
	if accepted := strings.Count(r.String(), `"accepted":true`); accepted < 5 || accepted > most {
		t.Fatalf("%d of 20 at once were taken, of at most %d", accepted, most)
	}
}

func TestTypingWhereOneMayNotBe(t *testing.T) {
	whole(t)
	db := database(t)
	n := inside(t, db, nil)
	pool := pgtest.Pool(t, db)
	dave, bob := n.dial(token(t, demo.Dave)), n.dial(token(t, demo.Bob))
	thread := uuid.MustParse("00000000-0000-4000-a000-000000000001")
	many := make([]string, 101)
	for i := range many {
		many[i] = inChannel(demo.General)
	}
	for name, c := range map[string]struct{ query, code string }{
		"a private channel":           {startTyping(inChannel(demo.Team)), "access-denied"},
		"a channel that is none":      {startTyping(inChannel(uuid.New())), "access-denied"},
		"a thread of another channel": {startTyping(fmt.Sprintf(`{channelId: %q, threadId: %q}`, demo.DaveAlice, thread)), "access-denied"},
		"a channel called a dm":       {startTyping(inDM(demo.General)), "access-denied"},
		"no room":                     {startTyping(`{}`), "validation-failed"},
		"two rooms":                   {startTyping(fmt.Sprintf(`{channelId: %q, dmId: %q}`, demo.General, demo.DaveAlice)), "validation-failed"},
		"watching a private channel":  {typing(inChannel(demo.General), inChannel(demo.Team)), "access-denied"},
		"watching 101 rooms":          {typing(many...), "validation-failed"},
		"watching none":               {typing(), "validation-failed"},
	} {
		if r := dave.run(c.query); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != c.code {
			t.Errorf("%s: %s", name, r)
		}
	}
	if r := dave.run(`{ typing(room: ` + inChannel(demo.Team) + `) { text } }`); len(r.Errors) > 0 || !strings.Contains(r.String(), `"typing":null`) {
		t.Error("asking about a private channel:", r)
	}
	if r := dave.run(startTyping(fmt.Sprintf(`{channelId: %q, threadId: %q}`, demo.General, thread))); !strings.Contains(r.String(), `"accepted":true`) {
		t.Error("a thread:", r)
	}
	// Nor where nothing can be sent any more, from the moment that is so.
	aside := bob.start(typing(inDM(demo.AliceBob), inChannel(demo.General)))
	next(t, aside)
	alice := n.dial(token(t, demo.Alice))
	provoked(t, aside, "Alice is typing", alice.types(inChannel(demo.General)))
	if _, err := pool.Exec(t.Context(), `update public.nchat_channels set is_archived = true where id = $1`, demo.General); err != nil {
		t.Fatal(err)
	}
	until(t, aside, `"text":null`)
	provoked(t, aside, `"dm:`+demo.AliceBob.String()+`","totalCount":1`, alice.types(inDM(demo.AliceBob)))
	if _, err := pool.Exec(t.Context(), `insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, demo.Bob, demo.Alice); err != nil {
		t.Fatal(err)
	}
	until(t, aside, `"text":null`)
	if r := alice.run(startTyping(inDM(demo.AliceBob))); len(r.Errors) != 1 || r.Errors[0].Extensions["code"] != "access-denied" {
		t.Error("blocked:", r)
	}
	// A member who is removed stops at once, and sees no more.
	watching := bob.start(typing(inChannel(demo.Team)))
	next(t, watching)
	carol := n.dial(token(t, demo.Carol))
	provoked(t, watching, "Carol is typing", carol.types(inChannel(demo.Team)))
	if _, err := pool.Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Carol); err != nil {
		t.Fatal(err)
	}
	until(t, watching, `"text":null`)
	if _, err := pool.Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Bob); err != nil {
		t.Fatal(err)
	}
	if r := until(t, watching, `"Message"`); r.Errors[0].Extensions["code"] != "access-denied" {
		t.Fatal(r)
	}
}

// TestWhatWasTypedInHidingIsNotTold: nor when it began, to a stream that was there
// and to one that begins later; and whose presence is nobody's, types for nobody.
func TestWhatWasTypedInHidingIsNotTold(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OPERATIONS_PER_MINUTE": "100000"})
	alice, bob := n.dial(token(t, demo.Alice)), n.dial(token(t, demo.Bob))
	q := `{ totalCount text users { startedAt } }`
	types := func() {
		t.Helper()
		eventually(t, "accepted", func() bool {
			return strings.Contains(alice.run(startTyping(inChannel(demo.Team))).String(), `"accepted":true`)
		})
	}
	for _, c := range [][2]string{
		{`mutation { setInvisibleMode(enabled: true) { id } }`, `mutation { setInvisibleMode(enabled: false) { id } }`},
		{`mutation { updatePresenceSettings(input: {visibility: nobody}) { id } }`, `mutation { updatePresenceSettings(input: {visibility: everyone}) { id } }`},
	} {
		was := bob.start(`subscription { typingChanged(rooms: [` + inChannel(demo.Team) + `]) ` + q + ` }`)
		next(t, was)
		if r := alice.run(c[0]); len(r.Errors) > 0 {
			t.Fatal(r)
		}
		types()
		if r := bob.run(`{ typing(room: ` + inChannel(demo.Team) + `) ` + q + ` }`); !strings.Contains(r.String(), `"totalCount":0`) {
			t.Fatal("seen in hiding:", r)
		}
		var now struct {
			RealtimeConfig struct{ ServerTime time.Time }
		}
		if r := alice.run(`{ realtimeConfig { serverTime } }`); json.Unmarshal(r.Data, &now) != nil {
			t.Fatal(r)
		}
		alice.run(c[1])
		r := provoked(t, was, `"totalCount":1`, types)
		var later result
		insisting(t, "who asks is told", types, func() bool {
			later = bob.run(`{ typing(room: ` + inChannel(demo.Team) + `) ` + q + ` }`)
			return strings.Contains(later.String(), `"totalCount":1`)
		})
		for _, r := range []result{r, later} {
			m := regexp.MustCompile(`"startedAt":"([^"]+)"`).FindStringSubmatch(r.String())
			if m == nil {
				t.Fatal(r)
			}
			if at, err := time.Parse(time.RFC3339Nano, m[1]); err != nil || at.Before(now.RealtimeConfig.ServerTime) {
				t.Errorf("typing since %v, visible after %v", at, now.RealtimeConfig.ServerTime)
			}
		}
		alice.run(`mutation { stopTyping(room: ` + inChannel(demo.Team) + `) { accepted } }`)
		until(t, was, `"totalCount":0`)
	}
}
