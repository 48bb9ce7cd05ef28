import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Tab } from "../browser.js";
import { connected, fakeTime, type Operation, pass, refusal, Wire } from "./wire.js";

let wire: Wire;
beforeEach(() => {
  fakeTime();
  wire = new Wire();
  wire.replies.Send = op => ({ sendMessages: { results: inputs(op).map(i => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: { code: "refused", message: "", retryable: false, retryAfterMs: null } })) } });
});
afterEach(() => {
  wire.browser.close();
  vi.useRealTimers();
});
const inputs = (op: Operation) => op.variables.input as unknown as { clientMessageId: string; content: string }[];
const sent = () => wire.of("Send").flatMap(op => inputs(op).map(i => [i.content, op.socket]));
/** What the tab queues is sent by itself: it leads. */
async function leads(tab: Tab, text: string, socket = wire.sockets.at(-1)) {
  await tab.rt.send("c1", text);
  await pass(1000);
  expect(sent().at(-1)).toEqual([text, socket]);
}

test.each([
  ["disconnects", (one: Tab) => one.rt.disconnect()],
  ["is refused for good", () => wire.sockets[0]!.end(4400, "no")],
  ["has no token that is accepted", async () => {
    const { ack } = wire;
    wire.ack = () => {
      queueMicrotask(() => wire.socket.end(4403, "expired"));
      return null as never;
    };
    wire.sockets[0]!.end(4403, "expired");
    await pass(5000);
    wire.ack = ack;
  }],
  ["finds no network, and another waits", async (one: Tab) => {
    one.network(false);
    await pass(11_000);
  }],
])("a tab that %s sends for nobody: the other does", async (_, happens) => {
  const one = await connected(wire);
  await pass(500);
  await leads(one, "of the first");
  await happens(one);
  await pass(100);
  expect(one.rt.connection.get().state).not.toBe("connected");
  const two = await connected(wire);
  await pass(6000);
  await leads(two, "of the second");

  // Once it can send again it does so when its turn comes.
  one.network(true);
  one.rt.connect();
  await pass(60_000);
  expect(one.rt.connection.get().state).toBe("connected");
  two.rt.close();
  await pass(100);
  await one.rt.send("c1", "of the first again");
  await pass(1000);
  expect(sent().at(-1)![0]).toBe("of the first again");
});

test("a tab alone leads on without a network, for what is read offline", async () => {
  const one = await connected(wire);
  await pass(500);
  one.network(false);
  await pass(60_000);
  one.rt.delivery.read("c1", "m1");
  await pass(500);
  one.rt.close();
  await pass(500);
  wire.replies.Acknowledge = () => refusal("unexpected", true);
  await connected(wire);
  await pass(2000);
  expect(wire.of("Acknowledge")[0]!.variables.read).toEqual([{ channelId: "c1", messageId: "m1" }]);
});

test("a tab that is suspended with the lead, and hears nothing, loses it to one that has something to send; one that is heard keeps it", async () => {
  const [one, two] = [await connected(wire), await connected(wire)], [of, ofTwo] = wire.sockets;
  await pass(500);
  await two.rt.send("c1", "heard");
  await pass(20_000);
  await two.rt.send("c1", "heard again");
  await pass(20_000);
  expect(sent()).toEqual([["heard", of], ["heard again", of]]);
  const [channel] = wire.browser.channels; // the first tab's: nothing is delivered to a frozen page
  channel!.onmessage = null;
  await two.rt.send("c1", "waits");
  await pass(1000);
  expect(sent()).toHaveLength(2);
  await pass(9000);
  expect(sent().slice(2)).toEqual([["waits", ofTwo]]);
  await one.rt.send("c1", "of who was suspended"); // it has lost the lead, and knows
  await pass(1000);
  expect(sent().at(-1)).toEqual(["of who was suspended", ofTwo]);
  two.rt.close();
  await pass(1000);
  await leads(one, "led again", of);
});

test("a lock that cannot be had now is asked for again with the next connection", async () => {
  const { request } = wire.browser.locks;
  wire.browser.locks.request = (() => Promise.reject(new DOMException("of this test", "InvalidStateError"))) as never;
  const one = await connected(wire);
  await pass(500);
  wire.browser.locks.request = request;
  wire.sockets[0]!.end(1006, "");
  await pass(5000);
  await leads(one, "at last");
});

test("a client that was closed begins anew with connect", async () => {
  const one = await connected(wire);
  await pass(500);
  one.network(false);
  await one.rt.send("c1", "waits");
  one.rt.close();
  one.network(true);
  one.rt.connect(); // at once
  await pass(2000);
  expect(sent().map(s => s[0])).toEqual(["waits"]);
  one.rt.close();
  await pass(2000);
  one.rt.connect();
  await pass(2000);
  await leads(one, "again");
});
