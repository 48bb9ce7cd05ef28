package message

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Spelling is how a client wrote the ids of a message: Swift writes them in
// upper case. An empty one is in lower case.
type Spelling struct {
	Channel, Thread, Parent string
	Mentions                []string
}

// form is one of the ways in which the same messages are written as JSON.
type form struct {
	lower   bool // ids in lower case, not as they were sent
	order   func(a, b string) int
	slashes bool // "/" escaped, as Swift does
	number  func(json.Number) string
}

func asWritten(n json.Number) string { return n.String() }

// forms are what a client may take a digest over; the first is the one we write.
// They differ in how the same messages are written, and in nothing that is said.
func forms() []form {
	ours := []form{
		{order: byUTF16, number: asWritten}, {order: byUTF16, number: asJavaScript}, {order: asObject, number: asWritten}, {order: asObject, number: asJavaScript},
		{order: strings.Compare, number: asWritten}, {order: strings.Compare, number: asWritten, slashes: true},
		{order: asDarwin, number: asWritten}, {order: asDarwin, number: asWritten, slashes: true},
	}
	for _, f := range ours[:len(ours):len(ours)] {
		f.lower = true
		ours = append(ours, f)
	}
	return ours
}

// halves are what JavaScript writes where a text was cut within an emoji: the first
// half of one, which arrives as U+FFFD.
var halves = []string{`\ud83c`, `\ud83d`, `\ud83e`}

// Digest is the hexadecimal SHA-256 of a batch: of the JSON array of its
// messages, each an object of clientMessageId, channelId, threadId,
// parentMessageId, content, type, metadata and mentions in this order, without
// spaces, what is absent as null (type as "text", mentions as []), ids as they
// were sent, the keys of metadata sorted, and nothing escaped but what JSON demands.
func Digest(in []Input) string { return sumOf(forms()[0].batch(in)) }

// agree is the digest that a client gave, if it is one of these messages in any
// of the forms.
func agree(in []Input, digest string) (string, bool) {
	for _, f := range forms() {
		text := f.batch(in)
		if sum := sumOf(text); strings.EqualFold(sum, digest) {
			return sum, true
		}
		if !bytes.ContainsRune(text, utf8.RuneError) {
			continue
		}
		for _, half := range halves {
			if sum := sumOf(bytes.ReplaceAll(text, []byte("\ufffd"), []byte(half))); strings.EqualFold(sum, digest) {
				return sum, true
			}
		}
	}
	return "", false
}

// digest tells one message from another under the same key: whatever a client's
// library may write in two ways when it sends again is one to it.
func (in Input) digest() []byte {
	f := form{lower: true, order: strings.Compare, number: decimal}
	in.ClientMessageID = ""
	if meta := in.meta(); string(meta) == "{}" {
		in.Metadata = nil
	}
	sum := sha256.Sum256(f.message(nil, in))
	return sum[:]
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (f form) batch(in []Input) []byte {
	b := []byte{'['}
	for i, x := range in {
		if i > 0 {
			b = append(b, ',')
		}
		b = f.message(b, x)
	}
	return append(b, ']')
}

func (f form) message(b []byte, in Input) []byte {
	b = f.text(append(b, `{"clientMessageId":`...), in.ClientMessageID)
	b = f.id(append(b, `,"channelId":`...), &in.Channel, in.Spelling.Channel)
	b = f.id(append(b, `,"threadId":`...), in.Thread, in.Spelling.Thread)
	b = f.id(append(b, `,"parentMessageId":`...), in.Parent, in.Spelling.Parent)
	b = append(b, `,"content":`...)
	if in.Content == nil {
		b = append(b, "null"...)
	} else {
		b = f.text(b, *in.Content)
	}
	b = f.text(append(b, `,"type":`...), string(in.kind()))
	b = f.metadata(append(b, `,"metadata":`...), in.Metadata)
	b = append(b, `,"mentions":[`...)
	for i := range in.Mentions {
		if i > 0 {
			b = append(b, ',')
		}
		spelling := ""
		if len(in.Spelling.Mentions) == len(in.Mentions) {
			spelling = in.Spelling.Mentions[i]
		}
		b = f.id(b, &in.Mentions[i], spelling)
	}
	return append(b, "]}"...)
}

func (f form) id(b []byte, id *uuid.UUID, spelling string) []byte {
	switch {
	case id == nil:
		return append(b, "null"...)
	case f.lower || spelling == "":
		spelling = id.String()
	}
	return f.text(b, spelling)
}

func (f form) metadata(b []byte, in json.RawMessage) []byte {
	if len(in) == 0 {
		return append(b, "null"...)
	}
	d := json.NewDecoder(bytes.NewReader(in))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return append(b, in...) // and is refused
	}
	return f.value(b, v)
}

func (f form) value(b []byte, v any) []byte {
	switch x := v.(type) {
	case string:
		return f.text(b, x)
	case json.Number:
		return append(b, f.number(x)...)
	case bool:
		return strconv.AppendBool(b, x)
	case []any:
		b = append(b, '[')
		for i, one := range x {
			if i > 0 {
				b = append(b, ',')
			}
			b = f.value(b, one)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, name := range f.keys(x) {
			if i > 0 {
				b = append(b, ',')
			}
			b = f.value(append(f.text(b, name), ':'), x[name])
		}
		return append(b, '}')
	}
	return append(b, "null"...)
}

func (f form) keys(m map[string]any) []string {
	list := make([]string, 0, len(m))
	for name := range m {
		list = append(list, name)
	}
	slices.SortFunc(list, f.order)
	return list
}

// text is a JSON string as JSON.stringify writes it.
func (f form) text(b []byte, s string) []byte {
	const short = "\b\t\n\f\r\"\\"
	const letters = `btnfr"\`
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		if at := strings.IndexByte(short, c); at >= 0 {
			b = append(b, '\\', letters[at])
		} else if c < ' ' {
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		} else if c == '/' && f.slashes {
			b = append(b, `\/`...)
		} else {
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// asJavaScript is a number as JavaScript writes it: 1.0 and 1e0 are 1.
func asJavaScript(n json.Number) string {
	x, err := n.Float64()
	if err != nil {
		return n.String()
	}
	b, err := json.Marshal(x + 0) // -0 is 0
	if err != nil {
		return n.String()
	}
	return string(b)
}

// decimal is one spelling of a number's exact value: its digits without zeros
// around them, and a power of ten.
func decimal(n json.Number) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(n.String()), "e")
	power, err := strconv.ParseInt(cmp.Or(exponent, "0"), 10, 32)
	if err != nil {
		return n.String()
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	power += int64(len(digits) - len(short) - len(fraction))
	if negative {
		short = "-" + short
	}
	return short + "e" + strconv.FormatInt(power, 10)
}
