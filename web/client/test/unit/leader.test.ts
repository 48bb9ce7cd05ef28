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
async function leads(tab: Tab, text: string) {
  const socket = wire.sockets.at(-1);
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
