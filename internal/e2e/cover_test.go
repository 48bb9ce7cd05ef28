package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/pgtest"
)

func (s *sock) must(query string) result {
	s.t.Helper()
	r := s.run(query)
	if len(r.Errors) > 0 {
		s.t.Fatal(query, r)
	}
	return r
}

// TestWritingWhileInvisible shows the message and nothing besides: whoever wrote is
// as offline as before, not typing, last seen when it was; and it is told to its
// writer that it breaks its cover, which it does not while visible.
func TestWritingWhileInvisible(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OFFLINE_GRACE": "0s"})
	alice, bob := n.dial(token(t, demo.Alice)), n.dial(token(t, demo.Bob))
	send := func(key string) (id string, breaks string) {
		t.Helper()
		r := alice.must(fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: %q, content: "here"}) { breaksCover message { id } } }`, demo.AliceBob, key))
		var out struct {
			SendMessage struct {
				BreaksCover bool
				Message     struct{ ID string }
			}
		}
		if json.Unmarshal(r.Data, &out) != nil {
			t.Fatal(r)
		}
		return out.SendMessage.Message.ID, fmt.Sprint(out.SendMessage.BreaksCover)
	}
	edit := func(id string, base int) string {
		t.Helper()
		return alice.must(fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "edited %d", baseVersion: %d) { breaksCover } }`, id, base, base)).String()
	}
	id, breaks := send("visible")
	if breaks != "false" || !strings.Contains(edit(id, 1), "false") {
		t.Error("a cover that nobody has is broken")
	}
	stream := bob.start(watch(demo.Alice))
	next(t, stream)
	typists := bob.start(typing(inDM(demo.AliceBob)))
	next(t, typists)
	alice.must(`mutation { setInvisibleMode(enabled: true) { id } }`)
	until(t, stream, `"offline"`)
	q := fmt.Sprintf(`{ presence(userId: %q) { status lastSeenAt customStatus { text } } typing(room: %s) { totalCount text } }`, demo.Alice, inDM(demo.AliceBob))
	before := bob.must(q).String()
	alice.run(startTyping(inDM(demo.AliceBob)))
	id, breaks = send("hidden")
	if breaks != "true" || !strings.Contains(edit(id, 1), "true") {
		t.Error("not warned")
	}
	if _, breaks := send("hidden"); breaks != "false" {
		t.Error("warned of what had been sent before")
	}
	if r := bob.must(`{ sync { messages { content } } }`); strings.Count(r.String(), `"edited 1"`) != 2 {
		t.Error("what she wrote is not there:", r)
	}
	if after := bob.must(q).String(); after != before {
		t.Errorf("shown besides:\n%s\n%s", before, after)
	}
	alice.must(`mutation { setInvisibleMode(enabled: false) { id } }`)
	// Whatever was to be told of her meanwhile would be told before this.
	if r := next(t, stream); !strings.Contains(r.String(), `"online"`) {
		t.Error("told while she was invisible:", r)
	}
	select {
	case r := <-typists:
		t.Error("typing in hiding is told:", r)
	default:
	}
}

// TestSocketsAreNoMembers: that somebody connects or goes is no membership, to
// nobody who watches one.
func TestSocketsAreNoMembers(t *testing.T) {
	whole(t)
	n := inside(t, database(t), map[string]string{"OFFLINE_GRACE": "0s"})
	bob := n.dial(token(t, demo.Bob))
	members := bob.start(`subscription { events(kinds: [members, channels]) { payload { __typename } } }`)
	seen := bob.start(watch(demo.Carol))
	next(t, seen)
	for range 3 {
		s := n.dial(token(t, demo.Carol))
		until(t, seen, `"online"`)
		s.must(`{ sync { cursor } }`)
		_ = s.ws.Close()
		until(t, seen, `"offline"`)
	}
	if _, err := pgtest.Pool(t, n.url).Exec(t.Context(), `delete from public.nchat_channel_members where channel_id = $1 and user_id = $2`, demo.Team, demo.Carol); err != nil {
		t.Fatal(err)
	}
	for {
		r := next(t, members).String()
		if strings.Contains(r, "MemberJoined") {
			t.Fatal("a socket is told as a membership:", r)
		}
		if strings.Contains(r, "MemberLeft") {
			break // the one there was
		}
	}
}

// TestThePushIsNotToldToTheSender: what the sender gets is the same whether the
// recipient was connected or was told by the operator's push service.
func TestThePushIsNotToldToTheSender(t *testing.T) {
	whole(t)
	pushed := make(chan string, 1000)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		pushed <- string(b)
	}))
	t.Cleanup(hook.Close)
	n := inside(t, database(t), map[string]string{"OFFLINE_GRACE": "0s", "PUSH_WEBHOOK_URL": hook.URL, "PUSH_WEBHOOK_SECRET": "0123456789abcdef"})
	alice := n.dial(token(t, demo.Alice))
	m := regexp.MustCompile(`"cursor":"([^"]+)"`).FindStringSubmatch(alice.must(`{ sync { cursor } }`).String())
	if m == nil {
		t.Fatal("no cursor")
	}
	events := alice.start(fmt.Sprintf(`subscription { events(cursor: %q) { payload { __typename } } }`, m[1])) // whenever it begins
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[^"]+|"seq":"\d+"|k\d`)
	trace := func(key string) string {
		t.Helper()
		r := alice.must(fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: %q, content: "x"}) { status duplicate error { code } message { id seq delivery { status deliveredCount readCount } } } }`, demo.AliceBob, key))
		return ids.ReplaceAllString(r.String()+until(t, events, "MessageCreated").String(), "…")
	}
	probes := 0 // what is written before the push first looks, it does not tell
	eventually(t, "the push looks", func() bool {
		probes++
		n.says(demo.Alice, demo.AliceBob, fmt.Sprint("probe", probes), "is this on?")
		return len(pushed) > 0
	})
	absent := trace("k1")
	if body := <-pushed; !strings.Contains(body, demo.Bob.String()) {
		t.Fatal("not pushed:", body)
	}
	n.dial(token(t, demo.Bob))
	if there := trace("k2"); there != absent {
		t.Errorf("the sender learns who was pushed:\n%s\n%s", absent, there)
	}
	sdl := n.post(`{ __schema { types { name fields { name } } } }`, asAdmin).String()
	if m := regexp.MustCompile(`(?i)"name":"[a-z]*(notified|pushed|suppressed)[a-z]*"`).FindString(sdl); m != "" {
		t.Error("there is a field that would tell:", m)
	}
}

// TestABlockClosesADirectChannel: for both, said by canWrite as by sendMessage, at
// once and again when it is lifted.
func TestABlockClosesADirectChannel(t *testing.T) {
	whole(t)
	db := database(t)
	n := inside(t, db, nil)
	pool := pgtest.Pool(t, db)
	alice, bob := n.dial(token(t, demo.Alice)), n.dial(token(t, demo.Bob))
	told := bob.start(`subscription { events(kinds: [channels]) { payload { __typename ... on ChannelUpdated { channel { channelId canWrite } } } } }`)
	agree := func(s *sock, want bool) {
		t.Helper()
		var out struct {
			Sync struct {
				Channels []struct {
					ChannelID uuid.UUID
					CanWrite  bool
				}
			}
		}
		if r := s.must(`{ sync { channels { channelId canWrite } } }`); json.Unmarshal(r.Data, &out) != nil {
			t.Fatal(r)
		}
		found := false
		for _, c := range out.Sync.Channels {
			sent := strings.Contains(s.run(sendTo(c.ChannelID, uuid.NewString())).String(), `"sent"`)
			if sent != c.CanWrite {
				t.Errorf("%s: canWrite %v, sent %v", c.ChannelID, c.CanWrite, sent)
			}
			if c.ChannelID == demo.AliceBob {
				found = true
				if c.CanWrite != want {
					t.Errorf("canWrite %v, want %v", c.CanWrite, want)
				}
			}
		}
		if !found {
			t.Error("the channel is not there")
		}
	}
	agree(bob, true)
	for _, c := range []struct {
		q    string
		want bool
	}{{`insert into public.nchat_blocked_users (blocker_id, blocked_user_id) values ($1, $2)`, false}, {`delete from public.nchat_blocked_users where blocker_id = $1 and blocked_user_id = $2`, true}} {
		if _, err := pool.Exec(t.Context(), c.q, demo.Alice, demo.Bob); err != nil {
			t.Fatal(err)
		}
		until(t, told, fmt.Sprintf(`"channelId":"%s","canWrite":%v`, demo.AliceBob, c.want))
		agree(bob, c.want)
		agree(alice, c.want)
	}
}

// TestWhoChangedAMessageIsSaid; and nobody changes another's words in a direct
// channel, whatever its role there.
func TestWhoChangedAMessageIsSaid(t *testing.T) {
	whole(t)
	db := database(t)
	n := inside(t, db, nil)
	if _, err := pgtest.Pool(t, db).Exec(t.Context(), `update public.nchat_channel_members set role = 'owner' where user_id = $1`, demo.Bob); err != nil {
		t.Fatal(err)
	}
	alice, bob := n.dial(token(t, demo.Alice)), n.dial(token(t, demo.Bob))
	for _, c := range []struct {
		channel uuid.UUID
		may     bool
	}{{demo.Team, true}, {demo.AliceBob, false}} {
		r := alice.must(fmt.Sprintf(`mutation { sendMessage(input: {channelId: %q, clientMessageId: %q, content: "mine"}) { message { id editedBy } } }`, c.channel, c.channel))
		m := regexp.MustCompile(`"id":"([^"]+)","editedBy":null`).FindStringSubmatch(r.String())
		if m == nil {
			t.Fatal(r)
		}
		edit := fmt.Sprintf(`mutation { editMessage(messageId: %q, content: "forged", baseVersion: 1) { message { content senderId editedBy } } }`, m[1])
		if r := bob.run(edit); (len(r.Errors) == 0) != c.may || c.may && !strings.Contains(r.String(), `"editedBy":"`+demo.Bob.String()) {
			t.Error("edited:", r)
		}
		if r := bob.run(fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id editedBy } }`, m[1])); (len(r.Errors) == 0) != c.may || strings.Contains(r.String(), `"editedBy":"`) {
			t.Error("deleted:", r)
		}
	}
}
