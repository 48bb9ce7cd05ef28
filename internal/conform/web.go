package conform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// send is a request of a check's own making.
func send(c *C, method, at string, header http.Header, body string) reply {
	r, err := c.e.send(c.ctx, method, at, header, []byte(body))
	if err != nil {
		c.failf("%v", err)
	}
	return r
}

func body(query string) string {
	b, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

const whoami = `{ myPresence { userId } }`

// web are the rules over HTTP.
func web() []check {
	return []check{
		{"http: realtimeConfig tells the time in UTC, and limits", func(c *C) {
			v := c.ask(c.bob, `{ realtimeConfig { serverTime maxIds maxRooms maxBatch maxFrameBytes maxBodyBytes maxContentLength initTimeoutMs } }`).at("realtimeConfig")
			at := v.at("serverTime").String()
			c.that(strings.HasSuffix(at, "Z") || strings.HasSuffix(at, "+00:00"), "serverTime is %s", at)
			for _, limit := range []string{"maxIds", "maxRooms", "maxBatch", "maxFrameBytes", "maxBodyBytes", "maxContentLength", "initTimeoutMs"} {
				c.that(v.at(limit).num() > 0, "%s is %s", limit, v.at(limit))
			}
		}},
		{"http: a query may come by GET", func(c *C) {
			r := send(c, http.MethodGet, c.e.url+"?query="+url.QueryEscape(whoami), c.bob.bearer(), "")
			c.same("answer", r.data.at("myPresence.userId"), bobID)
		}},
		{"http: a mutation by GET is refused, and does nothing", func(c *C) {
			c.cleanup(func(c *C) { c.ask(c.bob, `mutation { clearCustomStatus { id } }`) })
			r := send(c, http.MethodGet, c.e.url+"?query="+url.QueryEscape(`mutation { setCustomStatus(input: { text: "by GET" }) { id } }`), c.bob.bearer(), "")
			c.that(r.status >= 400 && r.status < 500 || len(r.errors) > 0, "%d %s", r.status, brief(r.body))
			c.that(c.ask(c.bob, `{ myPresence { customStatus { text } } }`).at("myPresence.customStatus").null(), "it was done")
		}},
		{"http: a subscription as a plain request is refused", func(c *C) {
			r := send(c, http.MethodPost, c.e.url, c.bob.bearer(), body(forever))
			c.that(len(r.errors) > 0 && r.data.null(), "%d %s", r.status, brief(r.body))
		}},
		{"http: a subscription comes as server-sent events", events},
		{"http: a body over maxBodyBytes is refused", func(c *C) {
			most := c.e.config.at("maxBodyBytes").num()
			if most > 8<<20 {
				skip("maxBodyBytes is %d", most)
			}
			r, err := c.e.send(c.ctx, http.MethodPost, c.e.url, c.bob.bearer(), []byte(body(whoami+strings.Repeat(" ", most))))
			c.that(err != nil || r.status >= 400 || len(r.errors) > 0, "%d %s", r.status, brief(r.body))
		}},
		{"http: a body that is no JSON is refused and not repeated", func(c *C) {
			r := send(c, http.MethodPost, c.e.url, c.bob.bearer(), `{"query": "a-secret-of-mine`)
			c.that(r.status >= 400 || len(r.errors) > 0, "%d %s", r.status, brief(r.body))
			c.that(!strings.Contains(r.body, "a-secret-of-mine"), "%s", brief(r.body))
		}},
		{"http: errors carry a code and whether to try again", func(c *C) {
			for query, code := range map[string]string{
				`{`: "validation-failed", `{ noSuchField }`: "validation-failed", `{ presence(userId: "x") { id } }`: "validation-failed",
				fmt.Sprintf(`mutation { deleteMessage(messageId: %q) { id } }`, noMessage): "access-denied",
			} {
				r := c.post(c.bob, query, nil)
				c.same(query, r.code(), code)
				c.that(r.errors[0].Extensions["retryable"] == false, "%s: %v", query, r.errors[0].Extensions)
			}
		}},
		{"http: a bad token is refused with a code, and nothing is answered", func(c *C) {
			for _, token := range []string{"a.bad.token", tampered(c.bob.token)} {
				r := send(c, http.MethodPost, c.e.url, http.Header{"Authorization": {"Bearer " + token}}, body(whoami))
				c.same("code", r.code(), "invalid-jwt")
				c.that(r.data.null(), "%s", r.body)
			}
		}},
	}
}

// strangers are the rows on whoever asks without a right to.
func strangers() []check {
	return []check{
		{"leak E45: answers are private, not stored, and vary by who asks", func(c *C) {
			for _, r := range []reply{
				send(c, http.MethodPost, c.e.url, c.bob.bearer(), body(whoami)),
				send(c, http.MethodGet, c.e.url+"?query="+url.QueryEscape(whoami), c.bob.bearer(), ""),
				send(c, http.MethodPost, c.e.url, c.bob.bearer(), body(`{ noSuchField }`)),
			} {
				cache, vary := strings.Join(r.header.Values("Cache-Control"), ","), strings.Join(r.header.Values("Vary"), ",")
				c.that(strings.Contains(cache, "no-store") && strings.Contains(cache, "private"), "Cache-Control: %q", cache)
				c.that(strings.Contains(strings.ToLower(vary), "authorization") || vary == "*", "Vary: %q", vary)
			}
		}},
		{"leak E40: a session's headers beside a token do not make it another's", func(c *C) {
			h := c.bob.bearer()
			h.Set("X-Hasura-User-Id", aliceID)
			h.Set("X-Hasura-Role", "user")
			r := send(c, http.MethodPost, c.e.url, h, body(whoami))
			c.that(!strings.Contains(r.body, aliceID), "%s", r.body)
		}},
		{"leak E40: a session's headers without a token count for nothing", func(c *C) {
			for _, more := range []http.Header{{}, {"X-Hasura-Admin-Secret": {"guess"}}, {"X-Nchat-Secret": {"guess"}}} {
				more.Set("X-Hasura-User-Id", aliceID)
				more.Set("X-Hasura-Role", "user")
				r := send(c, http.MethodPost, c.e.url, more, body(whoami))
				c.that(len(r.errors) > 0 && !strings.Contains(r.body, aliceID), "%s", r.body)
			}
		}},
		{"leak: nobody is answered nothing of anybody", nobody},
		{"leak E41: errors suggest no names", func(c *C) {
			for _, query := range []string{`{ presense(userId: "x") { id } }`, `{ presenceVisibility(userId: "x") { isInvisble } }`, `{ myPresence { statsu } }`} {
				r := c.post(c.bob, query, nil)
				c.that(len(r.errors) > 0 && !strings.Contains(strings.ToLower(r.body), "did you mean") && !strings.Contains(r.body, "isInvisible"), "%s", r.body)
			}
		}},
		{"leak E37: answers carry no extensions", func(c *C) {
			r := send(c, http.MethodPost, c.e.url, c.bob.bearer(), body(fmt.Sprintf(`{ presence(userId: %q) { id } }`, aliceID)))
			c.that(!strings.Contains(r.body, `"extensions"`), "%s", r.body)
		}},
	}
}

// nobody is whoever has no token.
func nobody(c *C) {
	for _, query := range []string{
		fmt.Sprintf(`{ presence(userId: %q) { status } }`, aliceID), fmt.Sprintf(`{ channelPresence(channelId: %q) { totalCount } }`, general),
		fmt.Sprintf(`{ messages(channelId: %q) { messages { id } } }`, general), fmt.Sprintf(`{ message(id: %q) { content } }`, inGeneral),
		whoami, `{ mySessions { id } }`, `{ sync { cursor } }`, `mutation { stopAllTyping }`, `{ contacts { totalCount } }`,
	} {
		r := c.post(nil, query, nil)
		c.that(len(r.errors) > 0, "%s: %s", query, brief(r.body))
		for _, of := range []string{aliceID, "online", "Welcome", "cursor\":"} {
			c.that(!strings.Contains(r.body, of), "%s: %s", query, brief(r.body))
		}
	}
}

// events reads the first event of a stream over HTTP.
func events(c *C) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.e.url, bytes.NewReader([]byte(body(forever))))
	if err != nil {
		c.failf("%v", err)
	}
	req.Header = c.bob.bearer()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Client{}).Do(req)
	if err != nil {
		c.failf("%v", err)
	}
	defer func() { _ = res.Body.Close() }()
	c.that(strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream"), "%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	kind := ""
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if k, ok := strings.CutPrefix(lines.Text(), "event:"); ok {
			kind = strings.TrimSpace(k)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
			c.same("event", kind, "next")
			v, err := parse([]byte(strings.TrimSpace(data)))
			c.that(err == nil, "%v", err)
			c.same("settings of", v.at("data.presenceSettingsChanged.id"), bobID)
			return
		}
	}
	c.failf("the stream ended without an event")
}
