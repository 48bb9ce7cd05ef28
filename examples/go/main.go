// Command go follows nchat-realtime from Go, with the standard library alone: what is
// written in the caller's channels and how Alice is, over server-sent events, going on
// from its cursor after whatever ends them. TOKEN is in the environment; words to say
// may follow: go run . Hello
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

const (
	alice   = "00000000-0000-4000-8000-000000000001"
	general = "00000000-0000-4000-9000-000000000001"

	events = `subscription ($cursor: String, $of: [uuid!]) {
  events(cursor: $cursor, kinds: [messages, presence], presenceOf: $of) {
    cursor
    payload {
      __typename
      ... on MessageCreated { message { content } }
      ... on PresenceChanged { presence { status } }
    }
  }
}`
	send = `mutation ($input: SendMessageInput!) { sendMessage(input: $input) { status error { code message } } }`
)

type answer struct {
	Data struct {
		Events struct {
			Cursor  string
			Payload struct {
				Typename string `json:"__typename"`
				Message  struct{ Content string }
				Presence struct{ Status string }
			}
		}
		SendMessage struct{ Status string }
	}
	Errors []struct{ Message string }
}

type client struct{ url, token string }

// post sends an operation; accept says how the answer is to come.
func (c client) post(ctx context.Context, accept, query string, variables map[string]any) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, fmt.Errorf("writing the operation: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	return res, nil
}

// follow calls fn for each event after the cursor until the stream ends, and says why it did.
func (c client) follow(ctx context.Context, cursor *string, fn func(answer)) error {
	res, err := c.post(ctx, "text/event-stream", events, map[string]any{"cursor": cursor, "of": []string{alice}})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 8<<20) // maxEventBytes, and the envelope
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok || strings.TrimSpace(data) == "" {
			continue // the event's name, or a sign of life
		}
		var a answer
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if len(a.Errors) > 0 {
			return errors.New(a.Errors[0].Message)
		}
		fn(a)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return errors.New("the stream ended")
}

// say sends a message. Keep its key when you try again: it is sent once.
func (c client) say(ctx context.Context, text string) error {
	key := fmt.Sprintf("go-%d-%d", time.Now().UnixNano(), os.Getpid())
	res, err := c.post(ctx, "application/json", send, map[string]any{"input": map[string]any{"channelId": general, "clientMessageId": key, "content": text}})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Println("said", a.Data.SendMessage.Status)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := client{url: cmp.Or(os.Getenv("URL"), "http://127.0.0.1:3101/v1/graphql"), token: os.Getenv("TOKEN")}
	words := strings.Join(os.Args[1:], " ")
	var cursor *string
	for ctx.Err() == nil {
		err := c.follow(ctx, cursor, func(a answer) {
			e := a.Data.Events
			switch e.Payload.Typename {
			case "StreamReset":
				if cursor == nil && words != "" { // the stream begins: what is said from now on is heard
					if err := c.say(ctx, words); err != nil {
						fmt.Fprintln(os.Stderr, err)
					}
				}
			case "PresenceChanged":
				fmt.Println("presence", e.Payload.Presence.Status)
			case "MessageCreated":
				fmt.Println("message", e.Payload.Message.Content)
			}
			cursor = &e.Cursor // once it was done
		})
		fmt.Fprintln(os.Stderr, err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}
