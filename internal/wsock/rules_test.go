package wsock

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// rules is every MUST of graphql-transport-ws (PROTOCOL.md of graphql-ws), of
// the older graphql-ws (PROTOCOL.md of subscriptions-transport-ws) and of
// WebSocket where it is ours to keep, then our own; with the test that proves it.
var rules = []struct{ protocol, rule, test string }{
	{TransportWS, "a socket without an acceptable subprotocol is closed 4406", "TestSubprotocols"},
	{TransportWS, "offered both, the newer is chosen", "TestSubprotocols"},
	{TransportWS, "every message is JSON with a type the protocol knows; else 4400", "TestBadMessages"},
	{TransportWS, "a message of a known type, but not as its interface says, closes 4400", "TestMoreBadMessages"},
	{TransportWS, "a message that is binary, or not UTF-8, closes 4400", "TestBadFrames"},
	{TransportWS, "an optional member may be null", "TestNullIsAbsent"},
	{TransportWS, "no connection_init in time closes 4408", "TestInitHasTenSeconds"},
	{TransportWS, "connection_ack answers connection_init, with an optional payload", "TestAckComesFirst"},
	{TransportWS, "a second connection_init closes 4429, also while the first is judged", "TestSecondInit"},
	{TransportWS, "subscribe before connection_ack closes 4401, also while init is judged", "TestSubscribeBeforeAck"},
	{TransportWS, "a refused connection closes 4403", "TestRefusals"},
	{TransportWS, "ping is answered by pong at any time, before connection_init too", "TestPing"},
	{TransportWS, "pong carries ping's payload", "TestPing"},
	{TransportWS, "pong unasked is taken", "TestPing"},
	{TransportWS, "an id in use closes 4409, whatever its operation's kind", "TestDuplicateID"},
	{TransportWS, "the reason names the id, and fits a close frame", "TestReasonsFitACloseFrame"},
	{TransportWS, "an id may be used again once its operation is over", "TestIDReuse"},
	{TransportWS, "an id may be used again once the client completed its operation", "TestAnUnreadEndIsNotTheNewOperations"},
	{TransportWS, "an id is in use until its operation's last message is sent", "TestAnIDIsInUseUntilItsEndIsWritten"},
	{TransportWS, "a query or mutation is one next and complete", "TestPayloadsAsTheyWere"},
	{TransportWS, "a subscription is many nexts, in order, and complete", "TestResponsesAreCopied"},
	{TransportWS, "variables, operationName and extensions may be given, null or absent", "TestPayloadsAsTheyWere"},
	{TransportWS, "field errors are part of next", "TestOperations"},
	{TransportWS, "what cannot be executed is error, a list, and nothing follows", "TestErrors"},
	{TransportWS, "a stream that ends for a reason ends with error, and nothing follows", "TestErrors"},
	{TransportWS, "complete from the client ends its operation, and nothing follows", "TestClientComplete"},
	{TransportWS, "a query the client completed is not answered", "TestACompletedQueryIsNotAnswered"},
	{TransportWS, "complete of an unknown or ended id is ignored", "TestClientComplete"},
	{TransportWS, "operations run side by side on one socket", "TestSideBySide"},
	{TransportWS, "1000 from the client ends the connection", "TestCloseInfoTellsWhoAndHow"},

	{LegacyWS, "connection_init is answered by connection_ack, then a keep-alive", "TestLegacy"},
	{LegacyWS, "the keep-alive comes again and again", "TestLegacyKeepAlive"},
	{LegacyWS, "start sent right behind connection_init waits for the ack", "TestNothingBeforeTheAck"},
	{LegacyWS, "start without connection_init closes", "TestNothingBeforeTheAck"},
	{LegacyWS, "start, data, complete", "TestLegacy"},
	{LegacyWS, "resolver errors are part of data", "TestLegacyErrorsOfFields"},
	{LegacyWS, "stop ends an operation, and is confirmed by complete", "TestLegacyStopIsConfirmed"},
	{LegacyWS, "start with an id in use replaces the operation", "TestLegacyReplaces"},
	{LegacyWS, "an id that is stopped and started again is the new operation's", "TestLegacyStopAndStartAtOnce"},
	{LegacyWS, "what cannot be executed is one error", "TestLegacy"},
	{LegacyWS, "a refused connection is connection_error", "TestRefusals"},
	{LegacyWS, "a message that cannot be read is connection_error, and ignored", "TestLegacyBadMessagesAreSaidAndIgnored"},
	{LegacyWS, "connection_terminate closes", "TestLegacy"},

	{"WebSocket", "a frame over the limit closes 1009, and the peer can read that", "TestAnOversizeFrameIsTold"},
	{"WebSocket", "a length that cannot be closes 1009", "TestAnImpossibleLengthIsTold"},
	{"WebSocket", "a breach of framing closes 1002", "TestCloseInfoTellsWhoAndHow"},
	{"WebSocket", "a ping frame is answered", "TestControlPing"},
	{"WebSocket", "a close is answered by a close", "TestEveryEndFreesEverything"},
	{"WebSocket", "only a control frame may come within a message", "TestNothingComesWithinAMessage"},
	{"WebSocket", "what is sent is UTF-8", "TestWhatIsSentIsUTF8"},
	{"WebSocket", "an upgrade of another version is told ours", "TestUpgrades"},

	{"ours", "a page that is not let in is refused before the upgrade", "TestUpgrades"},
	{"ours", "no origin check, no sockets", "TestOrigin"},
	{"ours", "judging that takes too long closes 1013", "TestJudgingHasTenSeconds"},
	{"ours", "an init that fails closes 4403 for credentials, 1013 for an outage, and keeps no place", "TestInitsThatFail"},
	{"ours", "a token's expiry closes 4403, to the instant, and nothing is said of its operations", "TestExpiryIsExactAndSilent"},
	{"ours", "the expiry can be moved, and subscriptions go on", "TestExtend"},
	{"ours", "a drain closes 1012, spread, without a word of operations", "TestDrainIsSpread"},
	{"ours", "a newcomer during a drain is told 1012; afterwards HTTP 503", "TestADrainTurnsAwayKindly"},
	{"ours", "a drain that takes too long cuts off", "TestDrainCutsOffWhoDoesNotGo"},
	{"ours", "a closing socket is gone after a second, whatever its peer does", "TestGoodbyeLastsASecond"},
	{"ours", "a stuck writer holds up neither close, drain nor the peer's leaving", "TestAStuckWriterHoldsUpNothing"},
	{"ours", "a panic in a resolver or marshaller ends one operation and no neighbour's", "TestAPanicEndsOneOperation"},
	{"ours", "so does one in a hook or the recovery itself", "TestAPanicInAHookEndsOneOperation"},
	{"ours", "so does one in the error presenter", "TestAPanicInAnErrorPresenterEndsOneOperation"},
	{"ours", "a panic as a socket ends keeps nothing", "TestAPanicAsASocketEndsKeepsNothing"},
	{"ours", "a slow reader holds up nobody, and is cut off after the write deadline", "TestASlowReaderHoldsUpNobody"},
	{"ours", "state coalesces for a slow reader", "TestStateCoalescesForASlowReader"},
	{"ours", "a slow link is not a dead one, either way", "TestASlowLinkIsNotADeadOne"},
	{"ours", "a slow upload is a sign of life", "TestASlowUploadIsNotSilence"},
	{"ours", "a peer that asks and does not read is given up", "TestAPeerThatAsksAndDoesNotReadIsGivenUp"},
	{"ours", "what waits for a peer is bounded in frames and bytes", "TestTheUrgentLaneIsBounded"},
	{"ours", "answers go ahead of data, and data waits for room", "TestDataWaitsForRoomAndUrgentGoesAhead"},
	{"ours", "a flood is read no faster than allowed, control frames too", "TestAFloodIsReadNoFasterThanAllowed"},
	{"ours", "more operations than allowed are errors, and the socket stays", "TestCaps"},
	{"ours", "more sockets than a user may have are refused for now", "TestCaps"},
	{"ours", "a socket too many of an address is told to come back; a flood is not upgraded", "TestASocketTooManyIsToldToComeBack"},
	{"ours", "a silent peer is given up", "TestSilenceIsGivenUpAfter45Seconds"},
	{"ours", "one that answers pings stays", "TestWhoAnswersPingsStays"},
	{"ours", "round trips are measured", "TestLatencyIsOfTheLastFive"},
	{"ours", "an operation knows its socket", "TestOperationsKnowTheirSocket"},
	{"ours", "an operation ends with its socket, whatever its context came from", "TestOperationsEndWithTheirSocket"},
	{"ours", "how a socket ended is told once, and rightly", "TestCloseInfoTellsWhoAndHow"},
	{"ours", "every goroutine ends with its socket, however that ends", "TestGoroutinesEndWithTheirSocket"},
	{"ours", "an idle socket is one goroutine", "TestAnIdleSocketIsOneGoroutine"},
}

func TestEveryRuleHasAProof(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				have[fn.Name.Name] = true
			}
		}
	}
	for _, r := range rules {
		if !have[r.test] {
			t.Errorf("%s: %q has no proof: there is no %s", r.protocol, r.rule, r.test)
		}
	}
}
