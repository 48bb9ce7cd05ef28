import { performance } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { ALICE, until } from "../browser.js";
import { emptyPage, Wire } from "./wire.js";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const heap = async () => {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise(r => setTimeout(r, 10));
  }
  return process.memoryUsage().heapUsed;
};

test("five rooms of 200 messages and a thousand presences take less than 10 MB, and an idle page runs next to nothing", async () => {
  const wire = new Wire();
  wire.replies.Sync = () => ({ sync: { ...emptyPage, messages: Array.from({ length: 1000 }, (_, i) => ({
    id: `m${i}`, clientMessageId: null, channelId: `c${i % 5}`, threadId: null, parentMessageId: null, senderId: ALICE, content: `message ${i} ${"x".repeat(80)}`, type: "text", metadata: null, mentions: [],
    seq: `${i}`, version: 1, createdAt: "2026-01-01T00:00:00Z", editedAt: null, deletedAt: null, delivery: null,
  })) } });
  const before = await heap(), { rt } = wire.tab({ storage: "memory" });
  rt.connect();
  await until("synchronized", () => rt.sync.get().state === "synchronized");
  const ids = Array.from({ length: 1000 }, (_, i) => `user-${i}`);
  ids.forEach(id => rt.presence.user(id).subscribe(() => {}));
  for (let i = 0; i < 5; i++) rt.timeline(`c${i}`).subscribe(() => {});
  await until("watched", () => wire.of("PresenceChanged").length);
  const op = wire.of("PresenceChanged")[0]!;
  ids.forEach(userId => op.socket.next(op.id, { presenceChanged: { userId, status: "online", customStatus: { text: "busy with it", emoji: null, expiresAt: null }, lastSeenAt: null, device: null } }));
  await until("all told", () => rt.presence.all.get().size === 1000);
  expect(rt.timeline("c0").get()).toHaveLength(200);
  wire.operations.length = 0;
  const used = await heap() - before;
  console.log(`heap: ${(used / 1e6).toFixed(1)} MB`);
  expect(used).toBeLessThan(10e6);

  await new Promise(r => setTimeout(r, 300)); // what was planned is done
  let least = 1; // of three seconds the quietest: the machine has others to run
  for (let i = 0; i < 3; i++) {
    const begun = performance.eventLoopUtilization();
    await new Promise(r => setTimeout(r, 1000));
    least = Math.min(least, performance.eventLoopUtilization(begun).utilization);
  }
  console.log(`idle: ${(least * 100).toFixed(2)} % of a core`);
  expect(least).toBeLessThan(0.01);
  expect(wire.operations).toEqual([]);
  wire.browser.close();
  rt.close();
});
