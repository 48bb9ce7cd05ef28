package gqlhttp

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The media types answers come in.
const (
	mediaGraphQL = "application/graphql-response+json"
	mediaJSON    = "application/json"
	mediaSSE     = "text/event-stream"
)

// negotiate chooses an answer's type as RFC 9110 section 12.5.1 says; "": none
// of ours is acceptable. Without an Accept it is application/json, as the
// GraphQL-over-HTTP specification asks for the time being. A wildcard is JSON,
// never an event stream. Between equals the client's order decides, and so a
// client that lists event streams last, as urql does on every request, gets JSON.
func negotiate(h http.Header) string {
	accept := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return mediaJSON
	}
	ranges := parseAccept(accept)
	best, bestQ, bestAt := "", 0.0, 0
	for _, offer := range []string{mediaJSON, mediaGraphQL, mediaSSE} {
		at := slices.IndexFunc(ranges, func(r acceptRange) bool { return r.media == offer })
		for _, wild := range []string{"application/*", "*/*"} { // the less specific the later
			if at < 0 && offer != mediaSSE {
				at = slices.IndexFunc(ranges, func(r acceptRange) bool { return r.media == wild })
			}
		}
		if at < 0 {
			continue
		}
		if q := ranges[at].q; q > bestQ || q == bestQ && at < bestAt {
			best, bestQ, bestAt = offer, q, at
		}
	}
	return best
}

type acceptRange struct {
	media string
	q     float64
}

func parseAccept(accept string) []acceptRange {
	var ranges []acceptRange
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil || !(q >= 0 && q <= 1) { // NaN too
				q = 0
			}
		}
		if c, ok := params["charset"]; ok && !strings.EqualFold(c, "utf-8") {
			continue // JSON has no other
		}
		ranges = append(ranges, acceptRange{media, q})
	}
	return ranges
}
