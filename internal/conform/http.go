package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// user is one of the three who take part.
type user struct {
	name, id, token string
	live            *socket // makes it online for as long as the suite runs
}

func (u *user) bearer() http.Header { return http.Header{"Authorization": {"Bearer " + u.token}} }

// problem is an error of an answer.
type problem struct {
	Message    string
	Path       []any
	Extensions map[string]any
}

func (p problem) code() string { s, _ := p.Extensions["code"].(string); return s }

// same is what a caller can tell one error from another by, but for where it was.
func (p problem) same() string {
	b, err := json.Marshal([]any{p.Message, p.Extensions})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// reply is an answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
	data   value
	errors []problem
}

func (r reply) code() string {
	if len(r.errors) == 0 {
		return ""
	}
	return r.errors[0].code()
}

// readsAtMost bounds an answer.
const readsAtMost = 32 << 20

func (e *env) send(ctx context.Context, method, url string, header http.Header, body []byte) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("making a request: %w", err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("Content-Type") == "" && method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := e.http.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("asking: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, readsAtMost))
	if err != nil {
		return reply{}, fmt.Errorf("reading an answer: %w", err)
	}
	r := reply{status: res.StatusCode, header: res.Header, body: string(text)}
	var parts struct {
		Data   json.RawMessage
		Errors []problem
	}
	if json.Unmarshal(text, &parts) == nil {
		r.errors = parts.Errors
		if len(parts.Data) > 0 {
			r.data, err = parse(parts.Data)
		}
	}
	return r, err
}

// post asks as a user; nil: as nobody. Told to wait, it waits.
func (c *C) post(u *user, query string, variables map[string]any) reply {
	var header http.Header
	if u != nil {
		header = u.bearer()
	}
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		c.failf("encoding: %v", err)
	}
	for {
		r, err := c.e.send(c.ctx, http.MethodPost, c.e.url, header, body)
		if err != nil {
			c.failf("%v", err)
		}
		after := 0.0
		if r.code() == "rate-limited" {
			after, _ = r.errors[0].Extensions["retryAfterMs"].(float64)
		}
		if after <= 0 {
			return r
		}
		c.pause(time.Duration(after)*time.Millisecond, "the rate limit")
	}
}

// ask is what an operation answers; an error fails the check.
func (c *C) ask(u *user, format string, args ...any) value {
	query := fmt.Sprintf(format, args...)
	r := c.post(u, query, nil)
	if r.status != http.StatusOK || len(r.errors) > 0 || r.data.null() {
		c.failf("%s as %s: %d %s", query, u.name, r.status, brief(r.body))
	}
	return r.data
}

// refused is the error of an operation that must end with this code.
func (c *C) refused(u *user, code, format string, args ...any) problem {
	query := fmt.Sprintf(format, args...)
	r := c.post(u, query, nil)
	if r.code() != code {
		c.failf("%s: want %s, got %d %s", brief(query), code, r.status, brief(r.body))
	}
	return r.errors[0]
}

// brief shortens a text for a diagnostic.
func brief(s string) string {
	const most = 600
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
