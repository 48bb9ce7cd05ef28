package message

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nself-org/nchat-realtime/internal/fault"
)

// Input is a message to be sent. ClientMessageID is the sender's own key for it.
type Input struct {
	ClientMessageID string
	Channel         uuid.UUID
	Thread, Parent  *uuid.UUID
	Content         *string
	Type            *Type // default text
	Metadata        json.RawMessage
	Mentions        []uuid.UUID
	Spelling        Spelling // of the ids
}

func (in Input) kind() Type {
	if in.Type == nil {
		return TypeText
	}
	return *in.Type
}

// meta is the metadata with its keys sorted; nil: none.
func (in Input) meta() json.RawMessage {
	if len(in.Metadata) == 0 || string(in.Metadata) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(in.Metadata))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return in.Metadata
	}
	return encode(v)
}

// encode is JSON without escapes for HTML, as other languages write it.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil // nothing that was decoded can fail
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// check refuses what nobody may send anywhere.
func (s *Service) check(in Input) *fault.Error {
	if n := utf8.RuneCountInString(in.ClientMessageID); n < 1 || n > MaxKey || !printable(in.ClientMessageID) {
		return fault.Field("clientMessageId", "clientMessageId must be 1 to %d printable characters", MaxKey)
	}
	switch in.kind() {
	case TypeText:
		if in.Content == nil || strings.TrimSpace(*in.Content) == "" {
			return fault.Field("content", "content must not be empty")
		}
	case TypeFile, TypeVoice, TypeVideo, TypeEmbed:
		if (in.Content == nil || strings.TrimSpace(*in.Content) == "") && in.meta() == nil {
			return fault.Field("content", "content must not be empty where there is no metadata")
		}
	default:
		return fault.Field("type", "type must be text, file, voice, video or embed")
	}
	if in.Content != nil {
		if f := s.checkContent(*in.Content); f != nil {
			return f
		}
	}
	if len(in.Mentions) > MaxMentions {
		return fault.Field("mentions", "mentions has more than %d users", MaxMentions)
	}
	return checkMetadata(in.meta())
}

func (s *Service) checkContent(text string) *fault.Error {
	switch {
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return fault.Field("content", "content must be UTF-8 without NUL")
	case utf8.RuneCountInString(text) > s.o.Content:
		return fault.Field("content", "content has more than %d characters", s.o.Content)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
