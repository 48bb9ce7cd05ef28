package auth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// jwksLongest keeps a mistaken max-age from overflowing a duration.
const jwksLongest = 365 * 24 * time.Hour

// freshFor is how long the keys of an answer hold, by Hasura's reading of
// Cache-Control (RFC 9111) and, where that says nothing, Expires: must-revalidate
// as long as max-age says, else not at all; no-cache and no-store not at all;
// max-age and s-maxage as long as they say. Never under a second. Zero: the
// answer says nothing, and the keys hold until one is missing.
func freshFor(h http.Header, now time.Time) time.Duration {
	var age time.Duration
	var aged, never, revalidate bool
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "no-cache", "no-store":
			never = true
		case "must-revalidate":
			revalidate = true
		case "max-age", "s-maxage":
			n, err := strconv.ParseInt(strings.Trim(strings.TrimSpace(value), `"`), 10, 64)
			if err != nil || n < 0 || aged {
				continue // the first counts
			}
			age, aged = time.Duration(min(n, int64(jwksLongest/time.Second)))*time.Second, true
		}
	}
	if never && !revalidate || revalidate && !aged {
		return jwksLeast
	}
	if aged {
		return max(age, jwksLeast)
	}
	if at, err := http.ParseTime(h.Get("Expires")); err == nil {
		return min(max(at.Sub(now), jwksLeast), jwksLongest)
	}
	return 0
}
