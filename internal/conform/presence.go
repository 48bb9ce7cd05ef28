package conform

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// is says whether something at a path has a text.
func is(path, text string) func(value) bool {
	return func(v value) bool { return v.at(path).String() == text }
}

// automatic puts a user's status and line back after the check.
func automatic(c *C, u *user) {
	c.cleanup(func(c *C) { c.ask(u, `mutation { a: setPresence(status: online) { id } b: clearCustomStatus { id } }`) })
}

func ids(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"00000000-0000-4000-8000-%012d"`, 100_000+i)
	}
	return "[" + strings.Join(all, ",") + "]"
}

// ahead is a time so far from now.
func ahead(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

// lead is how far ahead something may end that a stream is to tell of before: many
// times as long as the stream needs for carol's status to change and back.
func lead(c *C, st *stream) time.Duration {
	began := time.Now()
	for _, s := range []string{"away", "online"} {
		c.ask(c.carol, `mutation { setPresence(status: %s) { status } }`, s)
		st.until(c, s, is("presenceChanged.status", s))
	}
	return time.Second + 10*time.Since(began)
}

// statuses are the rules of what a user shows.
func statuses() []check {
	return []check{
		{"presence: a user online is seen online, and a user never seen offline", func(c *C) {
			v := c.ask(c.bob, `{ a: presence(userId: %q) { status } b: presence(userId: %q) { %s } }`, aliceID, nobodyID, seen)
			c.same("alice", v.at("a.status"), "online")
			c.same("nobody", v.at("b").json(), fmt.Sprintf(`{"customStatus":null,"device":null,"id":%q,"lastSeenAt":null,"status":"offline","userId":%q}`, nobodyID, nobodyID))
		}},
		{"presence: presences come in the order asked, each once", func(c *C) {
			v := c.ask(c.bob, `{ presences(userIds: [%q, %q, %q, %q]) { userId } }`, carolID, nobodyID, aliceID, carolID)
			c.same("users", v.at("presences").each("userId"), []string{carolID, nobodyID, aliceID})
		}},
		{"presence: ids may be in upper case, and are answered in lower", func(c *C) {
			c.same("id", c.ask(c.bob, `{ presence(userId: %q) { userId } }`, strings.ToUpper(nobodyID)).at("presence.userId"), nobodyID)
		}},
		{"presence: ids over maxIds are refused, and the limit is named", func(c *C) {
			most := c.e.config.at("maxIds").num()
			c.ask(c.bob, `{ presences(userIds: %s) { id } }`, ids(most))
			p := c.refused(c.bob, "validation-failed", `{ presences(userIds: %s) { id } }`, ids(most+1))
			c.that(strings.Contains(strings.ReplaceAll(p.Message, ",", ""), fmt.Sprint(most)), "%s", p.Message)
			c.watch(c.bob, `subscription { presenceChanged(userIds: %s) { id } }`, ids(most+1)).ends(c, "validation-failed")
		}},
		{"presence: presenceChanged tells the state of each, and then changes", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q, %q, %q]) { userId status } }`, aliceID, carolID, nobodyID)
			var first []string
			for range 3 {
				first = append(first, st.next(c, "a first state").at("presenceChanged.userId").String())
			}
			slices.Sort(first)
			c.same("first", first, []string{aliceID, carolID, nobodyID})
			for _, s := range []string{"busy", "away", "online"} {
				c.ask(c.carol, `mutation { setPresence(status: %s) { status } }`, s)
				c.same("carol", st.next(c, s).at("presenceChanged").json(), fmt.Sprintf(`{"status":%q,"userId":%q}`, s, carolID))
			}
		}},
	}
}

// choosing are the rules of what a user chooses to show.
func choosing() []check {
	return []check{
		{"presence: a status by hand ends at expiresAt by itself", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { status } }`, carolID)
			st.next(c, "the state")
			soon := lead(c, st)
			c.ask(c.carol, `mutation { setPresence(status: busy, expiresAt: %q) { status } }`, ahead(soon))
			st.until(c, "busy", is("presenceChanged.status", "busy"))
			st.until(c, "online again", is("presenceChanged.status", "online"))
		}},
		{"presence: expiresAt in the past is refused", func(c *C) {
			c.refused(c.carol, "validation-failed", `mutation { setPresence(status: busy, expiresAt: "2020-01-01T00:00:00Z") { status } }`)
			c.refused(c.carol, "validation-failed", `mutation { setCustomStatus(input: { text: "x", expiresAt: "2020-01-01T00:00:00Z" }) { status } }`)
		}},
		{"presence: a custom status is seen, stays as it is, and is cleared", func(c *C) {
			automatic(c, c.carol)
			c.ask(c.carol, `mutation { setCustomStatus(input: { text: "in a café", emoji: "☕" }) { status } }`)
			p := sees(c, c.bob, carolID, "the line", func(p value) bool { return p.at("customStatus.text").String() == "in a café" })
			c.same("emoji", p.at("customStatus.emoji"), "☕")
			c.ask(c.carol, `mutation { clearCustomStatus { status } }`)
			sees(c, c.bob, carolID, "no line", func(p value) bool { return p.at("customStatus").null() })
		}},
		{"presence: the server clears a custom status at expiresAt", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { status customStatus { text } } }`, carolID)
			st.next(c, "the state")
			soon := lead(c, st)
			c.ask(c.carol, `mutation { setCustomStatus(input: { text: "soon over", expiresAt: %q }) { status } }`, ahead(soon))
			st.until(c, "the line", is("presenceChanged.customStatus.text", "soon over"))
			st.until(c, "no line", func(v value) bool { return v.at("presenceChanged.customStatus").null() })
		}},
		{"presence: a custom status past its limits is refused", func(c *C) {
			automatic(c, c.carol)
			most := c.e.config.at("maxStatusLength").num()
			c.ask(c.carol, `mutation { setCustomStatus(input: { text: %q }) { status } }`, strings.Repeat("é", most))
			for _, input := range []string{`text: "` + strings.Repeat("x", most+1) + `"`, `emoji: "☕☕"`, `emoji: "x"`} {
				c.refused(c.carol, "validation-failed", `mutation { setCustomStatus(input: { %s }) { status } }`, input)
			}
		}},
		{"presence: myPresence is one's own, whole, on every device", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.carol, `subscription { myPresenceChanged { userId status manualStatus shownStatus invisible sessions { id } } }`)
			c.that(st.next(c, "the state").at("myPresenceChanged.sessions").one("id", c.carol.live.ack.at("sessionId").String()).v != nil, "the session of a socket is not there")
			c.ask(c.carol, `mutation { setPresence(status: busy) { status } }`)
			v, _ := st.until(c, "busy", is("myPresenceChanged.manualStatus", "busy"))
			c.same("status, shown", v.at("myPresenceChanged.status").String()+v.at("myPresenceChanged.shownStatus").String(), "busybusy")
		}},
	}
}

// members are the rules of a channel's presence.
func members() []check {
	return []check{
		{"presence: channelPresence orders by status and id, and pages without gap or double", func(c *C) {
			whole := c.ask(c.bob, `{ channelPresence(channelId: %q) { totalCount nodes { userId status } } }`, general).at("channelPresence")
			var order, paged []string
			for _, n := range whole.at("nodes").list() {
				order = append(order, fmt.Sprint(slices.Index([]string{"online", "away", "busy", "offline"}, n.at("status").String()))+n.at("userId").String())
			}
			c.that(slices.IsSorted(order), "the order is %v", order)
			c.same("totalCount", whole.at("totalCount"), len(order))
			for after, more := "", true; more; {
				v := c.ask(c.bob, `{ channelPresence(channelId: %q, first: 2%s) { nodes { userId } pageInfo { hasNextPage endCursor } } }`, general, after).at("channelPresence")
				paged = append(paged, v.at("nodes").each("userId")...)
				after, more = fmt.Sprintf(", after: %q", v.at("pageInfo.endCursor")), v.at("pageInfo.hasNextPage").v == true
				c.that(len(paged) <= len(order), "pages without end: %v", paged)
			}
			c.same("pages", paged, whole.at("nodes").each("userId"))
		}},
		{"presence: channelPresence filters, and agrees with the counts", func(c *C) {
			automatic(c, c.carol)
			c.ask(c.carol, `mutation { setPresence(status: busy) { status } }`)
			sees(c, c.bob, carolID, "busy", status("busy"))
			for _, s := range []string{"online", "away", "busy", "offline"} {
				v := c.ask(c.bob, `{ channelPresence(channelId: %q, status: [%s]) { totalCount nodes { status } } channelPresenceCounts(channelId: %q) { online away busy offline } }`, team, s, team)
				c.same(s, v.at("channelPresence.totalCount"), v.at("channelPresenceCounts."+s))
				for _, got := range v.at("channelPresence.nodes").each("status") {
					c.same("filtered", got, s)
				}
			}
		}},
		{"presence: a forged cursor is refused", func(c *C) {
			c.refused(c.bob, "validation-failed", `{ channelPresence(channelId: %q, after: "forged") { totalCount } }`, general)
			c.refused(c.bob, "validation-failed", `{ contacts(after: "forged") { totalCount } }`)
		}},
		{"presence: presenceWindow is a snapshot, then changes with absolute counts", func(c *C) {
			automatic(c, c.carol)
			st := c.watch(c.bob, `subscription { presenceWindow(channelId: %q) { snapshot presences { userId status } counts { online away busy offline } } }`, team)
			v := st.next(c, "a snapshot").at("presenceWindow")
			c.that(v.at("snapshot").v == true && len(v.at("presences").list()) == 3, "%s", v.json())
			busy := v.at("counts.busy").num()
			c.ask(c.carol, `mutation { setPresence(status: busy) { status } }`)
			v, _ = st.until(c, "carol busy", func(v value) bool {
				return v.at("presenceWindow.presences").one("userId", carolID).at("status").String() == "busy"
			})
			c.same("busy", v.at("presenceWindow.counts.busy"), busy+1)
			c.that(v.at("presenceWindow.snapshot").v == false, "a change is no snapshot")
		}},
	}
}

// choices are the rules of settings, contacts and blocks.
func choices() []check {
	return []check{
		{"settings: the defaults are the contract's", func(c *C) {
			c.ask(c.carol, `mutation { resetPresenceSettings { id } }`)
			c.same("defaults", c.ask(c.carol, `{ presenceSettings { %s } }`, settingFields).at("presenceSettings").json(),
				`{"allowDeliveryReceipts":true,"allowReadReceipts":true,"broadcastTyping":true,"invisibleMode":false,"showLastSeen":true,"showOnlineStatus":true,"typingVisibility":"everyone","visibility":"everyone"}`)
		}},
		{"settings: a change is partial, and told to one's own devices", func(c *C) {
			st := c.watch(c.carol, `subscription { presenceSettingsChanged { showLastSeen showOnlineStatus } }`)
			st.next(c, "the settings")
			c.change(c.carol, "showLastSeen: false")
			v, _ := st.until(c, "the change", is("presenceSettingsChanged.showLastSeen", "false"))
			c.same("another", v.at("presenceSettingsChanged.showOnlineStatus"), "true")
		}},
		{"settings: an explicit null, and nothing at all, are refused", func(c *C) {
			c.refused(c.carol, "validation-failed", `mutation { updatePresenceSettings(input: { showLastSeen: null }) { id } }`)
			c.refused(c.carol, "validation-failed", `mutation { updatePresenceSettings(input: {}) { id } }`)
		}},
		{"settings: against a stale base the stricter value wins", func(c *C) {
			c.change(c.carol, "showLastSeen: true, visibility: everyone")
			base := c.ask(c.carol, `{ presenceSettings { updatedAt } }`).at("presenceSettings.updatedAt")
			c.change(c.carol, "visibility: nobody, showLastSeen: false")
			v := c.ask(c.carol, `mutation { updatePresenceSettings(input: { visibility: contacts, showLastSeen: true }, baseUpdatedAt: %q) { visibility showLastSeen } }`, base)
			c.same("settings", v.at("updatePresenceSettings").json(), `{"showLastSeen":false,"visibility":"nobody"}`)
		}},
		{"contacts: they are listed by hand or by having written, and alice's are bob and carol", func(c *C) {
			nodes := c.ask(c.alice, `{ contacts { nodes { userId explicit } } }`).at("contacts.nodes")
			c.same("bob explicit", nodes.one("userId", bobID).at("explicit"), "false")
			c.same("carol explicit", nodes.one("userId", carolID).at("explicit"), "true")
			c.that(nodes.one("userId", daveID).null(), "dave, to whom alice never wrote, is a contact")
		}},
		{"contacts: what is for contacts is shown to a contact of the target's only", func(c *C) {
			c.change(c.carol, "visibility: contacts")
			sees(c, c.bob, carolID, "nothing", status("offline"))
			c.cleanup(func(c *C) { c.ask(c.carol, `mutation { removeContact(userId: %q) }`, bobID) })
			c.ask(c.carol, `mutation { addContact(userId: %q) }`, bobID)
			sees(c, c.bob, carolID, "online", status("online"))
			c.ask(c.carol, `mutation { removeContact(userId: %q) }`, bobID)
			sees(c, c.bob, carolID, "nothing again", status("offline"))
		}},
		{"contacts: adding and blocking answer alike for known and unknown users", func(c *C) {
			for _, of := range []string{nobodyID, frankID} {
				for _, m := range []string{"addContact", "removeContact", "blockUser", "unblockUser"} {
					c.same(m, c.ask(c.carol, `mutation { a: %s(userId: %q) }`, m, of).at("a"), "true")
				}
			}
		}},
		{"settings: previewPresence is how another would see one", func(c *C) {
			c.change(c.carol, "visibility: contacts")
			v := c.ask(c.carol, `{ a: previewPresence(as: stranger) { status } b: previewPresence(as: contact) { status } c: previewPresence(as: user, userId: %q) { status } }`, bobID)
			c.same("stranger, contact, bob", v.json(), `{"a":{"status":"offline"},"b":{"status":"online"},"c":{"status":"offline"}}`)
			c.refused(c.carol, "validation-failed", `{ previewPresence(as: stranger, userId: %q) { status } }`, bobID)
		}},
	}
}

// sessions are the rules of one's own connections.
func sessions() []check {
	return []check{
		{"session: the ack tells who, since when and until when", func(c *C) {
			ack := c.socket(c.bob).ack
			c.same("user", ack.at("userId"), bobID)
			for _, key := range []string{"sessionId", "role", "serverTime", "heartbeatIntervalMs"} {
				c.that(!ack.at(key).null(), "no %s in %s", key, ack)
			}
		}},
		{"session: a socket with presence false does not bring its user online", func(c *C) {
			automatic(c, c.carol)
			c.cleanup(func(c *C) {
				c.start(c.carol.live, `mutation { heartbeat(input: { active: true, hidden: false }) { id } }`).next(c, "an answer")
				sees(c, c.bob, carolID, "online", status("online"))
			})
			c.start(c.carol.live, `mutation { setPresence(status: offline) { status } }`).next(c, "an answer")
			sees(c, c.bob, carolID, "offline", status("offline"))
			st := c.watch(c.bob, `subscription { presenceChanged(userIds: [%q]) { status } }`, carolID)
			st.next(c, "the state")
			c.socket(c.carol)
			c.enter(c.carol, nil)
			c.same("status", st.next(c, "online by the socket that counts").at("presenceChanged.status"), "online")
		}},
		{"session: a socket is among mySessions, and current to itself", func(c *C) {
			s := c.enter(c.bob, map[string]any{"device": map[string]string{"id": c.e.text(), "type": "desktop", "name": "conform"}})
			mine := c.start(s, `{ mySessions { id current device name } }`).next(c, "sessions").at("mySessions").one("id", s.ack.at("sessionId").String())
			c.same("session", mine.at("current").String()+mine.at("device").String()+mine.at("name").String(), "truedesktopconform")
		}},
		{"session: signOutSession closes one's own socket, once", func(c *C) {
			s := c.enter(c.bob, nil)
			of := s.ack.at("sessionId")
			c.same("first", c.ask(c.bob, `mutation { signOutSession(sessionId: %q) }`, of).at("signOutSession"), "true")
			s.closes(c, 4403)
			c.eventually(c.bob, "gone", func(v value) bool { return v.at("mySessions").one("id", of.String()).null() }, `{ mySessions { id } }`)
		}},
		{"leak: another's session is answered as one that there is not, and goes on", func(c *C) {
			s := c.enter(c.alice, nil)
			for _, of := range []string{s.ack.at("sessionId").String(), nobodyID} {
				c.same(of, c.ask(c.bob, `mutation { signOutSession(sessionId: %q) }`, of).at("signOutSession"), "false")
			}
			a := c.refused(c.bob, "access-denied", `mutation { refreshSession(token: %q, sessionId: %q) { id } }`, c.bob.token, s.ack.at("sessionId"))
			b := c.refused(c.bob, "access-denied", `mutation { refreshSession(token: %q, sessionId: %q) { id } }`, c.bob.token, nobodyID)
			c.same("another's and none", a.same(), b.same())
			c.alive(s)
		}},
		{"session: refreshSession goes on with the same user's token, and with nobody else's", func(c *C) {
			s := c.socket(c.bob)
			live := c.start(s, forever)
			live.next(c, "the settings")
			v := c.start(s, `mutation { refreshSession(token: %q) { userId sessionId } }`, c.bob.token).next(c, "an answer")
			c.same("session", v.at("refreshSession.userId").String()+v.at("refreshSession.sessionId").String(), bobID+s.ack.at("sessionId").String())
			c.start(s, `mutation { refreshSession(token: %q) { userId } }`, c.alice.token).refusal(c, "access-denied")
			c.start(s, `mutation { refreshSession(token: "a.bad.token") { userId } }`).refusal(c, "invalid-jwt")
			c.change(c.bob, "showLastSeen: false")
			live.next(c, "a change on the same subscription")
		}},
		{"session: revokeSessions is the admin's", func(c *C) {
			c.refused(c.bob, "access-denied", `mutation { revokeSessions(userId: %q) }`, aliceID)
			c.refused(c.bob, "access-denied", `mutation { revokeSessions(userId: %q) }`, bobID)
		}},
		{"session: a heartbeat over HTTP begins a session, which signOutSession ends", func(c *C) {
			of := c.ask(c.bob, `mutation { heartbeat(input: { deviceId: %q, device: android, active: true }) { id device idle } }`, c.e.text()).at("heartbeat")
			c.cleanup(func(c *C) { c.ask(c.bob, `mutation { signOutSession(sessionId: %q) }`, of.at("id")) })
			c.same("device", of.at("device"), "android")
			c.that(!c.ask(c.bob, `{ mySessions { id } }`).at("mySessions").one("id", of.at("id").String()).null(), "it is not among mySessions")
		}},
	}
}

// refusal is the error an operation answers, as error or within its next.
func (st *stream) refusal(c *C, code string) {
	m := c.frame(st.s, st.in, "a refusal")
	v := m.payload(c)
	got := v.at("errors.0.extensions.code")
	if m.Type == "error" {
		got = v.at("0.extensions.code")
	}
	if got.String() != code {
		c.failf("%s: want %s, got %s", brief(st.query), code, brief(m.String()))
	}
}
