package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/google/uuid"
)

// actsAtOnce is how many of a world's hidden do something at the same time.
const actsAtOnce = 8

// pooled keeps its connections: there are many callers, and one address.
var pooled = &http.Client{Transport: &http.Transport{MaxIdleConns: 200, MaxIdleConnsPerHost: 200}}

// group is five who are hidden, each for its reason, and their schedule, which is
// played beside those of the world's other groups.
type group struct {
	first int        // its users' first number
	next  *rand.Rand // nil: nothing hidden happens
	open  []*sock
}

// deed is what one of the hidden does in a step: fields of one mutation.
type deed struct {
	user   int
	fields []string
	key    int // of what it sends
	answer result
	err    error
}

// inHiding is one step of the world's hidden schedules: of each group one to three
// do one to three things each.
func (w *world) inHiding() {
	w.t.Helper()
	var deeds []*deed
	for _, g := range w.groups {
		if g.next == nil {
			continue
		}
		for _, i := range g.next.Perm(len(reasons))[:1+g.next.IntN(3)] {
			if d := w.deed(g, i); len(d.fields) > 0 {
				deeds = append(deeds, d)
			}
		}
	}
	w.all(deeds)
	for _, d := range deeds {
		w.valid(d.answer)
		w.secret(d.answer)
	}
}

func (w *world) deed(g *group, i int) *deed {
	w.t.Helper()
	w.keys++
	d := &deed{user: g.first + i, key: w.keys}
	for range 1 + g.next.IntN(3) {
		act := reasons[i].acts[g.next.IntN(len(reasons[i].acts))]
		switch {
		case act != "socket":
			d.fields = append(d.fields, act)
		case len(g.open) > 0 && g.next.IntN(2) == 0:
			_ = g.open[0].ws.Close()
			g.open = g.open[1:]
		default:
			g.open = append(g.open, w.nodeOf(d.user).dial(w.token(d.user)))
		}
		w.done = append(w.done, fmt.Sprintf("user %d, who %s: %s", d.user, reasons[i].name, act))
	}
	return d
}

// all does deeds, some at a time.
func (w *world) all(deeds []*deed) {
	w.t.Helper()
	var wg sync.WaitGroup
	todo := make(chan *deed, len(deeds))
	for _, d := range deeds {
		w.token(d.user)
		todo <- d
	}
	close(todo)
	for range min(actsAtOnce, len(deeds)) {
		wg.Go(func() {
			for d := range todo {
				text := mutation(d.fields...)
				d.answer, d.err = w.send(d.user, text, w.given(text, map[string]any{"key": fmt.Sprint("h", d.key)}))
			}
		})
	}
	wg.Wait()
	for _, d := range deeds {
		if d.err != nil {
			w.t.Fatal(d.err)
		}
	}
}

// secret remembers a message that was sent where the viewer cannot read: $hm.
func (w *world) secret(r result) {
	var d map[string]json.RawMessage
	if json.Unmarshal(r.Data, &d) != nil {
		return
	}
	for _, v := range d {
		var sent struct{ Message struct{ ID uuid.UUID } }
		if json.Unmarshal(v, &sent) == nil && sent.Message.ID != uuid.Nil {
			w.vars["hm"] = sent.Message.ID
		}
	}
}

// nodeOf is the node a user is on: every other group is on another than the viewer.
func (w *world) nodeOf(user int) *node { return w.nodes[(user-firstHidden)/len(reasons)%len(w.nodes)] }

// token is a user's, the same for all that it does.
func (w *world) token(user int) string {
	w.t.Helper()
	if w.tokens[user] == "" {
		w.tokens[user] = token(w.t, w.user(user))
	}
	return w.tokens[user]
}

// send runs an operation over HTTP, as one of the world's users whose token there is.
func (w *world) send(user int, query string, variables map[string]any) (r result, err error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return r, err
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.nodeOf(user).base+"/graphql", bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.Header = bearer(w.tokens[user])
	req.Header.Set("Content-Type", "application/json")
	res, err := pooled.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	return r, err
}
