import { expect, test, vi } from "vitest";
import { ALICE } from "../browser.js";
import { connected, eachOnItsWire, pass, refusal, wire } from "./wire.js";

eachOnItsWire();
const state = (t: Awaited<ReturnType<typeof connected>>) => t.rt.connection.get();

test("a loss is mended by itself, ever more slowly, and never given up", async () => {
  const tab = await connected(wire);
  expect(state(tab)).toMatchObject({ state: "connected", sessionId: "s1", interrupted: false });
  await pass(60_000);
  wire.up = false;
  wire.socket.end(1006, "");
  expect(state(tab)).toMatchObject({ state: "reconnecting", attempts: 1, wasOffline: true, quality: "unknown", sessionId: null });
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    waits.push(state(tab).retryAt! - Date.now());
    await pass(waits[i]!);
  }
  expect(waits).toEqual([750, 1500, 3000, 6000, 12_000, 22_500, 22_500, 22_500]); // three quarters, where chance is a half
  expect(wire.sockets.length).toBe(9);
  wire.up = true;
  await pass(22_500);
  expect(state(tab)).toMatchObject({ state: "connected", attempts: 0, wasOffline: true });
});

test("a blip is no interruption; five seconds are", async () => {
  const tab = await connected(wire), shown: boolean[] = [];
  await pass(20_000);
  tab.rt.connection.subscribe(() => { if (state(tab).interrupted !== shown.at(-1)) shown.push(state(tab).interrupted); });
  wire.socket.end(1006, "");
  await pass(1000);
  expect([state(tab).state, ...shown]).toEqual(["connected", false]);
  await pass(20_000);
  wire.up = false;
  wire.socket.end(1006, "");
  await pass(4900);
  expect(state(tab).interrupted).toBe(false);
  await pass(200);
  expect(state(tab).interrupted).toBe(true);
});

test("the server's word counts: when to come back, and that it need not", async () => {
  const tab = await connected(wire);
  await pass(20_000);
  wire.socket.end(1012, '{"retryAfterMs":4000}');
  expect(state(tab).retryAt! - Date.now()).toBe(4750);
  await pass(4750);
  expect(state(tab).state).toBe("connected");
  wire.socket.end(4400, "Invalid message");
  await pass(120_000);
  expect(state(tab)).toMatchObject({ state: "failed", error: { code: "4400", message: "Invalid message" } });
  expect(wire.sockets.length).toBe(2);
  tab.rt.connect(); // by hand it is tried again
  await pass(50);
  expect(state(tab).state).toBe("connected");
});

test("offline at once when the browser says so, back at once when it says otherwise", async () => {
  const tab = await connected(wire);
  tab.network(false);
  expect(state(tab)).toMatchObject({ state: "offline", wasOffline: true });
  await pass(3000);
  expect(wire.sockets.length).toBe(1);
  tab.network(true);
  await pass(20);
  expect(state(tab).state).toBe("connected");
  expect(wire.sockets.length).toBe(2);
});

test("after a sleep the socket is asked at once, and given up in three seconds", async () => {
  const tab = await connected(wire);
  await pass(500);
  wire.answers = false; // it died while the lid was closed
  vi.setSystemTime(Date.now() + 3_600_000); // no timer ran
  const pings = wire.socket.pings;
  tab.window.dispatchEvent(new Event("pageshow"));
  expect(wire.socket.pings).toBe(pings + 1);
  wire.answers = true;
  await pass(2900);
  expect(state(tab).state).toBe("connected");
  await pass(200);
  expect(state(tab).state).toBe("reconnecting");
  await pass(1000);
  expect(state(tab)).toMatchObject({ state: "connected", sessionId: "s2" });
});

test("a page that was frozen does not take its own late timers for a dead socket", async () => {
  const tab = await connected(wire);
  await pass(9990); // a ping is under way in a moment
  wire.answers = false;
  await pass(100);
  vi.setSystemTime(Date.now() + 600_000);
  await vi.advanceTimersByTimeAsync(10_000); // the deadline rings, ten minutes late
  expect(state(tab).state).toBe("connected");
  wire.answers = true;
  tab.rt.connection.check();
  await pass(5000);
  expect(state(tab)).toMatchObject({ state: "connected", sessionId: "s1" });
});

test("quality is the average of the last five round trips", async () => {
  const tab = await connected(wire);
  expect(state(tab)).toMatchObject({ quality: "excellent", latencyMs: 20 });
  for (const [latency, quality] of [[250, "good"], [500, "fair"], [2000, "poor"]] as const) {
    wire.latency = latency;
    await pass(60_000);
    expect(state(tab)).toMatchObject({ quality, latencyMs: latency });
  }
});

test("a token is refreshed 60 s before its end, over the socket that is there", async () => {
  const asked: boolean[] = [];
  wire.ack = () => ({ sessionId: "s", userId: null, role: "user", serverTime: "2020-01-01T00:00:00Z", heartbeatIntervalMs: 30_000, expiresAt: "2020-01-01T00:15:00Z" }) as never;
  wire.replies.Refresh = op => ({ refreshSession: { expiresAt: op.variables.token === "new.b.c" ? "2020-01-01T01:00:00Z" : null } });
  const tab = await connected(wire, { getToken: ({ refresh }) => { asked.push(refresh); return refresh ? "new.b.c" : "a.b.c"; } });
  await pass(14 * 60_000 - 1000);
  expect(asked).toEqual([false]);
  await pass(2000); // by the server's clock, six years behind
  expect(asked).toEqual([false, true]);
  expect(wire.of("Refresh")[0]!.variables).toEqual({ token: "new.b.c", sessionId: "s" });
  expect(state(tab).state).toBe("connected");
  expect(wire.sockets.length).toBe(1);
});

test("refused tokens: one new one, then a sign-in is needed, and no loop", async () => {
  const asked: boolean[] = [], tab = wire.tab({ getToken: ({ refresh }) => { asked.push(refresh); return "a.b.c"; } });
  wire.ack = () => { wire.socket.end(4403, "Could not verify JWT"); return null as never; };
  tab.rt.connect();
  await pass(300_000);
  expect(state(tab)).toMatchObject({ state: "needs-auth", interrupted: true });
  expect(asked).toEqual([false, true]);
});

test("a new token that cannot be had now is asked for again, and the old one is not taken for it", async () => {
  const asked: boolean[] = [];
  let good = false;
  wire.ack = () => {
    if (!good) wire.socket.end(4403, "JWT expired");
    return { sessionId: "s", userId: ALICE, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null };
  };
  const tab = wire.tab({ getToken({ refresh }) {
    if (asked.push(refresh) === 2) throw new Error("no network yet");
    if (asked.length === 3) wire.up = false; // had, and lost before it was accepted
    else wire.up = true;
    good = refresh;
    return refresh ? "new.b.c" : "old.b.c";
  } });
  tab.rt.connect();
  await pass(500);
  tab.window.dispatchEvent(new Event("focus")); // it is still the old one that was refused
  await pass(60_000);
  expect(state(tab).state).toBe("connected");
  expect(asked).toEqual([false, true, true, true]);
});

test("subscriptions are made again on the next socket, and after an error that may pass; after one that may not on the next socket alone", async () => {
  const tab = await connected(wire), refused = vi.fn();
  tab.rt.connection.live("subscription Live { x }" as never, {}, () => {}, refused);
  await pass(10);
  wire.socket.end(1006, "");
  await pass(2000);
  expect(wire.of("Live").length).toBe(2);
  wire.socket.say({ id: wire.of("Live")[1]!.id, type: "error", payload: [{ message: "reset", extensions: { code: "stream-reset", retryable: true } }] });
  await pass(2000);
  expect(wire.of("Live").length).toBe(3);
  wire.socket.say({ id: wire.of("Live")[2]!.id, type: "error", payload: [{ message: "no", extensions: { code: "access-denied", retryable: false } }] });
  await pass(60_000);
  expect(wire.of("Live").length).toBe(3);
  expect(refused).toHaveBeenCalledOnce();
  wire.socket.end(1006, ""); // another session: it may have other rights
  await pass(2000);
  expect(wire.of("Live").length).toBe(4);
});

test("an answer that does not come is an error in ten seconds; one that is lost with the socket at once, and says that it may be tried again", async () => {
  const tab = await connected(wire), doc = "mutation Mute { x }" as never;
  const late = expect(tab.rt.connection.request(doc, {})).rejects.toMatchObject({ code: "timeout", retryable: true });
  await pass(10_100);
  await late;
  const gone = expect(tab.rt.connection.request(doc, {})).rejects.toMatchObject({ code: "connection-lost", retryable: true });
  wire.socket.end(1006, "");
  await gone;
  wire.replies.Mute = () => refusal("rate-limited", true, { retryAfterMs: 700 });
  await pass(2000);
  await expect(tab.rt.connection.request(doc, {})).rejects.toMatchObject({ code: "rate-limited", retryAfterMs: 700 });
});

test("an answer that does not come is an error, also where the socket does not take that nobody waits for it", async () => {
  const tab = await connected(wire), send = wire.socket.send;
  wire.socket.send = function (text) {
    if (text.includes("complete")) throw new Error("sick");
    send.call(this, text);
  };
  const late = tab.rt.connection.request("mutation Mute { x }" as never, {}).catch(e => e.code);
  await pass(10_100).catch(e => expect(e.message).toBe("sick"));
  wire.socket.send = send;
  expect(await Promise.race([late, pass(20_000)])).toBe("timeout");
});

test("an app's callback that throws is reported, and ends neither its subscription nor the connection", async () => {
  const tab = await connected(wire), told: unknown[] = [], reported = vi.spyOn(console, "error").mockImplementation(() => {});
  const fails = (what: unknown) => { told.push(what); throw new Error("the app's"); };
  tab.rt.connection.live("subscription Live { x }" as never, {}, fails, e => fails(e.code));
  await pass(10);
  const op = wire.of("Live")[0]!;
  op.socket.next(op.id, { x: 1 });
  op.socket.next(op.id, { x: 2 });
  op.socket.say({ id: op.id, type: "error", payload: [{ message: "no", extensions: { code: "access-denied", retryable: false } }] });
  await pass(100);
  expect([state(tab).state, told, reported.mock.calls.length]).toEqual(["connected", [{ x: 1 }, { x: 2 }, "access-denied"], 3]);
  reported.mockRestore();
});
