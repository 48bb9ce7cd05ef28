import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test, vi } from "vitest";
import { ALICE, BOB } from "../browser.js";
import { execute } from "../../src/cache.js";
import { endpoints } from "../../src/core.js";
import { legacyBus } from "../../src/legacy.js";
import { connected, eachOnItsWire, emptyPage, pass, settle, wire } from "./wire.js";

eachOnItsWire();
const claims = (user: string) => `a.${btoa(JSON.stringify({ sub: user }))}.c`;
const message = { id: "m1", clientMessageId: null, channelId: "c1", threadId: null, parentMessageId: null, senderId: "x", content: "hi", type: "text", metadata: null, mentions: [], seq: "1", version: 1, createdAt: "", editedAt: null, editedBy: null, deletedAt: null, delivery: null };
const events = (payload: unknown) => {
  const op = wire.of("Events").at(-1)!;
  op.socket.next(op.id, { events: { cursor: "e1", payload } });
};

test("a sync over HTTP fetches, and does not say that what happens comes at once", async () => {
  wire.fetch = (async () => ({ json: async () => ({ data: { sync: { ...emptyPage, messages: [message] } } }) })) as never;
  const { rt } = await connected(wire);
  await pass(500);
  wire.up = false;
  wire.socket.end(1006, "");
  await pass(10);
  const run = expect(rt.sync.run()).rejects.toMatchObject({ code: "connection-lost" });
  await pass(100);
  await run;
  expect(rt.sync.get().state).toBe("idle");
  expect(rt.timeline("c1").get().length).toBe(1);
});

test("a stream that is refused for good is a sync that failed, until the next connection", async () => {
  const { rt } = await connected(wire), failed = vi.fn();
  rt.sync.events.on("failed", failed);
  await pass(500);
  const op = wire.of("Events").at(-1)!;
  op.socket.say({ id: op.id, type: "error", payload: [{ message: "no", extensions: { code: "access-denied", retryable: false } }] });
  await pass(60_000);
  expect(rt.sync.get()).toMatchObject({ state: "idle", error: { code: "access-denied" } });
  expect(failed).toHaveBeenCalledOnce();
  wire.socket.end(1006, "");
  await pass(2000);
  expect(rt.sync.get()).toMatchObject({ state: "synchronized", error: null });
});

test("a message is told to each user of a page", async () => {
  let who = ALICE;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(who) }), told: (string | null)[] = [];
  rt.on("message", () => told.push(rt.user.get()));
  await pass(500);
  for (const next of [BOB, null]) {
    events({ __typename: "MessageCreated", message });
    await pass(100);
    if (next) who = next;
    rt.authChanged();
    await pass(1000);
  }
  expect(told).toEqual([ALICE, BOB]);
});

test("what is queued while another's storage is still being opened goes to one's own", async () => {
  let who = ALICE;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  const { rt } = wire.tab({ userId: undefined, storage: "memory", getToken: () => claims(who) });
  rt.connect();
  for (let i = 0; i < 3; i++) await Promise.resolve();
  who = BOB;
  rt.authChanged();
  for (let i = 0; i < 6; i++) await Promise.resolve();
  expect(rt.user.get()).toBe(BOB);
  const sent = rt.send("c1", "bob's");
  await pass(2000);
  await sent;
  expect(wire.of("Send").length).toBe(1);
});

test("what a page says as it goes fits into what a browser lets it", async () => {
  const bodies: number[] = [], id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  wire.fetch = (async (_: string, o: RequestInit) => {
    bodies.push(String(o.body).length);
    return { json: async () => ({ data: { acknowledgeDelivered: [], acknowledgeRead: [] } }) };
  }) as never;
  const tab = await connected(wire, { storage: "memory" });
  for (let i = 0; i < 600; i++) {
    tab.rt.delivery.read(id(i), id(i));
    tab.rt.delivery.delivered(id(i), id(i));
  }
  tab.window.dispatchEvent(new Event("pagehide"));
  await settle();
  expect(bodies).toHaveLength(1);
  expect(bodies[0]).toBeLessThan(65_536);
});

test("a bus keeps no callback that it no longer calls", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void, { rt } = wire.tab(), bus = legacyBus(rt);
  const held = [true, false].map(byOff => {
    const callback = () => {}, off = bus.on("message:new", callback);
    if (byOff) bus.off("message:new", callback);
    else off();
    return new WeakRef(callback);
  });
  for (let i = 0; i < 5; i++) {
    await settle();
    collect();
  }
  expect(held.map(r => r.deref())).toEqual([undefined, undefined]);
});

test("a bus tells of presence and typing what changed, and no more; and that nobody types where the connection is lost", async () => {
  const { rt } = await connected(wire), bus = legacyBus(rt), told: unknown[] = [];
  bus.on<{ userId: string; status: string }>("presence:changed", p => told.push(`${p.userId} ${p.status}`));
  bus.on<{ roomName: string; users: unknown[]; text: string | null }>("typing:changed", t => told.push([t.roomName, t.users.length, t.text]));
  ["a", "b"].forEach(rt.presence.watch);
  rt.typing.watch("c1");
  await pass(50);
  const [presence, typing] = [wire.of("PresenceChanged")[0]!, wire.of("TypingChanged")[0]!];
  const say = (userId: string, status: string) => presence.socket.next(presence.id, { presenceChanged: { userId, status, customStatus: null, lastSeenAt: null, device: null } });
  say("a", "online");
  say("b", "online");
  say("a", "away");
  typing.socket.next(typing.id, { typingChanged: [{ room: { name: "channel:c1" }, users: [{ userId: "a", startedAt: "" }], text: "a types", totalCount: 1 }] });
  await pass(50);
  wire.socket.end(1006, "");
  await pass(50);
  expect(told).toEqual(["a online", "b online", "a away", ["channel:c1", 1, "a types"], ["channel:c1", 0, null]]);
});

test("a document's operation is known, whatever fragments stand before it", () => {
  const run = (query: string) => {
    let ran = "";
    execute({ connection: { live: () => { ran = "subscription"; return () => {}; }, ask: () => { ran = "query"; return new Promise(() => {}); } } } as never, query, {}, {});
    return ran;
  };
  const fragment = "# of { one\nfragment F on Presence { id customStatus { text # {\n emoji } a(x: \"}\", y: \"\"\"{\"\"\") { b { c } } }\n";
  for (const op of ["subscription", "query"]) for (const before of ["", fragment, fragment + fragment.replace("F", "G")]) expect(run(`${before}${op} S($o: O = {a: 1}) { x { ...F } }`)).toBe(op);
  expect(run("subscription{x}")).toBe("subscription");
  expect(run("query Q { subscription }\nfragment F on X { subscription { y } }")).toBe("query");
});

test("an address without a host is one, also where there is no page", () => {
  expect(endpoints("/graphql")).toEqual({ url: "http://localhost/graphql", wsUrl: "ws://localhost/graphql" });
});
