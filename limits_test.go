package nchatrealtime

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// limits is every limit that can be set, and the tests that reach it.
var limits = map[string]string{
	"MAX_OPERATIONS_PER_SOCKET":  "wsock.TestCaps",
	"MAX_SOCKETS_PER_USER":       "wsock.TestCaps",
	"MAX_SOCKETS_PER_IP":         "wsock.TestASocketTooManyIsToldToComeBack",
	"MAX_OPENING_SOCKETS_PER_IP": "wsock.TestSocketsThatOnlyOpen",
	"MAX_CONNECTIONS_PER_IP":     "app.TestConnectionsFromAnAddress",
	"MAX_FRAME_BYTES":            "wsock.TestAnOversizeFrameIsTold",
	"FRAMES_PER_SECOND":          "wsock.TestAFloodIsReadNoFasterThanTheRate",
	"MAX_BODY_BYTES":             "gqlhttp.TestABodyIsRefusedByItsLengthAlone gqlhttp.TestBodiesOfUnknownLengthAreLimited",
	"MAX_DOCUMENT_BYTES":         "app.TestManyDocuments limit.FuzzDocument",
	"MAX_ROOMS":                  "limit.TestCapsAreOfTheWholeOperation",
	"MAX_IDS":                    "limit.TestCapsAreOfTheWholeOperation app.TestManyIDs",
	"MAX_BATCH":                  "limit.TestCapsAreOfTheWholeOperation",
	"MAX_DEPTH":                  "limit.TestSize",
	"MAX_ALIASES":                "limit.TestSize",
	"MAX_CONTENT_CHARS":          "message.TestWhatMayBeSent",
	"MAX_STATUS_CHARS":           "e2e.TestBadInputGetsATypedErrorAndNothingElse",
	"OPERATIONS_PER_MINUTE":      "e2e.TestALimitIsPerUserAndSaysWhenToComeBack limit.TestOperations",
	"POINTS_PER_MINUTE":          "app.TestManyIDs app.TestWhoPaysThePoints app.TestHowManyPointsThereAre app.TestMembersArePaidFor",
	"MESSAGES_PER_MINUTE":        "limit.TestCapsAreOfTheWholeOperation",
	"FIELDS_AT_ONCE":             "limit.TestTurnsAreTakenOneCallerAfterAnother",
	"MAX_WATCHED_IDS":            "app.TestManyWatched",
	"MAX_WAITING_POLLS":          "app.TestManyPolls",
	"OPERATION_TIMEOUT":          "gqlhttp.TestAnOperationHasItsTime",
	"REQUEST_TIMEOUT":            "app.TestHangingBodies gqlhttp.TestABodyThatDoesNotArrive",
	"QUEUE_FRAMES":               "wsock.TestSlowReader",
	"QUEUE_BYTES":                "wsock.TestAPeerThatAsksAndDoesNotReadIsGivenUp",
	"WRITE_TIMEOUT":              "wsock.TestTheStuckAreCutAfterTenSeconds",
	"INIT_TIMEOUT":               "wsock.TestInitTimeout wsock.TestInitHasTenSeconds",
	"PING_INTERVAL":              "wsock.TestSilenceIsGivenUpAfter45Seconds",
	"DRAIN_TIMEOUT":              "wsock.TestADrainIsSpread",
}

// TestEveryLimitHasATest: each that configuration reads is in the list, with tests
// that are there.
func TestEveryLimitHasATest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("internal/config/variables.go")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]bool{}
	for _, m := range regexp.MustCompile(`\tl\.\w+ = r\.\w+\("([A-Z_]+)"`).FindAllSubmatch(text, -1) {
		read[string(m[1])] = true
	}
	have := tests(t)
	for name := range read {
		if limits[name] == "" {
			t.Errorf("%s has no test", name)
		}
	}
	for name, named := range limits {
		if !read[name] {
			t.Errorf("%s is no limit", name)
		}
		for test := range strings.FieldsSeq(named) {
			if !have[test] {
				t.Errorf("%s: there is no %s", name, test)
			}
		}
	}
}

// tests are the tests there are, fuzz tests among them, as package.Name.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\((?:t \*testing\.T|f \*testing\.F)\) \{`)
	files(t, func(path string, text []byte) {
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllSubmatch(text, -1) {
				have[filepath.Base(filepath.Dir(path))+"."+string(m[1])] = true
			}
		}
	})
	return have
}
