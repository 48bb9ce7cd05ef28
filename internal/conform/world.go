package conform

import "fmt"

// The demo world, by its fixed ids: who and what the suite speaks of. A server
// under test has it loaded, as `nchat-realtime dev` does.
var (
	aliceID, bobID, carolID, daveID, frankID = person(1), person(2), person(3), person(4), person(6)

	general   = room(1) // public, all six
	team      = room(2) // private: alice, bob, carol
	aliceBob  = room(3) // direct; both wrote
	aliceErin = room(5) // direct, and closed to bob and carol

	thread     = "00000000-0000-4000-a000-000000000001" // in general
	ofErin     = "00000000-0000-4000-b000-000000000011" // a message in aliceErin
	ofDave     = "00000000-0000-4000-b000-000000000009" // a message in a channel of dave and alice
	inGeneral  = "00000000-0000-4000-b000-000000000001" // alice's, in general
	nobodyID   = "00000000-0000-4000-8000-00000000dead" // no user
	noRoom     = "00000000-0000-4000-9000-00000000dead" // no channel
	noMessage  = "00000000-0000-4000-b000-00000000dead" // no message
	noThread   = "00000000-0000-4000-a000-00000000dead" // no thread
	threadRoot = "00000000-0000-4000-b000-000000000003"
)

func person(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }
func room(n int) string   { return fmt.Sprintf("00000000-0000-4000-9000-%012d", n) }
