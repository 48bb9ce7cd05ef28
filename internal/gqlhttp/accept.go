package gqlhttp

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// The media types answers come in.
const (
	mediaGraphQL = "application/graphql-response+json"
	mediaJSON    = "application/json"
	mediaSSE     = "text/event-stream"
)

// negotiate chooses an answer's type; "": none of ours is acceptable. Between
// equals the client's order decides, and so a client that lists event streams
// last, as some do on every request, gets JSON.
func negotiate(h http.Header) string {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return mediaJSON
	}
	best, bestQ := "", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		offer := ""
		switch media {
		case mediaGraphQL, mediaJSON, mediaSSE:
			offer = media
		case "*/*", "application/*":
			offer = mediaJSON
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				q = 0
			}
		}
		if offer != "" && q > bestQ {
			best, bestQ = offer, q
		}
	}
	return best
}
