// A server that has enough says when to come again. Nobody comes sooner; nor, where it says the same each time, for ever as often.
import { describe, expect, test } from "vitest";
import type { Realtime } from "../../src/index.js";
import { connected, eachOnItsWire, type Operation, pass, refusal, wire } from "./wire.js";

eachOnItsWire();
const said = { code: "rate-limited", message: "", retryable: true, retryAfterMs: 1000 };
const refuse = () => refusal("rate-limited", true, { retryAfterMs: 1000 });
const fields = (op: Operation) => { // an error of each field: the longest counts
  const errors = [{ message: "", extensions: { ...said, retryAfterMs: 10 } }, { message: "", extensions: said }];
  op.socket.say({ id: op.id, type: "next", payload: { data: null, errors } });
  op.socket.say({ id: op.id, type: "complete" });
};
const row = (op: Operation) => ({ sendMessages: { results: (op.variables.input as { clientMessageId: string }[]).map(i => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: said })) } });
const gaps = (name: string, from = 0) => wire.of(name).slice(from).flatMap((o, i, all) => (i ? [(o.at - all[i - 1]!.at) / 1000] : []));

test.each<[string, string, (op: Operation) => unknown, (rt: Realtime) => unknown]>([
  ["a subscription", "Live", refuse, rt => rt.connection.live("subscription Live { x }" as never, {}, () => {})],
  ["a sync", "Sync", refuse, () => {}],
  ["a sync whose stream is refused", "Events", refuse, () => {}],
  ["a wish", "SetPresence", refuse, rt => rt.presence.setStatus("busy")],
  ["who is watched", "PresenceChanged", refuse, rt => rt.presence.watch("a")],
  ["a batch", "Send", refuse, rt => rt.send("c1", "x")],
  ["a message", "Send", row, rt => rt.send("c1", "x")],
  ["marks", "Acknowledge", refuse, rt => rt.delivery.read("c1", "m1")],
  ["marks, of each kind", "Acknowledge", fields, rt => rt.delivery.read("c1", "m1")],
])("%s: asked again after a second as the server says, then after ever longer", async (_, name, reply, begin) => {
  wire.replies[name] = reply;
  const { rt } = await connected(wire);
  void begin(rt);
  for (let s = 0, step = /Send|Sync|Events/.test(name) ? 1 : 27; s < 27; s += step) await pass(step * 1000); // digests and the disk take real time
  const waited = gaps(name);
  [1, 1.5, 3, 6, 12].forEach((least, i) => {
    expect(waited[i], `${waited}`).toBeGreaterThanOrEqual(least);
    expect(waited[i], `${waited}`).toBeLessThan(least + 1);
  });
});

test("what is queued waits as long as the server says, also where a sync is tried again meanwhile", async () => {
  wire.replies.Sync = refuse;
  wire.replies.Send = () => refusal("rate-limited", true, { retryAfterMs: 40_000 });
  const { rt } = await connected(wire);
  await rt.send("c1", "x");
  for (let s = 0; s < 12; s++) await pass(3000);
  expect([wire.of("Send").length, wire.of("Sync").length > 4]).toEqual([1, true]);
  await pass(5000);
  expect(wire.of("Send").length).toBe(2);
  wire.socket.end(1006, ""); // another connection may be to a server that has time
  await pass(3000);
  expect(wire.of("Send").length).toBe(3);
});

describe("marks that are refused for now", () => {
  test("wait as long as the server says, and those made meanwhile with them", async () => {
    const { rt } = await connected(wire);
    wire.replies.Acknowledge = () => new Promise(r => setTimeout(r, 500, refusal("rate-limited", true, { retryAfterMs: 60_000 })));
    rt.delivery.read("c1", "m1");
    await pass(1200); // on their way
    rt.delivery.read("c2", "m2");
    await pass(30_000);
    rt.delivery.read("c3", "m3");
    await pass(29_000);
    expect(wire.of("Acknowledge")).toHaveLength(1);
    await pass(3000);
    expect(wire.of("Acknowledge").map(o => (o.variables.read as unknown[]).length)).toEqual([1, 3]);
  });
  test("are tried soon again after a success, and on the next connection", async () => {
    const { rt } = await connected(wire), refused = async (begin: () => void) => {
      const from = wire.of("Acknowledge").length;
      wire.replies.Acknowledge = refuse;
      begin();
      await pass(14_000);
      return gaps("Acknowledge", from).slice(0, 3).map(Math.floor);
    };
    expect(await refused(() => rt.delivery.read("c1", "m1"))).toEqual([1, 1, 3]);
    wire.replies.Acknowledge = () => ({ acknowledgeDelivered: [], acknowledgeRead: [] });
    await pass(12_000);
    expect(await refused(() => rt.delivery.read("c1", "m2"))).toEqual([1, 1, 3]);
    expect(await refused(() => wire.socket.end(1006, ""))).toEqual([1, 1, 3]);
  });
});
