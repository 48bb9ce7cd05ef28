package gqlhttp

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// exchange is one request and what is to come back. The defaults are those of
// most: POST, application/json both ways, status 200.
type exchange struct {
	method, query, accept, content, body string
	header                               http.Header

	status  int
	media   string
	code    string // of the first error; "": there are none
	has     string
	headers http.Header // to be among the answer's
	ran     int64       // operations executed
}

const (
	ask   = `{"query":"{ hello }"}`
	any_  = "-" // no such header at all
	gql   = mediaGraphQL
	valid = "validation-failed"
)

// secret stands in requests where it must not come back.
const secret = "s3cr3t"

func (x exchange) check(t *testing.T, s *site) {
	t.Helper()
	def := func(v *string, d string) {
		switch *v {
		case "":
			*v = d
		case any_:
			*v = ""
		}
	}
	def(&x.method, http.MethodPost)
	if x.method == http.MethodPost {
		def(&x.content, mediaJSON)
		def(&x.body, ask)
	}
	def(&x.accept, mediaJSON)
	def(&x.media, mediaJSON)
	if x.status == 0 {
		x.status = http.StatusOK
	}
	before := s.schema.ran.Load()
	resp := s.do(t, x.method, x.query, x.accept, x.content, x.body, x.header) //nolint:bodyclose // by do
	body := all(t, resp)
	if resp.StatusCode != x.status {
		t.Errorf("status %d, want %d: %.200s", resp.StatusCode, x.status, body)
	}
	if got := s.schema.ran.Load() - before; got != x.ran {
		t.Errorf("%d operations were executed, want %d", got, x.ran)
	}
	for name, want := range x.headers {
		if got := resp.Header.Get(name); got != want[0] {
			t.Errorf("%s is %q, want %q", name, got, want[0])
		}
	}
	if cc := resp.Header.Get("Cache-Control"); cc != "private, no-store" {
		t.Errorf("Cache-Control is %q", cc)
	}
	for _, name := range []string{"Authorization", "Cookie", "Origin", "Accept"} {
		if !strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), name) {
			t.Errorf("the answer does not vary with %s", name)
		}
	}
	if strings.Contains(body, secret) {
		t.Errorf("what was sent came back: %.200s", body)
	}
	if !strings.Contains(body, x.has) {
		t.Errorf("%.200s has no %s", body, x.has)
	}
	if x.status != http.StatusNoContent && x.method != http.MethodHead {
		x.checkBody(t, resp, body)
	}
}

func (x exchange) checkBody(t *testing.T, resp *http.Response, body string) {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); got != x.media+"; charset=utf-8" {
		t.Errorf("Content-Type is %q, want %q", got, x.media)
	}
	if x.media == mediaSSE {
		return
	}
	var answer struct {
		Data   json.RawMessage
		Errors []struct {
			Message    string
			Extensions struct{ Code string }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %.200s", err, body)
	}
	got := ""
	for _, e := range answer.Errors {
		if e.Extensions.Code == "" || e.Message == "" {
			t.Errorf("an error without code or message: %.200s", body)
		}
		got = answer.Errors[0].Extensions.Code
	}
	if got != x.code {
		t.Errorf("code %q, want %q: %.200s", got, x.code, body)
	}
	if x.ran == 0 && strings.Contains(body, `"data"`) {
		t.Errorf("nothing was executed, and there is data: %.200s", body)
	}
}

func get(params ...string) string {
	v := url.Values{}
	for i := 0; i < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return "?" + v.Encode()
}

func persisted(query string) string {
	return fmt.Sprintf(`{"persistedQuery":{"version":1,"sha256Hash":"%x"}}`, sha256.Sum256([]byte(query)))
}

const (
	urqlQuery  = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
	urqlStream = "text/event-stream, multipart/mixed"
	apolloSub  = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9"
	subQuery   = `{"query":"subscription { ticks }"}`
)

// Each rule, with the exchange that proves it. In the names the ids are those
// of the audit suite of graphql-http.
var rules = map[string]exchange{
	// Types.
	"22EB accepts graphql-response+json":            {accept: gql, media: gql, ran: 1},
	"4655 accepts application/json":                 {ran: 1},
	"47DE */* is application/json":                  {accept: "*/*", ran: 1},
	"80D8 no Accept is application/json":            {accept: any_, ran: 1},
	"application/* is application/json":             {accept: "application/*", ran: 1},
	"82A3 answers in UTF-8":                         {accept: "application/json; charset=utf-8", body: `{"query":"{ hello(name: \"Zoë\") }"}`, has: "Zoë", ran: 1},
	"BF61 takes UTF-8":                              {content: "application/json; charset=UTF-8", ran: 1},
	"78D5 takes UTF-8 where nothing is said":        {body: `{"query":"{ hello(name: \"☃\") }"}`, has: "☃", ran: 1},
	"another charset is refused":                    {content: "application/json; charset=utf-16", status: 415, code: valid},
	"bytes that are no UTF-8 are refused":           {body: "{\"query\":\"{ hello } #\xff\"}", status: 400, code: valid},
	"q-values decide":                               {accept: "application/json;q=0.5, application/graphql-response+json;q=0.9", media: gql, ran: 1},
	"q-values decide against the order":             {accept: "application/graphql-response+json;q=0.1, application/json", ran: 1},
	"q=0 is a refusal":                              {accept: "application/json;q=0, */*", media: gql, ran: 1},
	"q=0 for all is a refusal":                      {accept: "*/*;q=0", status: 406, code: valid},
	"what a wildcard leaves is no event stream":     {accept: "application/json;q=0, application/graphql-response+json;q=0, */*", status: 406, code: valid},
	"the specific range beats the wildcard":         {accept: "*/*, application/graphql-response+json;q=0.5", ran: 1},
	"a q that is none is 0":                         {accept: "application/graphql-response+json;q=x, application/json;q=0.1", ran: 1},
	"another charset is not acceptable":             {accept: "application/json; charset=latin1", status: 406, code: valid},
	"nothing acceptable is 406":                     {accept: "text/html", status: 406, code: valid},
	"a browser's Accept is JSON":                    {accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ran: 1},
	"urql's queries are no event streams":           {accept: urqlQuery, media: gql, ran: 1},
	"urql's mutations are no event streams":         {accept: urqlQuery, media: gql, body: `{"query":"mutation { bump }"}`, ran: 1},
	"an event stream asked for first is one":        {accept: "text/event-stream, application/json", media: mediaSSE, has: "event: complete", ran: 1},
	"an event stream asked for last is none":        {accept: "application/json, text/event-stream", ran: 1},
	"an event stream of less q is none":             {accept: "text/event-stream;q=0.5, application/json", ran: 1},
	"a wildcard is no event stream":                 {accept: "text/*, */*;q=0.1", ran: 1},
	"urql's subscriptions are event streams":        {accept: urqlStream, body: subQuery, media: mediaSSE, has: `data: {"data":{"ticks":3}}`, ran: 1},
	"Apollo's multipart subscriptions are declined": {accept: apolloSub, body: subQuery, media: gql, status: 400, code: "not-supported", has: "WebSocket"},
	"multipart alone is declined":                   {accept: "multipart/mixed;boundary=graphql;subscriptionSpec=1.0", body: subQuery, status: 406, code: valid, has: "WebSocket"},

	// Methods.
	"2C94 accepts POST":                        {ran: 1},
	"5A70 accepts GET":                         {method: "GET", query: get("query", "{ hello }"), ran: 1},
	"GET as urql sends it":                     {method: "GET", accept: urqlQuery, query: get("query", "query($n: String){ hello(name: $n) }", "variables", `{"n":"bob"}`), media: gql, has: "hello bob", ran: 1},
	"9C48 no mutation by GET":                  {method: "GET", query: get("query", "mutation { bump }"), status: 405, code: valid, headers: http.Header{"Allow": {"POST"}}},
	"no mutation by GET and name":              {method: "GET", query: get("query", "{ hello } mutation m { bump } query q { hello }", "operationName", "m"), status: 200, code: valid},
	"no mutation by GET, named":                {method: "GET", query: get("query", "query q { hello } mutation m { bump }", "operationName", "m"), status: 405, code: valid},
	"no mutation by GET as an event stream":    {method: "GET", accept: mediaSSE, query: get("query", "mutation { bump }"), status: 405, code: valid, headers: http.Header{"Allow": {"POST"}}},
	"a query beside a mutation by GET":         {method: "GET", query: get("query", "query q { hello } mutation m { bump }", "operationName", "q"), ran: 1},
	"no subscription by plain POST":            {body: subQuery, code: "not-supported", has: "text/event-stream"},
	"no subscription by plain POST, 400":       {accept: gql, media: gql, body: subQuery, status: 400, code: "not-supported", has: "WebSocket"},
	"no subscription by plain GET":             {method: "GET", query: get("query", "subscription { ticks }"), code: "not-supported"},
	"a subscription by GET as an event stream": {method: "GET", accept: mediaSSE, query: get("query", "subscription { ticks }"), media: mediaSSE, has: `{"ticks":3}`, ran: 1},
	"PUT is 405":                               {method: "PUT", content: mediaJSON, body: ask, status: 405, code: valid, headers: http.Header{"Allow": {allowed}}},
	"DELETE is 405":                            {method: "DELETE", status: 405, code: valid, headers: http.Header{"Allow": {allowed}}},
	"PATCH is 405":                             {method: "PATCH", content: mediaJSON, body: ask, status: 405, code: valid, headers: http.Header{"Allow": {allowed}}},
	"HEAD is 405":                              {method: "HEAD", query: get("query", "{ hello }"), status: 405, headers: http.Header{"Allow": {allowed}}},
	"OPTIONS tells":                            {method: "OPTIONS", status: 204, headers: http.Header{"Allow": {allowed}, "Accept-Post": {mediaJSON}}},

	// Bodies.
	"03D4 takes application/json":                {ran: 1},
	"9ABE no Content-Type is 415":                {content: any_, status: 415, code: valid, headers: http.Header{"Accept-Post": {mediaJSON}}},
	"no urlencoded forms":                        {content: "application/x-www-form-urlencoded", body: get("query", "mutation { bump }")[1:], status: 415, code: valid, headers: http.Header{"Accept-Post": {mediaJSON}}},
	"no multipart forms":                         {content: "multipart/form-data; boundary=b", body: "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{\"query\":\"mutation { bump }\"}\r\n--b--\r\n", status: 415, code: valid},
	"no plain text, which needs no preflight":    {content: "text/plain", body: `{"query":"mutation { bump }"}`, status: 415, code: valid},
	"no application/graphql":                     {content: "application/graphql", body: "{ hello }", status: 415, code: valid},
	"no content encoding":                        {header: http.Header{"Content-Encoding": {"gzip"}}, body: "\x1f\x8b", status: 415, code: valid, headers: http.Header{"Accept-Encoding": {"identity"}}},
	"identity is no encoding":                    {header: http.Header{"Content-Encoding": {"identity"}}, ran: 1},
	"A5BF no body is 400":                        {body: any_, status: 400, code: valid},
	"BCF8 broken JSON is 400":                    {body: `{ "` + secret, status: 400, code: valid},
	"B7N8 broken JSON is 400":                    {accept: gql, media: gql, body: `{ "` + secret, status: 400, code: valid},
	"trailing garbage is 400":                    {body: ask + secret, status: 400, code: valid},
	"a second object is 400":                     {body: ask + ask, status: 400, code: valid},
	"no broken batches":                          {body: " [" + ask + secret, status: 400, code: valid, has: "JSON"},
	"no batch of anything else":                  {body: `[1]`, status: 400, code: valid},
	"no batch with a hole":                       {body: "[" + ask + ",null]", status: 400, code: valid, has: "query is missing"},
	"no batch without end":                       {body: "[" + strings.Repeat(ask+",", 100) + ask + "]", status: 400, code: valid, has: "1 to 100"},
	"no empty batch":                             {body: "[]", status: 400, code: valid, has: "1 to 100"},
	"no batch as an event stream":                {accept: mediaSSE, body: "[" + ask + "]", status: 400, code: valid, media: mediaJSON},
	"null is no request":                         {body: "null", status: 400, code: valid},
	"text is no request":                         {body: `"` + secret + `"`, status: 400, code: valid},
	"keys are read as they are written":          {body: `{"Query":"{ hello }"}`, status: 400, code: valid, has: "query is missing"},
	"a body at the limit":                        {body: ask + strings.Repeat(" ", 4096-len(ask)), ran: 1},
	"a body beyond the limit is 413":             {body: ask + strings.Repeat(" ", 4097-len(ask)), status: 413, code: valid, has: "4096 bytes"},
	"a body beyond the limit is 413, as GraphQL": {accept: gql, media: gql, body: ask + strings.Repeat(" ", 1<<20), status: 413, code: valid},
	"Hasura has a larger limit":                  {header: http.Header{"X-Hasura": {"yes"}}, body: ask + strings.Repeat(" ", 8000), ran: 1},
	"and not without end":                        {header: http.Header{"X-Hasura": {"yes"}}, body: ask + strings.Repeat(" ", 20000), status: 200, code: valid},
	"deeply nested JSON is an error":             {body: `{"query":"{ hello }","variables":{"a":` + strings.Repeat("[", 1500) + `}}`, status: 400, code: valid},

	// Parameters.
	"423L no query is 400":                    {accept: gql, media: gql, body: `{"notquery":"{ hello }"}`, status: 400, code: valid},
	"8764 3E3A no query is 400, as JSON":      {body: `{"qeury":"` + secret + `"}`, status: 400, code: valid},
	"no query by GET is 400":                  {method: "GET", status: 400, code: valid},
	"LKJ0 query is no object":                 {body: `{"query":{"obj":"ect"}}`, status: 400, code: valid, has: "query must be"},
	"LKJ1 query is no number":                 {body: `{"query":0}`, status: 400, code: valid},
	"LKJ2 query is no boolean":                {body: `{"query":false}`, status: 400, code: valid},
	"LKJ3 query is no array":                  {body: `{"query":["array"]}`, status: 400, code: valid},
	"34A2 query is text":                      {accept: gql, media: gql, ran: 1},
	"13EE query is text, as JSON":             {ran: 1},
	"6C00 operationName is no object":         {body: `{"query":"{ hello }","operationName":{"obj":"ect"}}`, status: 400, code: valid},
	"6C01 operationName is no number":         {body: `{"query":"{ hello }","operationName":0}`, status: 400, code: valid},
	"6C02 operationName is no boolean":        {body: `{"query":"{ hello }","operationName":false}`, status: 400, code: valid},
	"6C03 operationName is no array":          {body: `{"query":"{ hello }","operationName":["array"]}`, status: 400, code: valid},
	"8161 operationName is text":              {accept: gql, media: gql, body: `{"query":"query Q { hello }","operationName":"Q"}`, ran: 1},
	"B8B3 operationName is text, as JSON":     {body: `{"query":"query Q { hello }","operationName":"Q"}`, ran: 1},
	"94B0 94B1 94B2 null is nothing":          {accept: gql, media: gql, body: `{"query":"{ hello }","operationName":null,"variables":null,"extensions":null}`, ran: 1},
	"0220 0221 0222 null is nothing, as JSON": {body: `{"query":"{ hello }","operationName":null,"variables":null,"extensions":null}`, ran: 1},
	"4760 variables are no text":              {body: `{"query":"{ hello }","variables":"` + secret + `"}`, status: 400, code: valid},
	"4761 variables are no number":            {body: `{"query":"{ hello }","variables":0}`, status: 400, code: valid},
	"4762 variables are no boolean":           {body: `{"query":"{ hello }","variables":false}`, status: 400, code: valid},
	"4763 variables are no array":             {body: `{"query":"{ hello }","variables":["array"]}`, status: 400, code: valid},
	"2EA1 variables are a map":                {accept: gql, media: gql, body: `{"query":"query($n: String){ hello(name: $n) }","variables":{"n":"eve"}}`, has: "hello eve", ran: 1},
	"28B9 variables are a map, as JSON":       {body: `{"query":"query($n: String){ hello(name: $n) }","variables":{"n":"eve"}}`, has: "hello eve", ran: 1},
	"D6D5 variables by GET":                   {method: "GET", accept: gql, media: gql, query: get("query", "query($n: String){ hello(name: $n) }", "variables", `{"n":"eve"}`), has: "hello eve", ran: 1},
	"6A70 variables by GET, as JSON":          {method: "GET", query: get("query", "query($n: String){ hello(name: $n) }", "variables", `{"n":"eve"}`), has: "hello eve", ran: 1},
	"variables by GET, broken":                {method: "GET", query: get("query", "{ hello }", "variables", `{"`+secret), status: 400, code: valid},
	"variables by GET, more than one":         {method: "GET", query: get("query", "{ hello }", "variables", `{}}`), status: 400, code: valid},
	"a URL that cannot be read":               {method: "GET", query: "?query=%zz" + secret, status: 400, code: valid},
	"a URL that is no UTF-8":                  {method: "GET", query: "?query={hello}%23%ff", status: 400, code: valid},
	"numbers stay as they are written":        {body: `{"query":"query($x: Int){ echo(x: $x) }","variables":{"x":9007199254740993}}`, has: "9007199254740993", ran: 1},
	"58B0 extensions are no text":             {body: `{"query":"{ hello }","extensions":"string"}`, status: 400, code: valid},
	"58B1 extensions are no number":           {body: `{"query":"{ hello }","extensions":0}`, status: 400, code: valid},
	"58B2 extensions are no boolean":          {body: `{"query":"{ hello }","extensions":false}`, status: 400, code: valid},
	"58B3 extensions are no array":            {body: `{"query":"{ hello }","extensions":["array"]}`, status: 400, code: valid},
	"428F extensions are a map":               {accept: gql, media: gql, body: `{"query":"{ hello }","extensions":{"some":"value"}}`, ran: 1},
	"1B7A extensions are a map, as JSON":      {body: `{"query":"{ hello }","extensions":{"some":"value"}}`, ran: 1},

	// Documents.
	"572B a document that does not parse, as JSON":  {body: `{"query":"{"}`, code: valid},
	"FDE2 a document that is not valid, as JSON":    {body: `{"query":"{ nothing }"}`, code: valid},
	"7B9B variables that do not fit, as JSON":       {body: `{"query":"query($x: ID!){ __typename }","variables":{"x":null}}`, code: valid},
	"865D 556A D586 a document that does not parse": {accept: gql, media: gql, body: `{"query":"{"}`, status: 400, code: valid},
	"51FE 74FF 5E5B a document that is not valid":   {accept: gql, media: gql, body: `{"query":"{ nothing }"}`, status: 400, code: valid},
	"86EE variables that do not fit":                {accept: gql, media: gql, body: `{"query":"query($x: ID!){ __typename }","variables":{"x":null}}`, status: 400, code: valid},
	"two operations and no name":                    {body: `{"query":"query a { hello } query b { hello }"}`, code: valid, has: "operationName is missing"},
	"two operations of one name":                    {body: `{"query":"query a { hello } query a { hello }","operationName":"a"}`, code: valid},
	"an operation that is not there":                {body: `{"query":"query a { hello }","operationName":"b"}`, code: valid},
	"only fragments":                                {body: `{"query":"fragment f on Query { hello }"}`, code: valid},
	"a persisted query that is not known":           {accept: gql, media: gql, body: `{"extensions":` + persisted("{ hello } # 1") + `}`, status: 400, code: persistedNotFound, has: "PersistedQueryNotFound"},
	"a persisted query that is not known, as JSON":  {method: "GET", query: get("extensions", persisted("{ hello } # 2")), code: persistedNotFound},
	"a persisted query of another hash":             {body: `{"query":"{ hello }","extensions":` + persisted("{ denied }") + `}`, code: valid},
	"a persisted query of another version":          {body: `{"query":"{ hello }","extensions":{"persistedQuery":{"version":2,"sha256Hash":"x"}}}`, code: valid},
	"a persisted query that is none":                {body: `{"extensions":{"persistedQuery":7}}`, code: valid},

	// What was executed.
	"an error beside data is 200":          {accept: gql, media: gql, body: `{"query":"{ denied }"}`, code: "access-denied", has: `"data":{"denied":null}`, ran: 1},
	"an error of ours is told as such":     {accept: gql, media: gql, body: `{"query":"{ broken }"}`, code: "unexpected", has: "internal error", ran: 1},
	"a refusal by rate":                    {accept: gql, media: gql, body: `{"query":"{ limited }"}`, status: 429, code: "rate-limited", headers: http.Header{"Retry-After": {"2"}}, ran: 1},
	"a refusal by rate, as JSON":           {body: `{"query":"{ limited }"}`, code: "rate-limited", headers: http.Header{"Retry-After": {"2"}}, ran: 1},
	"a panic in a marshaller":              {accept: gql, media: gql, body: `{"query":"{ marshals }"}`, status: 500, code: "unexpected", has: "internal error", ran: 1},
	"a panic in a marshaller, as JSON":     {body: `{"query":"{ marshals }"}`, code: "unexpected", ran: 1},
	"a panic while reading the operation":  {header: http.Header{"X-Panic": {"read"}}, accept: gql, media: gql, status: 500, code: "unexpected"},
	"a panic while starting the operation": {header: http.Header{"X-Panic": {"start"}}, accept: gql, media: gql, status: 500, code: "unexpected"},
	"no response at all":                   {accept: gql, media: gql, body: `{"query":"{ silent }"}`, status: 500, code: "unexpected", ran: 1},
	"a large answer":                       {body: `{"query":"{ large }"}`, has: "xxxxxxxx", ran: 1},
	"Hasura gets 200: not valid":           {header: http.Header{"X-Hasura": {"yes"}}, accept: gql, media: gql, body: `{"query":"{ nothing }"}`, code: valid},
	"Hasura gets 200: broken JSON":         {header: http.Header{"X-Hasura": {"yes"}}, body: `{`, code: valid},
}

// audits are the ids of graphql-http's audit suite, every one of which needs
// its proof. B6DC allows anything.
var audits = strings.Fields(`22EB 4655 47DE 80D8 82A3 BF61 78D5 2C94 5A70 9C48 9ABE 03D4 A5BF 423L LKJ0 LKJ1 LKJ2 LKJ3 34A2 13EE
	6C00 6C01 6C02 6C03 8161 B8B3 94B0 94B1 94B2 0220 0221 0222 4760 4761 4762 4763 2EA1 28B9 D6D5 6A70 58B0 58B1 58B2 58B3 428F 1B7A
	BCF8 B7N8 8764 3E3A 572B FDE2 7B9B 865D 556A D586 51FE 74FF 5E5B 86EE`)

func TestEveryAuditIsProved(t *testing.T) {
	t.Parallel()
	var proved []string
	for rule := range rules {
		proved = append(proved, strings.Fields(rule)...)
	}
	for _, id := range audits {
		if !slices.Contains(proved, id) {
			t.Errorf("%s has no proof", id)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	hasura := func(r *http.Request) bool { return r.Header.Get("X-Hasura") != "" }
	o := Options{AlwaysOK: hasura, BodyLimit: func(r *http.Request) int64 {
		if hasura(r) {
			return 4 * 4096
		}
		return 4096
	}}
	for rule, x := range rules {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			x.check(t, newSite(t, o))
		})
	}
}
