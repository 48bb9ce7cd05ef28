// Whoever sets a computer's clock back by a day waits for nothing until tomorrow.
import { expect, test, vi } from "vitest";
import { connected, eachOnItsWire, type Operation, pass, refusal, wire } from "./wire.js";

eachOnItsWire();
const back = () => vi.setSystemTime(Date.now() - 86_400_000);
const answer = (error: { code: string; retryAfterMs: number } | null) => (op: Operation) => ({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string; channelId: string }[]).map(i => ({
  clientMessageId: i.clientMessageId, duplicate: false, status: error ? "failed" : "sent", error: error && { ...error, message: "", retryable: true },
  message: error ? null : { id: i.clientMessageId, channelId: i.channelId, seq: "1", version: 1, mentions: [] },
})) } });

test("a message that is to be tried again", async () => {
  const tab = await connected(wire), { queue } = tab.rt;
  for (const reply of [answer({ code: "rate-limited", retryAfterMs: 5000 }), () => refusal("rate-limited", true, { retryAfterMs: 5000 })]) {
    wire.replies.Send = reply;
    await tab.rt.send("c1", "x");
    await pass(200);
    expect(queue.get().pending).toBe(1);
    back();
    wire.replies.Send = answer(null);
    await pass(6000);
    expect(queue.get().items).toEqual([]);
  }
});

test("while a message waits, those behind it are not looked at over and over", async () => {
  const tab = await connected(wire);
  wire.replies.Send = answer({ code: "rate-limited", retryAfterMs: 20_000 });
  for (const text of ["1", "2"]) await tab.rt.send("c1", text);
  await pass(500);
  let shown = 0;
  tab.rt.queue.subscribe(() => shown++);
  await pass(10_000);
  expect(shown).toBe(0);
});

test("a dial when the page is shown, and the end of a socket that is dead", async () => {
  const tab = await connected(wire), state = () => tab.rt.connection.get().state;
  await pass(20_000);
  wire.up = false;
  wire.socket.end(1006, "");
  await pass(2000);
  back();
  wire.up = true;
  tab.window.dispatchEvent(new Event("focus"));
  await pass(1000);
  expect(state()).toBe("connected");
  await pass(20_000);
  back();
  wire.answers = false;
  const dead = wire.socket;
  await pass(25_000);
  expect(dead.readyState).toBe(3);
});

test("a token that ends", async () => {
  wire.ack = () => ({ sessionId: "s", userId: null, role: "user", serverTime: "2020-01-01T00:00:00Z", heartbeatIntervalMs: 30_000, expiresAt: "2020-01-01T00:15:00Z" }) as never;
  wire.replies.Refresh = () => ({ refreshSession: { expiresAt: null } });
  await connected(wire);
  back();
  await pass(14 * 60_000 + 1000);
  expect(wire.of("Refresh").length).toBe(1);
});

test("input, and that there is none", async () => {
  const tab = await connected(wire), move = () => tab.window.dispatchEvent(new Event("mousemove"));
  await pass(40_000);
  back();
  move();
  await pass(10);
  expect(wire.of("Heartbeat").map(o => (o.variables.input as { active: boolean }).active)).toEqual([true]);
  back();
  await pass(700_000);
  expect(tab.rt.presence.activity.get().idle).toBe(true);
});

test("typing goes on, and ends", async () => {
  const { rt } = await connected(wire);
  rt.typing.start("c1");
  await pass(500);
  back();
  for (let i = 0; i < 8; i++) {
    rt.typing.input("c1", "x".repeat(i + 1));
    await pass(500);
  }
  expect(wire.of("StartTyping").length).toBeGreaterThan(1);
  back();
  await pass(11_000);
  expect(rt.typing.typing("c1")).toBe(false);
});
