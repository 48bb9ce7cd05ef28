package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/nself-org/nchat-realtime/internal/demo"
)

// breakage is a rule broken on the way, and the checks that must see it, in their
// order. What is nil is left as it is.
type breakage struct {
	what   string
	seen   []string
	ask    func(r *http.Request)                              // a request, before it is sent on
	answer func(r *http.Request, asked, answer string) string // what is answered to it
	header func(h http.Header)
	down   func(w *wire, frame string) []string // a frame of the server's
	up     func(w *wire, frame string) []string // a frame of the client's; what comes goes back to the client
	code   func(code int) int
}

// wire is what is remembered of one socket.
type wire struct {
	mu   sync.Mutex
	last map[string]string // guarded by mu: by id, the last next
}

// by replaces in every answer.
func by(old, replacement string) func(*http.Request, string, string) string {
	x := regexp.MustCompile(old)
	return func(_ *http.Request, _, answer string) string { return x.ReplaceAllString(answer, replacement) }
}

// frames replaces in every frame of the server's.
func frames(old, replacement string) func(*wire, string) []string {
	x := regexp.MustCompile(old)
	return func(_ *wire, frame string) []string { return []string{x.ReplaceAllString(frame, replacement)} }
}

// breakages are what the suite is known to see.
func breakages(t *testing.T) []breakage {
	t.Helper()
	alice := demo.Alice.String()
	return append(brokenRules(), []breakage{
		{what: "somebody hidden is answered as busy", seen: []string{"leak E2: somebody hidden looks as somebody never seen"},
			answer: func(_ *http.Request, asked, answer string) string {
				if strings.Contains(asked, "presence(userId: \\\""+alice) {
					return strings.ReplaceAll(answer, `"status":"offline"`, `"status":"busy"`)
				}
				return answer
			}},
		{what: "others are told who is invisible", seen: []string{"leak E1: whether somebody is invisible is told to oneself alone", "leak E28: presenceVisibility of somebody invisible is as its settings say"},
			answer: by(`"isInvisible":false`, `"isInvisible":true`)},
		{what: "when last seen is told to the second", seen: []string{"leak E7: when last seen is told to the minute"}, answer: by(`("lastSeenAt":"[^"]*:)00(\.0+)?Z`, `${1}07Z`)},
		{what: "an event slips through of somebody invisible", seen: []string{"leak E4 E5: watchers of somebody hidden are told nothing", "leak E4 E5: whatever somebody invisible does, watchers are told nothing"},
			down: func(_ *wire, frame string) []string {
				if strings.Contains(frame, demo.Carol.String()) && strings.Contains(frame, `"text":"conform-`) {
					return []string{strings.ReplaceAll(frame, demo.Carol.String(), alice), frame}
				}
				return []string{frame}
			}},
		{what: "hidden typists are counted", seen: []string{"leak E11: broadcastTyping off hides typing", "leak E9 E10: typing while invisible is in no list, count or text, also not in a direct conversation"},
			down: frames(`"totalCount":1`, `"totalCount":2`)},
		{what: "receipts of somebody invisible are counted", seen: []string{"leak E12 E13: receipts are held while invisible, delivered ones too"},
			answer: by(`"status":"sent","totalRecipients":1,"deliveredCount":0`, `"status":"delivered","totalRecipients":1,"deliveredCount":1`)},
		{what: "somebody hidden counts as online", seen: []string{"leak E17: somebody hidden counts as offline"}, down: func(_ *wire, frame string) []string {
			if strings.Contains(frame, "presenceWindow") {
				frame = strings.ReplaceAll(frame, `"status":"offline"`, `"status":"online"`)
			}
			return []string{frame}
		}},
		{what: "nobody is warned that a message breaks its cover", seen: []string{"leak E33 E34: what is written while invisible adds nothing to presence, and its writer is warned"},
			answer: by(`"breaksCover":true`, `"breaksCover":false`)},
		{what: "what there is not is told from what is hidden", seen: []string{"leak E23: mutations on a hidden room or message are refused as on none"},
			answer: func(_ *http.Request, asked, answer string) string {
				if strings.Contains(asked, "dead") {
					return strings.ReplaceAll(answer, "access denied", "there is no such thing")
				}
				return answer
			}},
		{what: "answers may be kept", seen: []string{"leak E45: answers are private, not stored, and vary by who asks"}, header: func(h http.Header) { h.Set("Cache-Control", "public") }},
		{what: "a session's headers are believed", seen: []string{"leak E40: a session's headers beside a token do not make it another's", "leak E40: a session's headers without a token count for nothing"},
			ask: func(r *http.Request) {
				if who, err := uuid.Parse(r.Header.Get("X-Hasura-User-Id")); err == nil {
					r.Header = bearer(token(t, who))
					r.Header.Set("Content-Type", "application/json")
				}
			}},
		{what: "nobody is taken for bob", seen: []string{"leak: nobody is answered nothing of anybody"},
			ask: func(r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					r.Header.Set("Authorization", "Bearer "+token(t, demo.Bob))
				}
			}},
		{what: "errors suggest names", seen: []string{"leak E41: errors suggest no names"}, answer: by(`"message":"`, `"message":"Did you mean isInvisible? `)},
	}...)
}

// brokenRules are those of the protocol and of the contract.
func brokenRules() []breakage {
	return []breakage{
		{what: "a pong has no payload", seen: []string{"protocol: a ping is answered with a pong of the same payload"}, down: frames(`("type":"pong"),"payload":\{.*\}`, `$1`)},
		{what: "every close is 1000", code: func(int) int { return websocket.CloseNormalClosure }, seen: []string{
			"protocol: a socket without a subprotocol is closed with 4406", "protocol: a second connection_init is closed with 4429", "protocol: a subscribe before connection_init is closed with 4401",
			"protocol: a bad token is closed with 4403", "protocol: an unknown type is closed with 4400", "protocol: a frame over maxFrameBytes is closed with 1009",
			"protocol: a second operation of an id that runs is closed with 4409"}},
		{what: "a next comes after complete", seen: []string{"protocol: a complete of the client's is not answered, and nothing comes after it"},
			up: func(w *wire, frame string) (back []string) {
				var m struct{ ID, Type string }
				_ = json.Unmarshal([]byte(frame), &m)
				if w.mu.Lock(); m.Type == "complete" && w.last[m.ID] != "" {
					back = []string{w.last[m.ID]}
				}
				w.mu.Unlock()
				return back
			}},
		{what: "a complete is answered", seen: []string{"protocol: an id may be used again after its complete", "protocol: a complete of an id that does not run is ignored"},
			up: func(_ *wire, frame string) []string {
				if strings.Contains(frame, `"type":"complete"`) {
					return []string{frame}
				}
				return nil
			}},
		{what: "an error is followed by complete", seen: []string{"protocol: a request that cannot run is one error with a list, and no complete"},
			down: func(_ *wire, frame string) []string {
				if strings.Contains(frame, `"type":"error"`) {
					return []string{frame, `{"id":"x","type":"complete"}`}
				}
				return []string{frame}
			}},
		{what: "a stop is not confirmed", seen: []string{"legacy: a stop is confirmed with complete, and nothing comes after it"}, down: frames(`"type":"complete"`, `"type":"stopped"`)},
		{what: "an event is told twice", seen: []string{"sync: events with a cursor bring what was missed, then what comes, each once"},
			down: func(_ *wire, frame string) []string {
				if strings.Contains(frame, "MessageCreated") {
					return []string{frame, frame}
				}
				return []string{frame}
			}},
		{what: "a message is lost", seen: []string{"sync: a cursor brings what came after it, and nothing else", "sync: hasMore tells that more is there, and pages lose and double nothing"},
			answer: by(`"messages":\[\{.*?\}\]`, `"messages":[]`)},
		{what: "a message is sent again", seen: []string{"messages: the same key sends once, and answers the same message"}, answer: by(`"duplicate":true`, `"duplicate":false`)},
		{what: "errors do not say whether to try again", seen: []string{"http: errors carry a code and whether to try again"}, answer: by(`"retryable":false`, `"r":false`)},
		{what: "a field is missing", seen: []string{"contract: query presence"},
			ask: func(r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				set(r, bytes.ReplaceAll(body, []byte("lastSeenAt device"), []byte("lastSeen device")))
			}},
	}
}

func set(r *http.Request, body []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// meddle is the URL of somebody in between who breaks a rule.
func meddle(t *testing.T, base string, b breakage) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) {
			b.socket(w, r, strings.Replace(base, "http", "ws", 1)+r.URL.Path)
			return
		}
		if b.ask != nil {
			b.ask(r)
		}
		asked, _ := io.ReadAll(r.Body)
		set(r, asked)
		p := httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Header.Del("Accept-Encoding")
		}, ModifyResponse: func(res *http.Response) error {
			if b.header != nil {
				b.header(res.Header)
			}
			if b.answer == nil {
				return nil
			}
			text, err := io.ReadAll(res.Body)
			changed := b.answer(r, string(asked), string(text))
			res.Body, res.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
			res.Header.Del("Content-Length")
			return err
		}}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// socket hands frames on, both ways, until either side ends.
func (b breakage) socket(rw http.ResponseWriter, r *http.Request, to string) {
	offers := websocket.Subprotocols(r)
	far, res, err := (&websocket.Dialer{Subprotocols: offers}).DialContext(r.Context(), to, nil)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	_ = res.Body.Close()
	var chosen []string
	if p := far.Subprotocol(); p != "" {
		chosen = []string{p}
	}
	near, err := (&websocket.Upgrader{Subprotocols: chosen}).Upgrade(rw, r, nil)
	if err != nil {
		_ = far.Close()
		return
	}
	w := &wire{last: map[string]string{}}
	var mu sync.Mutex // of what is written to near
	far.SetPongHandler(func(string) error { return nil })
	var both sync.WaitGroup
	both.Go(func() { b.upward(w, near, far, &mu) })
	b.downward(w, near, far, &mu)
	_ = near.Close()
	_ = far.Close()
	both.Wait()
}

func (b breakage) upward(w *wire, near, far *websocket.Conn, mu *sync.Mutex) {
	for {
		kind, data, err := near.ReadMessage()
		if err != nil {
			_ = far.Close()
			return
		}
		if b.up != nil {
			for _, back := range b.up(w, string(data)) {
				mu.Lock()
				_ = near.WriteMessage(websocket.TextMessage, []byte(back))
				mu.Unlock()
			}
		}
		if far.WriteMessage(kind, data) != nil {
			_ = near.Close()
			return
		}
	}
}

func (b breakage) downward(w *wire, near, far *websocket.Conn, mu *sync.Mutex) {
	for {
		kind, data, err := far.ReadMessage()
		if end, ok := err.(*websocket.CloseError); ok && end.Code != websocket.CloseAbnormalClosure { //nolint:errorlint // gorilla's own
			code := end.Code
			if b.code != nil {
				code = b.code(code)
			}
			mu.Lock()
			_ = near.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, end.Text))
			mu.Unlock()
		}
		if err != nil {
			return
		}
		all := []string{string(data)}
		if b.down != nil {
			all = b.down(w, string(data))
		}
		var m struct{ ID, Type string }
		if json.Unmarshal(data, &m) == nil && m.Type == "next" {
			w.mu.Lock()
			w.last[m.ID] = string(data)
			w.mu.Unlock()
		}
		for _, frame := range all {
			mu.Lock()
			_ = near.WriteMessage(kind, []byte(frame))
			mu.Unlock()
		}
	}
}
