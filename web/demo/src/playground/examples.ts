const alice = "00000000-0000-4000-8000-000000000001", general = "00000000-0000-4000-9000-000000000001";

/** What one may begin with, each a tab; the ids are the demo world's. */
export const examples = [
  `subscription WatchAlice {
  presenceChanged(userIds: ["${alice}"]) {
    userId
    status
    lastSeenAt
    customStatus { text emoji }
  }
}`,
  `mutation SetMyStatus {
  setPresence(status: busy) { userId status }
}`,
  `mutation SetACustomStatus {
  setCustomStatus(input: { text: "Lunch", emoji: "🍜" }) { status customStatus { text emoji } }
}`,
  `mutation GoInvisible {
  setInvisibleMode(enabled: true) { invisibleMode }
}`,
  `query MyPresence {
  myPresence {
    status shownStatus invisible
    sessions { id device idle current latencyMs connectionQuality }
  }
}`,
  `subscription AChannel {
  presenceWindow(channelId: "${general}") {
    snapshot
    counts { online away busy offline }
    presences { userId status }
  }
}`,
  `query ServerSettings {
  realtimeConfig { serverTime heartbeatIntervalMs idleAfterMs offlineGraceMs }
}`,
].map(query => ({ query }));
