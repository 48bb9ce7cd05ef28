package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/demo"
	"github.com/nself-org/nchat-realtime/internal/fault"
)

const upperID = "ABCDEF00-0000-4000-8000-000000000002"

func written(content, metadata string) Input {
	return Input{ClientMessageID: "k", Channel: demo.Team, Content: &content, Metadata: json.RawMessage(metadata)}
}

// TestDigest holds what the digest is taken over: whoever writes it in another
// language, as that language writes JSON, must get one of ours.
func TestDigest(t *testing.T) {
	t.Parallel()
	const head = `[{"clientMessageId":"k","channelId":"00000000-0000-4000-9000-000000000002","threadId":null,"parentMessageId":null,"content":`
	thread := uuid.MustParse(upperID)
	swift := written("x", "")
	swift.Thread, swift.Mentions = &thread, []uuid.UUID{thread, thread}
	swift.Spelling = Spelling{Thread: upperID, Mentions: []string{upperID, "abcdef00-0000-4000-8000-000000000002"}}
	for name, c := range map[string]struct {
		in   Input
		text string // what the client hashes
		no   bool
	}{
		"the canon":             {in: written(`a <b> "c" é`, `{"b": 1.50, "a": {"d": null, "c": []}}`), text: head + `"a <b> \"c\" é","type":"text","metadata":{"a":{"c":[],"d":null},"b":1.50},"mentions":[]}]`},
		"line separators":       {in: written("one\u2028two\u2029\x7f", `{"\u2028":"\u2029"}`), text: head + "\"one\u2028two\u2029\x7f\",\"type\":\"text\",\"metadata\":{\"\u2028\":\"\u2029\"},\"mentions\":[]}]"},
		"controls":              {in: written("\b\t\n\f\r\x01\x1f\\", ""), text: head + `"\b\t\n\f\r\u0001\u001f\\","type":"text","metadata":null,"mentions":[]}]`},
		"decomposed":            {in: written("e\u0301", ""), text: head + "\"e\u0301\",\"type\":\"text\",\"metadata\":null,\"mentions\":[]}]"},
		"composed, sent apart":  {in: written("e\u0301", ""), text: head + "\"\u00e9\",\"type\":\"text\",\"metadata\":null,\"mentions\":[]}]", no: true},
		"keys by UTF-16":        {in: written("x", `{"～":1,"😀":0}`), text: head + `"x","type":"text","metadata":{"😀":0,"～":1},"mentions":[]}]`},
		"keys by code points":   {in: written("x", `{"😀":0,"～":1}`), text: head + `"x","type":"text","metadata":{"～":1,"😀":0},"mentions":[]}]`},
		"numbers as JavaScript": {in: written("x", `{"a":1.0,"b":1e0,"c":-0,"d":1e21,"e":1e-7,"f":0.1}`), text: head + `"x","type":"text","metadata":{"a":1,"b":1,"c":0,"d":1e+21,"e":1e-7,"f":0.1},"mentions":[]}]`},
		"numbers as written":    {in: written("x", `{"a":1.0,"b":1E5}`), text: head + `"x","type":"text","metadata":{"a":1.0,"b":1E5},"mentions":[]}]`},
		"an object's indices": {in: written("x", `{"a":0,"10":1,"9":2,"09":3,"b":{"2":0,"10":0,"1":0,"":0},"4294967294":4,"4294967295":5,"-1":6}`),
			text: head + `"x","type":"text","metadata":{"9":2,"10":1,"4294967294":4,"-1":6,"09":3,"4294967295":5,"a":0,"b":{"1":0,"2":0,"10":0,"":0}},"mentions":[]}]`},
		"and numbers":    {in: written("x", `{"10":1.0,"9":1}`), text: head + `"x","type":"text","metadata":{"9":1,"10":1},"mentions":[]}]`},
		"by code points": {in: written("x", `{"10":1,"9":2}`), text: head + `"x","type":"text","metadata":{"10":1,"9":2},"mentions":[]}]`},
		"of Foundation": {in: written("x", `{"item10":1,"item2":2,"B":3,"a":4,"A":5,"_":6,"item2b":7,"item02":8,"é":9,"x/y":"1/2"}`),
			text: head + `"x","type":"text","metadata":{"_":6,"A":5,"a":4,"B":3,"item02":8,"item2":2,"item2b":7,"item10":1,"x\/y":"1\/2","é":9},"mentions":[]}]`},
		"in no order":                     {in: written("x", `{"a":1,"b":2,"c":3}`), text: head + `"x","type":"text","metadata":{"a":1,"c":3,"b":2},"mentions":[]}]`, no: true},
		"half an emoji":                   {in: written("cut \ufffd", `{"a":"\ufffd"}`), text: head + `"cut \ud83d","type":"text","metadata":{"a":"\ud83d"},"mentions":[]}]`},
		"what arrives of it":              {in: written("cut \ufffd", ``), text: head + "\"cut \ufffd\",\"type\":\"text\",\"metadata\":null,\"mentions\":[]}]"},
		"an emoji for half of one":        {in: written("cut \ufffd", ``), text: head + `"cut 🎉","type":"text","metadata":null,"mentions":[]}]`, no: true},
		"another text with half an emoji": {in: written("cut \ufffd", ``), text: head + `"cat \ud83d","type":"text","metadata":null,"mentions":[]}]`, no: true},
		"its escape, written out":         {in: written("cut \ufffd", ``), text: head + `"cut \\ud83d","type":"text","metadata":null,"mentions":[]}]`, no: true},
		"slashes escaped":                 {in: written("a/b", `{"u":"https://x"}`), text: head + `"a\/b","type":"text","metadata":{"u":"https:\/\/x"},"mentions":[]}]`},
		"empty metadata":                  {in: written("x", `{}`), text: head + `"x","type":"text","metadata":{},"mentions":[]}]`},
		"ids as they were sent":           {in: swift, text: `[{"clientMessageId":"k","channelId":"` + demo.Team.String() + `","threadId":"` + upperID + `","parentMessageId":null,"content":"x","type":"text","metadata":null,"mentions":["` + upperID + `","` + thread.String() + `"]}]`},
		"ids in lower case":               {in: swift, text: `[{"clientMessageId":"k","channelId":"` + demo.Team.String() + `","threadId":"` + thread.String() + `","parentMessageId":null,"content":"x","type":"text","metadata":null,"mentions":["` + thread.String() + `","` + thread.String() + `"]}]`},
		"another text":                    {in: written("x", ""), text: head + `"y","type":"text","metadata":null,"mentions":[]}]`, no: true},
		"a number that is other":          {in: written("x", `{"a":1}`), text: head + `"x","type":"text","metadata":{"a":2},"mentions":[]}]`, no: true},
	} {
		sum := sha256.Sum256([]byte(c.text))
		if got, ok := agree([]Input{c.in}, hex.EncodeToString(sum[:])); ok == c.no || ok && got != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: agreed %v\nof %s\nours is %s", name, ok, c.text, forms()[0].message(nil, c.in))
		}
	}
}

// TestEveryFormSaysTheSame: what is hashed in any form is JSON that says what was
// sent, and nothing else: a form more lets no other message pass.
func TestEveryFormSaysTheSame(t *testing.T) {
	t.Parallel()
	in := written("a/b <🎉>", `{"10":{"B":1,"a":2,"item10":[3,null,"x/y"],"item2":4},"9":5,"～":6,"😀":7,"":8}`)
	thread := uuid.MustParse(upperID)
	in.Thread, in.Spelling.Thread = &thread, upperID
	decoded := func(text []byte) (v any) {
		if err := json.Unmarshal(bytes.ReplaceAll(text, []byte(upperID), []byte(thread.String())), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return v
	}
	want, ways := decoded(forms()[0].batch([]Input{in})), map[string]bool{}
	for _, f := range forms() {
		text := f.batch([]Input{in})
		if ways[string(text)] = true; !reflect.DeepEqual(decoded(text), want) {
			t.Errorf("%s", text)
		}
	}
	if len(ways) != 12 { // numbers as JavaScript writes them are the same here
		t.Errorf("%d ways to write it", len(ways))
	}
}

// TestTheSameUnderOneKey: what a library may write in two ways when it sends
// again is the same message; what says something else is not.
func TestTheSameUnderOneKey(t *testing.T) {
	t.Parallel()
	none := written("x", "")
	none.Mentions = []uuid.UUID{}
	upper := written("x", "")
	upper.Spelling.Channel = upperID
	for name, c := range map[string]struct {
		a, b Input
		same bool
	}{
		"key order":              {written("x", `{"a":1,"b":{"c":2,"d":3}}`), written("x", `{ "b":{"d":3,"c":2}, "a":1 }`), true},
		"metadata null, absent":  {written("x", `null`), written("x", ``), true},
		"metadata empty, absent": {written("x", ` { } `), written("x", ``), true},
		"mentions empty, absent": {none, written("x", ``), true},
		"ids in upper case":      {upper, written("x", ``), true},
		"1, 1.0":                 {written("x", `{"n":1}`), written("x", `{"n":1.0}`), true},
		"1, 1e0":                 {written("x", `{"n":1}`), written("x", `{"n":1E+0}`), true},
		"100, 1e2":               {written("x", `{"n":100}`), written("x", `{"n":1e2}`), true},
		"0.015, 1.5e-2":          {written("x", `{"n":0.015}`), written("x", `{"n":1.50e-2}`), true},
		"-0, 0":                  {written("x", `{"n":-0.0}`), written("x", `{"n":0}`), true},
		"escapes":                {written("x", `{"\u00e9":"\/\u2028"}`), written("x", "{\"é\":\"/\u2028\"}"), true},
		"1, 10":                  {written("x", `{"n":1}`), written("x", `{"n":10}`), false},
		"1, -1":                  {written("x", `{"n":1}`), written("x", `{"n":-1}`), false},
		"past a double":          {written("x", `{"n":9007199254740993}`), written("x", `{"n":9007199254740992}`), false},
		"1, text":                {written("x", `{"n":1}`), written("x", `{"n":"1"}`), false},
		"a list's order":         {written("x", `{"n":[1,2]}`), written("x", `{"n":[2,1]}`), false},
		"null within, absent":    {written("x", `{"n":null}`), written("x", `{}`), false},
		"composed, decomposed":   {written("\u00e9", ``), written("e\u0301", ``), false},
		"letters":                {written("x", ``), written("X", ``), false},
	} {
		if same := bytes.Equal(c.a.digest(), c.b.digest()); same != c.same {
			t.Errorf("%s: same %v", name, same)
		}
	}
	r := newRig(t)
	for i, meta := range []string{``, `null`, `{}`} {
		if res := r.send(r.one, as(demo.Bob), written("x", meta)); res.Err != nil || res.Duplicate != (i > 0) {
			t.Errorf("%q: %+v", meta, res)
		}
	}
	if res := r.send(r.one, as(demo.Bob), written("x", `{"n":1}`)); code(res.Err) != fault.Conflict {
		t.Errorf("other metadata: %v", res.Err)
	}
}
