package nchatrealtime

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// leaks is every way that was thought of in which somebody could learn what a user
// hides, by the kind of trace it leaves, and the tests that fail when it can. What is
// told on purpose is in docs/security.md, which holds this list as a table.
var leaks = []struct{ row, leak, tests string }{
	{"E1", "the disclosure tells of invisibility", "presence.TestDisclosureNeverTellsOfInvisibility"},
	{"E2", "hidden, blocked and unknown look other than never seen", "presence.TestUnknownHiddenBlockedAndNeverSeenAreByteIdentical"},
	{"E3", "going invisible looks other than disconnecting: no event, or one too soon", "presence.TestInvisibleIsAnOrdinaryDisconnection presence.TestInvisibleLooksAsADisconnectionDoes"},
	{"E4", "a stream that may show nothing says more than one of a user who does nothing", "presence.TestAStreamThatMayShowNothingIsSilent"},
	{"E5", "heartbeats, and what changes nothing, reach viewers", "presence.TestAHeartbeatThatChangesNothingWritesNothing presence.TestNothingHiddenIsSeen"},
	{"E6", "last seen moves while invisible", "presence.TestInvisibleIsAnOrdinaryDisconnection"},
	{"E7", "last seen is exact, or the order knows it", "presence.TestOthersNeverSeeDeviceOrSeconds presence.TestListsAndCountsAreTheViewersOwn"},
	{"E8", "a custom status vanishes, changes or outlives its expiry with invisibility", "presence.TestInvisibleIsAnOrdinaryDisconnection presence.TestFrozenLineStillRunsOut"},
	{"E9", "typing while invisible is shown, then or later, or when it began", "presence.TestTypingIsToldFromWhenItMayBeSeen presence.TestAGateKnowsOfAHidingThatWasAnswered presence.TestAGateThatIsSureNeedsNobodyToWait typing.TestOrderIsByBeginning e2e.TestWhatWasTypedInHidingIsNotTold"},
	{"E10", "the sentence or the count of who types knows the hidden", "typing.TestText e2e.TestTypingIsAsPrivateAsItsOwnerChose"},
	{"E11", "typing is shown past what its owner chose", "presence.TestWhoMaySeeWhomTyping typing.TestWhoMaySeeLessIsOfAnotherClass e2e.TestTypingIsAsPrivateAsItsOwnerChose"},
	{"E12", "reading is told of whoever shares none, or is invisible", "receipt.TestWhoLearnsOfReading"},
	{"E13", "delivery tells that a device is there", "receipt.TestWhoLearnsOfReading receipt.TestWhatMayNotBeAcknowledged"},
	{"E14", "counts of receipts count who shares none", "receipt.TestCountsAgainstAModel"},
	{"E15", "who shares no receipts sees them, or peeks", "receipt.TestWhoLearnsOfReading presence.TestReciprocityCannotBePeekedAround presence.TestOldSwitchesAreNoWayAroundReciprocity"},
	{"E16", "who shares no status or last seen sees them, or peeks", "presence.TestReciprocity presence.TestReciprocityCannotBePeekedAround presence.TestOldSwitchesAreNoWayAroundReciprocity"},
	{"E17", "counts count the hidden", "presence.TestListsAndCountsAreTheViewersOwn"},
	{"E18", "filters, order, pages or cursors know the hidden status", "presence.TestListsAndCountsAreTheViewersOwn presence.TestACursorHoldsWhatItsHolderSaw"},
	{"E19", "Hasura shows our tables", "hasura.TestEveryNameExists"},
	{"E20", "positions or versions count hidden activity", "feed.TestACursorHoldsGoodForItsReader"},
	{"E21", "gaps in numbers tell of hidden events", "feed.TestSyncLaw"},
	{"E22", "doorbells carry status or text", "presence.TestDoorbellsCarryIdsOnly"},
	{"E23", "denied, unknown and another tenant's answer differently", "presence.TestDeniedUnknownAndForeignAnswerAlike e2e.TestTypingWhereOneMayNotBe e2e.TestWhatOneMayNotSeeAnswersAlike"},
	{"E24", "time tells who is hidden, connected or there", "presence.TestTimeDoesNotTellWhoIsConnected presence.TestHiddenIdsCostTheSameRows presence.TestUnknownIdsCostTheSameStatements receipt.TestAnOldMessagesReceiptsAreFoundAmongMany e2e.TestWhatIsHiddenCostsNothing feed.TestWhatIsHiddenFillsNoPage"},
	{"E25", "a short absence between two connections is told", "presence.TestReconnectWithinTheGraceIsNoAbsence"},
	{"E26", "limits count the visible only", "e2e.TestBadInputGetsATypedErrorAndNothingElse"},
	{"E27", "a viewer makes itself a contact", "presence.TestBlocksAndContactsTakeEffectAtOnceOnLiveStreams presence.TestContactsByMessagesAreNeverStale presence.TestWhichDirectChannelsMakeContacts"},
	{"E28", "presenceVisibility says why", "presence.TestDisclosureNeverTellsOfInvisibility app.TestAskingWhatOneMaySeeHasARate"},
	{"E29", "a connection is told as a membership", "e2e.TestSocketsAreNoMembers"},
	{"E30", "nchat's own read columns are written for everybody to read", "receipt.TestTheOldColumnsTellNothingPrivate receipt.TestTheOldColumnsOfThreadsTellNothingPrivate config.TestDefaults"},
	{"E31", "the sender learns who was pushed, and so was away; or who is told, that another was not", "push.TestWhoIsTold push.TestASecondLookIsOnesOwn push.TestEachIsAskedAboutAtItsOwnTime e2e.TestThePushIsNotToldToTheSender"},
	{"E32", "the device is shown", "presence.TestOthersNeverSeeDeviceOrSeconds"},
	{"E33", "a message sent while invisible shows more than itself", "e2e.TestWritingWhileInvisible"},
	{"E34", "one writes while invisible and is not warned", "e2e.TestWritingWhileInvisible"},
	{"E35", "settings and their changes are told to others", "presence.TestSettingsStreamAndStaleBase presence.TestWithoutAUserNothingIsDone"},
	{"E36", "a block looks other than never having been seen, but where it is told on purpose", "presence.TestUnknownHiddenBlockedAndNeverSeenAreByteIdentical e2e.TestABlockClosesADirectChannel receipt.TestAMoveKeepsWhomItsChannelKnows hasura.TestTheOldPresenceThisServerWrites"},
	{"E37", "logs and metrics name users; an admin reads a user's and nobody knows", "app.TestWhatAnAdminReadsOfAUserIsWrittenDown presence.TestAnOperatorSeesSessionsAndNobody e2e.TestOperatorsSeeNobody e2e.TestWhatIsSeenFromOutside e2e.TestEveryMetricMoves app.TestWhoseSessionsAnAdminEndsIsWrittenDown"},
	{"E38", "a history of presence or reading is kept", "presence.TestInvisibleIsAnOrdinaryDisconnection receipt.TestWhoLearnsOfReading receipt.TestWhatIsReadInPrivateLeavesNoMoment"},
	{"E39", "a cursor brings what was before a right, or after it; or a wait outlives it", "feed.TestMembershipDecides feed.TestSyncLaw feed.TestWhoIsBannedIsNoLongerTold e2e.TestAWaitingSyncEndsWithItsToken e2e.TestWhoIsSuspendedIsOutAtOnce"},
	{"E40", "session headers are believed of anybody, or of a revoked user", "auth.TestRules e2e.TestWebhooksLetInHasuraAlone e2e.TestBehindHasura e2e.TestARevokedUserIsRefusedThroughHasura"},
	{"E41", "suggestions and introspection by a role show what is not its", "gqlhttp.TestPresenter hasura.TestRolesAreHeldToTheSchema"},
	{"E42", "tenants meet", "presence.TestTenantsNeverMeet"},
	{"E43", "offline is stamped when it was found out, not when it happened", "presence.TestADeadNodesUsersGoOfflineAndNobodyElse"},
	{"E44", "an outage shows only those who are visible", "presence.TestSessionsSurviveWhatTheDatabaseForgets"},
	{"E45", "something in between keeps an answer", "gqlhttp.TestRules"},
	{"", "visibility is not what its owner chose, in some combination of settings", "presence.TestDecisionTable presence.TestWhoSeesWhatByEachVisibility"},
	{"", "two devices at odds show more than either chose", "presence.TestStricterWins"},
	{"", "members of a channel one may not read", "presence.TestAWindowOnAChannel"},
	{"", "errors or missing input show instead of hide", "presence.TestOnDoubtNothingIsShown"},
}

// TestEveryLeakHasATest: each row names tests that are there, and docs/security.md
// says the same.
func TestEveryLeakHasATest(t *testing.T) {
	t.Parallel()
	have := tests(t)
	table, rows := "| | the leak | its tests |\n|---|---|---|\n", 0
	for _, l := range leaks {
		if l.row != "" {
			if rows++; l.row != fmt.Sprintf("E%d", rows) {
				t.Errorf("%s stands where E%d is to be", l.row, rows)
			}
		}
		named := strings.Fields(l.tests)
		if len(named) == 0 {
			t.Errorf("%q has no test", l.leak)
		}
		for _, name := range named {
			if !have[name] {
				t.Errorf("%s %q: there is no %s", l.row, l.leak, name)
			}
		}
		table += "| " + l.row + " | " + l.leak + " | `" + strings.Join(named, "`, `") + "` |\n"
	}
	if rows != 45 {
		t.Errorf("%d rows of 45", rows)
	}
	doc, err := os.ReadFile("docs/security.md")
	if err != nil || !strings.Contains(string(doc), table) {
		t.Errorf("docs/security.md does not hold this table (%v):\n%s", err, table)
	}
}
