package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is normalised in a trace, and why none of it hides anything:
//
//   - Ids are told by what they are ("user 3"): worlds have users, channels and messages of
//     their own. Users' ids have the same order everywhere, so that what is ordered by them
//     is ordered alike; an id that is nobody's here stays one ("some id").
//   - An instant is told as one ("a time"): when something happened differs between any two
//     runs. Whether there is one is compared; that it does not move is compared by
//     presence.TestTheLawOverAMillionWorlds, with a clock that is held.
//   - Of a sealed cursor its length is compared, for it is sealed with random bytes. One of a
//     list of presences is opened, and what is in it compared.
//   - Of the friend's and the viewer's own presence the last of each step is compared: two
//     changes in a moment are told as one or as two, by when they are read. Both are public, and
//     a frame with anybody else in it, or with nobody, is compared as it is, in its place.
//   - A message's number is told from the last one before the schedule: how many it takes until all
//     streams stand differs.
//   - Events are compared by their source (messages, deliveries, presence, typing), each in its order:
//     the sources are not ordered among each other.
//   - How much the viewer has to read is told at most once a second, so that its frames differ with the
//     machine's pace: those of the one channel it reads and of its thread, where much is public, are left out,
//     and any other is compared. The numbers are compared as they are asked for.
//   - What was pushed between two moments in which push rested is compared in the order of its messages, for calls
//     may overtake one another. The badge is what there is to read when a call is made, and how much of a step has come by
//     then differs with the machine's pace: that of the newest message is compared, which comes after the others, and
//     counts what they do.
//   - Of typing, frames of the friend alone are left out, and those of nobody after them: it types at the
//     end, as often as it takes until every stream told it, and stops by itself. Any other frame is compared,
//     and any at all before it.

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)
)

func (w *world) called(id string) string {
	if name, ok := w.names[id]; ok {
		return name
	}
	return "some id"
}

// clean is a value with what differs between any two runs taken out.
func (w *world) clean(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = w.clean(k, v[k])
		}
	case []any:
		for i := range v {
			v[i] = w.clean(key, v[i])
		}
	case string:
		if strings.HasSuffix(strings.ToLower(key), "cursor") {
			return w.cursor(v)
		}
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && strings.HasSuffix(strings.ToLower(key), "seq") {
			return n - w.base
		}
		if instant.MatchString(v) {
			return "a time"
		}
		return anyID.ReplaceAllStringFunc(v, w.called)
	}
	return v
}

func (w *world) cursor(c string) string {
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil && len(b) == 17 { // rank and id
		return fmt.Sprintf("after %s of rank %d", w.called(fmt.Sprintf("%x-%x-%x-%x-%x", b[1:5], b[5:7], b[7:9], b[9:11], b[11:])), b[0])
	}
	return fmt.Sprintf("a cursor of %d bytes", len(c))
}

// valid fails where an operation is none: one that the server does not run leaks
// nothing, and shows nothing.
func (w *world) valid(r result) {
	w.t.Helper()
	for _, e := range r.Errors {
		if e.Extensions["code"] == "validation-failed" {
			w.t.Fatal(r)
		}
	}
}

func (w *world) cleaned(r result) map[string]any {
	w.t.Helper()
	w.valid(r)
	var m map[string]any
	if err := json.Unmarshal([]byte(r.String()), &m); err != nil {
		w.t.Fatal(err)
	}
	return w.clean("", m).(map[string]any) //nolint:forcetypeassert // a map is cleaned to a map
}

func asText(v any) string { b, _ := json.Marshal(v); return string(b) } //nolint:errchkjson // of what was JSON

func public(user any) bool { return user == "user 0" || user == "user 1" }

// trace takes in frames of one stream, as they came.
type trace struct {
	lines []string
	last  map[string]string // of what is public, by what it is about
	typed bool              // the friend was told to type
}

func (tr *trace) frame(name string, v map[string]any) {
	data := at(v, "data")
	if data == nil {
		tr.lines = append(tr.lines, asText(v))
		return
	}
	switch name {
	case "presence":
		tr.presence("", at(data, "presenceChanged"))
	case "window":
		tr.window(at(data, "presenceWindow"))
	case "typing":
		tr.typing(at(data, "typingChanged"))
	case "read":
		tr.read(at(data, "readStateChanged", "channelId"))
	case "threads":
		tr.read(at(data, "threadReadStateChanged", "channelId"))
	case "events":
		tr.event(at(data, "events"))
	default:
		tr.lines = append(tr.lines, asText(data))
	}
}

func (tr *trace) presence(of string, p any) {
	if u := at(p, "userId"); public(u) {
		tr.last[of+"presence of "+asText(u)] = asText(p)
		return
	}
	tr.lines = append(tr.lines, of+"presence: "+asText(p))
}

func (tr *trace) window(batch any) {
	list, _ := at(batch, "presences").([]any)
	for _, p := range list {
		if !public(at(p, "userId")) {
			list = nil
		}
	}
	if len(list) == 0 {
		tr.lines = append(tr.lines, asText(batch))
		return
	}
	for _, p := range list {
		tr.presence("", p)
	}
	if c := at(batch, "counts"); c != nil {
		tr.last["counts"] = asText(c)
	}
}

func (tr *trace) typing(rooms any) {
	list, _ := rooms.([]any)
	if len(list) == 0 {
		tr.lines = append(tr.lines, "typing: of no room")
	}
	for _, room := range list {
		users, _ := at(room, "users").([]any)
		if len(users) == 1 && at(users[0], "userId") == "user 1" && at(room, "totalCount") == 1.0 && at(room, "text") == "friend is typing..." {
			tr.typed = true
			continue
		}
		if tr.typed && len(users) == 0 && at(room, "totalCount") == 0.0 && at(room, "text") == nil {
			continue
		}
		tr.lines = append(tr.lines, "typing: "+asText(room))
	}
}

func (tr *trace) read(channel any) {
	if channel != "channel 0" {
		tr.lines = append(tr.lines, "read: "+asText(channel))
	}
}

func (tr *trace) event(e any) {
	payload := at(e, "payload")
	switch kind := at(payload, "__typename"); kind {
	case "PresenceChanged":
		tr.presence("event: ", at(payload, "presence"))
	case "TypingChanged":
		tr.typing(at(payload, "rooms"))
	case "ReadStateChanged":
		tr.read(at(payload, "readState", "channelId"))
	case "ThreadReadStateChanged":
		tr.read(at(payload, "threadReadState", "channelId"))
	default:
		tr.lines = append(tr.lines, "event: "+asText(e))
	}
}

// source is what a line of the trace came from.
func source(line string) int {
	for i, s := range []string{"event: presence", "typing", `"__typename":"DeliveryChanged"`, `"__typename":"Message`} {
		if strings.Contains(line, s) {
			return i + 1
		}
	}
	return 0
}

// write ends a step: what came in it is put into the trace.
func (w *world) write(step string) {
	for i, s := range streams {
		w.drain(s.name)
		tr := trace{last: map[string]string{}}
		for _, r := range w.held[i] {
			tr.frame(s.name, w.cleaned(r))
		}
		w.held[i] = nil
		slices.SortStableFunc(tr.lines, func(a, b string) int { return source(a) - source(b) })
		for _, l := range tr.lines {
			w.tell(step, s.name, l)
		}
		for _, k := range slices.Sorted(maps.Keys(tr.last)) {
			w.tell(step, s.name, k+" "+tr.last[k])
		}
	}
}

func (w *world) tell(where ...string) { w.told = append(w.told, strings.Join(where, ": ")) }

func streamAt(name string) int {
	for i, s := range streams {
		if s.name == name {
			return i
		}
	}
	panic("no stream " + name)
}

// await reads a stream until each of the marks has been in one of its frames since the
// trace was last written.
func (w *world) await(name string, marks ...string) {
	w.t.Helper()
	i := streamAt(name)
	looked := 0 // at so many of what is held
	for {
		for _, r := range w.held[i][looked:] {
			text := r.String()
			marks = slices.DeleteFunc(marks, func(mark string) bool { return strings.Contains(text, mark) })
		}
		if looked = len(w.held[i]); len(marks) == 0 {
			return
		}
		select {
		case r, ok := <-w.subs[i]:
			if !ok {
				w.t.Fatal(name, "ended")
			}
			w.held[i] = append(w.held[i], r)
		case <-time.After(patient):
			w.t.Fatalf("%s: %q never came, but %v", name, marks, w.held[i])
		}
	}
}

// drain takes what has come on a stream.
func (w *world) drain(name string) {
	i := streamAt(name)
	for {
		select {
		case r := <-w.subs[i]:
			w.held[i] = append(w.held[i], r)
		default:
			return
		}
	}
}
