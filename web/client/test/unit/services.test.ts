import { describe, expect, test } from "vitest";
import { ALICE, BOB } from "../browser.js";
import { createCore } from "../../src/core.js";
import { roomInput, roomName } from "../../src/index.js";
import { getTypingService, realtimeClient } from "../../src/services.js";
import { configureRealtime, resetShared } from "../../src/shared.js";
import { createMessages } from "../../src/messages.js";
import { canonical } from "../../src/digest.js";
import { connected, eachOnItsWire, emptyPage, pass, refusal, wire } from "./wire.js";

eachOnItsWire();
const said = () => wire.operations.filter(o => /Typing$/.test(o.name)).map(o => o.name);

describe("typing", () => {
  test("said 300 ms after the first key, again every three seconds while it goes on, and no more when it ends", async () => {
    const { rt } = await connected(wire), begun = Date.now();
    for (let i = 0; i < 70; i++) {
      rt.typing.input("c1", "x".repeat(i + 1));
      await pass(100);
    }
    expect(wire.of("StartTyping").map(o => o.at - begun)).toEqual([300, 3300, 6300]);
    expect(rt.typing.typing("c1")).toBe(true);
    expect([...rt.typing.own.get()]).toEqual(["channel:c1"]);
    await pass(20_000);
    expect(wire.of("StartTyping").length).toBe(4); // the keys after 6.3 s once more
    expect(rt.typing.typing("c1")).toBe(false);
    expect(rt.typing.own.get().size).toBe(0);
    expect(wire.of("StopTyping")).toEqual([]); // the server's timer ran with ours
  });
  test("empty, blur, hidden and a message end it; what was never said is not taken back", async () => {
    const tab = await connected(wire), { rt } = tab;
    rt.typing.input("c1", "h");
    await pass(100);
    rt.typing.input("c1", "");
    await pass(1000);
    expect(said()).toEqual([]);
    rt.typing.start("c1");
    await pass(10);
    rt.typing.input("c1", "   ");
    await pass(10);
    expect(said()).toEqual(["StartTyping", "StopTyping"]);
    rt.typing.start("c1");
    rt.typing.start("dm:d1");
    await pass(10);
    tab.window.dispatchEvent(new Event("blur"));
    await pass(10);
    expect(said().slice(2)).toEqual(["StartTyping", "StartTyping", "StopAllTyping"]);
    rt.typing.start("c1");
    await pass(10);
    tab.hide(true);
    await pass(10);
    rt.typing.start("c1");
    await pass(10);
    await rt.send("c1", "sent");
    await pass(10_000);
    expect(said().slice(5)).toEqual(["StartTyping", "StopAllTyping", "StartTyping"]); // the message is a stop by itself
  });
  test("too soon: said again when the server takes it", async () => {
    const { rt } = await connected(wire);
    let times = 0;
    wire.replies.StartTyping = () => ({ startTyping: { accepted: ++times > 1, expiresAt: null, nextAllowedAt: null } });
    rt.typing.start("c1");
    await pass(1200);
    expect(times).toBe(2);
  });
});

describe("activity", () => {
  const beats = () => wire.of("Heartbeat").map(o => (o.variables as unknown as { input: { active: boolean; hidden: boolean } }).input);
  test("nothing new, nothing said; input once in thirty seconds; hidden and shown at once", async () => {
    const tab = await connected(wire);
    await pass(300_000 + 1000);
    expect(beats()).toEqual([]);
    expect(tab.rt.presence.activity.get()).toEqual({ hidden: false, idle: true });
    for (let i = 0; i < 100; i++) {
      tab.window.dispatchEvent(new Event("mousemove"));
      await pass(500);
    }
    expect(beats()).toHaveLength(2); // the end of idleness at once, then one in 30 s
    tab.hide(true);
    await pass(10);
    expect(beats()).toHaveLength(3);
    expect(beats()[2]).toMatchObject({ hidden: true });
    tab.hide(false);
    await pass(10);
    expect(beats()[3]).toMatchObject({ hidden: false, active: true });
  });
  test("a new socket says so itself where there was no input for long, and where the page is hidden", async () => {
    const tab = await connected(wire), said = () => wire.socket.init as unknown as { hidden: boolean; lastActivityAgoMs: number };
    expect(said()).toMatchObject({ hidden: false });
    expect(said().lastActivityAgoMs).toBeLessThan(100);
    await pass(600_000);
    tab.hide(true);
    await pass(10);
    wire.socket.close(1012, "restart");
    await pass(5000);
    expect(said().hidden).toBe(true);
    expect(said().lastActivityAgoMs).toBeGreaterThanOrEqual(600_000);
    expect(beats()).toHaveLength(1); // that it was hidden, on the first
  });
  test("that the page is hidden is said again where it was not taken", async () => {
    const tab = await connected(wire), { Heartbeat } = wire.replies;
    wire.replies.Heartbeat = () => refusal("rate-limited", true);
    tab.hide(true);
    await pass(1000);
    wire.replies.Heartbeat = Heartbeat!;
    await pass(120_000);
    expect(beats()).toMatchObject([{ hidden: true, active: false }, { hidden: true, active: false }]);
  });
  test("a client that must not be seen says nothing", async () => {
    const tab = await connected(wire, { presence: false });
    tab.window.dispatchEvent(new Event("keydown"));
    tab.hide(true);
    await pass(60_000);
    expect(beats()).toEqual([]);
  });
});

describe("watching", () => {
  const ids = (n: number) => Array.from({ length: n }, (_, i) => `user-${i}`);
  test("a thousand users are one subscription, one more is a small one, and many small ones become one", async () => {
    const { rt } = await connected(wire), sizes = () => wire.of("PresenceChanged").map(o => (o.variables.userIds as unknown as string[]).length);
    const offs = ids(1000).map(rt.presence.watch);
    await pass(50);
    expect(sizes()).toEqual([1000]);
    for (let i = 0; i < 6; i++) {
      rt.presence.watch(`more-${i}`);
      await pass(50);
    }
    expect(sizes()).toEqual([1000, 1, 1, 1, 1, 1, 1000, 6]);
    offs.forEach(f => f());
    await pass(2000);
    expect(sizes().at(-1)).toBe(6);
  });
  test("who is refused for now waits alone, and not past the next connection", async () => {
    const { rt } = await connected(wire), asked = () => wire.of("PresenceChanged").map(o => o.variables.userIds as unknown as string[]);
    wire.replies.PresenceChanged = () => refusal("rate-limited", true, { retryAfterMs: 60_000 });
    rt.presence.watch("a");
    await pass(100);
    delete wire.replies.PresenceChanged;
    rt.presence.watch("b");
    await pass(100);
    expect(asked()).toEqual([["a"], ["b"]]);
    await pass(60_000);
    expect(asked().at(-1)).toEqual(["a"]);
    wire.replies.PresenceChanged = () => refusal("rate-limited", true, { retryAfterMs: 60_000 });
    wire.socket.end(1006, "");
    await pass(2000);
    delete wire.replies.PresenceChanged;
    wire.socket.end(1006, "");
    const before = asked().length;
    await pass(5000);
    expect(asked().slice(before)).toEqual([["a", "b"]]);
  });
  test("counted: it ends a second after the last, and what was known is forgotten", async () => {
    const { rt } = await connected(wire), user = rt.presence.user(BOB);
    const a = user.subscribe(() => {}), b = user.subscribe(() => {});
    await pass(50);
    const op = wire.of("PresenceChanged")[0]!;
    op.socket.next(op.id, { presenceChanged: { userId: BOB, status: "online", customStatus: null, lastSeenAt: null, device: null } });
    await pass(10);
    a();
    a();
    await pass(5000);
    expect(user.get()?.status).toBe("online");
    b();
    await pass(500);
    expect(user.get()?.status).toBe("online");
    await pass(1000);
    expect(user.get()).toBeUndefined();
  });
  test("a channel's members are one window for all who look, which ends a second after the last; one's own presence stays as it was last seen", async () => {
    const { rt } = await connected(wire), members = rt.presence.members("c1"), told: (number | undefined)[] = [];
    const a = members.subscribe(() => told.push(members.get()?.presences.length)), b = rt.presence.members("c1").subscribe(() => {}), mine = [rt.presence.mine.subscribe(() => {}), rt.presence.mine.subscribe(() => {})];
    const next = (name: string, data: unknown) => wire.of(name).forEach(o => o.socket.next(o.id, data));
    const page = (snapshot: boolean, userId: string, counts: object | null) => next("PresenceWindow", { presenceWindow: { snapshot, presences: [{ userId, status: "online" }], counts } });
    await pass(50);
    page(true, ALICE, { online: 1 });
    page(false, BOB, null);
    next("MyPresence", { myPresenceChanged: { userId: ALICE } });
    await pass(10);
    expect([told, members.get()?.counts, rt.presence.mine.get()]).toEqual([[1, 2], { online: 1 }, { userId: ALICE }]);
    page(true, BOB, { online: 1 });
    a();
    mine.forEach(f => f());
    await pass(2000);
    expect(members.get()?.presences.map(p => p.userId)).toEqual([BOB]);
    b();
    await pass(1001);
    page(false, ALICE, null);
    await pass(10);
    expect([members.get(), rt.presence.mine.get(), wire.of("PresenceWindow").length, wire.of("MyPresence").length]).toEqual([undefined, { userId: ALICE }, 1, 1]);
    members.subscribe(() => {});
    await pass(10);
    expect(wire.of("PresenceWindow").length).toBe(2);
  });
  test("one room that is denied takes no other with it", async () => {
    const { rt } = await connected(wire), rooms = (o: { variables: { rooms?: unknown } }) => (o.variables.rooms as { channelId: string }[]).map(r => r.channelId);
    wire.replies.TypingChanged = op => (rooms(op).includes("secret") ? refusal("access-denied") : undefined);
    ["a", "b", "secret", "c", "d"].forEach(r => rt.typing.watch(r));
    await pass(200);
    const alive = wire.of("TypingChanged").map(rooms).filter(r => !r.includes("secret")).flat();
    expect(alive.sort()).toEqual(["a", "b", "c", "d"]);
    await pass(60_000);
    expect(wire.of("TypingChanged").length).toBeLessThan(8); // and it is not asked for again
  });
});

test("marks are gathered for a second, of each channel the last, and said again until they are answered", async () => {
  const { rt } = await connected(wire, { acknowledge: false });
  const marks = () => wire.of("Acknowledge").map(o => (o.variables as unknown as { read: { messageId: string }[] }).read.map(m => m.messageId));
  ["m1", "m2", "m3"].forEach(m => rt.delivery.read("c1", m));
  rt.delivery.read("c2", "n1");
  expect(marks()).toEqual([]);
  wire.replies.Acknowledge = op => void op.socket.end(1006, "");
  await pass(1100);
  wire.replies.Acknowledge = () => ({ acknowledgeDelivered: [], acknowledgeRead: [] });
  await pass(3000);
  expect(marks()).toEqual([["m3", "n1"], ["m3", "n1"]]);
  await pass(10_000);
  expect(marks()).toHaveLength(2);
});

test("the last wish of what to be is done once connected", async () => {
  const tab = await connected(wire);
  tab.network(false);
  await tab.rt.presence.setStatus("away");
  await tab.rt.presence.setStatus("busy");
  wire.replies.SetPresence = () => ({ setPresence: { userId: ALICE, status: "busy", customStatus: null, lastSeenAt: null, device: null } });
  tab.network(true);
  await pass(1000);
  expect(wire.of("SetPresence").map(o => o.variables.status)).toEqual(["busy"]);
});

test("sync goes on from the last cursor seen, page by page, and a stream that is reset begins anew", async () => {
  const progress: number[] = [];
  let page = 0;
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: `p${++page}`, hasMore: page < 3, progress: { done: page, total: 3 } } });
  const tab = await connected(wire);
  tab.rt.sync.events.on("progress", p => progress.push(p.progress));
  expect(wire.of("Sync").map(o => o.variables.cursor)).toEqual([null, "p1", "p2"]);
  const stream = wire.of("Events")[0]!;
  expect(stream.variables.cursor).toBe("p3");
  stream.socket.next(stream.id, { events: { cursor: "e1", payload: { __typename: "MessageDeleted", messageId: "x", channelId: "c" } } });
  await pass(300);
  page = 2;
  wire.socket.end(1006, "");
  await pass(2000);
  expect(wire.of("Sync").at(-1)!.variables.cursor).toBe("e1");
  expect(progress[0]).toBe(0);
  expect(progress.at(-1)).toBe(100);
  expect([...progress]).toEqual([...progress].sort((a, b) => a - b));
  const again = wire.of("Events").at(-1)!;
  again.socket.next(again.id, { events: { cursor: "z", payload: { __typename: "StreamReset", reason: "expired", cursor: "z" } } });
  await pass(100);
  expect(wire.of("Sync").at(-1)!.variables.cursor).toBeNull();
});

test("sync's progress does not fall where a page ends by the clock, and there is more than was counted", async () => {
  const pages = [[0, 0], [1, 4], [4, 4], [1, 12], [0, 6]], progress: number[] = []; // messages, total
  let n = 0;
  wire.replies.Sync = () => {
    const [count, total] = pages[n++]!, messages = Array.from({ length: count! }, (_, i) => ({ id: `${n}-${i}`, channelId: "c1", senderId: BOB, seq: `${n}${i}`, mentions: [] }));
    return { sync: { ...emptyPage, cursor: `p${n}`, hasMore: n < pages.length, progress: { done: 0, total }, messages } };
  };
  const tab = wire.tab({ storage: "memory" });
  tab.rt.sync.events.on("progress", p => progress.push(p.progress));
  tab.rt.connect();
  await pass(500);
  expect(progress).toEqual([0, 10, 10, 30, 30, 50, 90, 100]);
});

test("what was kept is there before the network is, and the next page goes on from it", async () => {
  const m = { id: "m1", clientMessageId: null, channelId: "c1", threadId: null, parentMessageId: null, senderId: BOB, content: "kept", type: "text", metadata: null, mentions: [], seq: "1", version: 1, createdAt: "2026-01-01T00:00:00Z", editedAt: null, deletedAt: null, delivery: null };
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", messages: [m], channels: [{ channelId: "c1", name: "one", type: "public", isArchived: false, isReadonly: false, role: "member", canWrite: true, lastSeq: "1" }] } });
  const first = await connected(wire);
  await pass(1000);
  first.rt.close();
  await pass(1000);
  wire.up = false;
  const second = wire.tab();
  second.rt.connect();
  await pass(100);
  expect(second.rt.timeline("c1").get().map(x => x.content)).toEqual(["kept"]);
  expect(second.rt.channels.get().get("c1")?.name).toBe("one");
  wire.up = true;
  wire.replies.Sync = () => ({ sync: emptyPage });
  await pass(3000);
  expect(wire.of("Sync").at(-1)!.variables.cursor).toBe("k1");
});

test("a history is the same whatever comes twice, late or in another order; receipts and versions never go back", () => {
  const base = { clientMessageId: null, channelId: "c", threadId: null, parentMessageId: null, senderId: ALICE, type: "text", metadata: null, mentions: [], createdAt: "", editedAt: null, deletedAt: null } as const;
  const receipt = (id: string, status: "sent" | "delivered" | "read") => ({ messageId: id, channelId: "c", status, totalRecipients: 1, deliveredCount: 0, readCount: 0, deliveredAt: null, readAt: null });
  const events = Array.from({ length: 30 }, (_, i) => [1, 2].map(version => ({ ...base, id: `m${i}`, seq: `${i - 3}`, version, content: `v${version}`, delivery: receipt(`m${i}`, version === 1 ? "read" : "sent") }))).flat();
  const random = (seed: number) => () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff);
  for (let seed = 1; seed <= 200; seed++) {
    const next = random(seed), log = createMessages(1000), pool = [...events, ...events.filter(() => next() < 0.5)].sort(() => next() - 0.5);
    while (pool.length) log.put(pool.splice(0, 1 + Math.floor(next() * 5)) as never);
    expect(log.get("c").map(m => `${m.seq} ${m.content} ${m.delivery!.status}`), `seed ${seed}`).toEqual(Array.from({ length: 30 }, (_, i) => `${i - 3} v2 read`));
  }
});

test("rooms by name and by ids", () => {
  expect([roomName("x"), roomName("channel:x"), roomName("channel:x:thread:t"), roomName("dm:d"), roomName({ channelId: "x", threadId: "t" }), roomName("x", "t")])
    .toEqual(["channel:x", "channel:x", "channel:x:thread:t", "dm:d", "channel:x:thread:t", "channel:x:thread:t"]);
  expect(roomInput("dm:d")).toEqual({ dmId: "d" });
  for (const bad of ["", "channel:", "dm:a:thread:b", "user:x", "channel:a:thread:"]) expect(() => roomInput(bad), bad).toThrow();
});

test("the digest is over JSON as the server writes it", () => {
  expect(canonical([{ clientMessageId: "k", channelId: "c", content: "h\"i", metadata: { b: 1, "10": [null, { z: 1, a: "é" }], "9": 1.5 } }])).toBe(
    '[{"clientMessageId":"k","channelId":"c","threadId":null,"parentMessageId":null,"content":"h\\"i","type":"text","metadata":{"10":[null,{"a":"é","z":1}],"9":1.5,"b":1},"mentions":[]}]');
});

describe("wishes", () => {
  test("one that is refused for now is done after a while, on the connection that is there; the last counts, and once", async () => {
    const { rt } = await connected(wire);
    wire.replies.SetPresence = () => refusal("rate-limited", true, { retryAfterMs: 1000 });
    await Promise.all([rt.presence.setStatus("busy"), pass(10)]);
    await Promise.all([rt.presence.setStatus("away"), pass(10)]);
    wire.replies.SetPresence = () => ({ setPresence: {} });
    await pass(600_000);
    expect(wire.of("SetPresence").map(o => o.variables.status)).toEqual(["busy", "away", "away"]);
  });
});

test("of who is no longer watched nothing comes back", async () => {
  const { rt } = await connected(wire), off = rt.presence.user(BOB).subscribe(() => {}), other = rt.presence.watch("another");
  await pass(50);
  off();
  await pass(1001); // let go of, and in the same subscription as one that is not
  const op = wire.of("PresenceChanged")[0]!;
  op.socket.next(op.id, { presenceChanged: { userId: BOB, status: "online", customStatus: null, lastSeenAt: null, device: null } });
  await pass(100);
  expect(rt.presence.all.get().size).toBe(0);
  other();
});

test("without messages: a wish made before the first token is done, and not another user's", async () => {
  let who = "";
  const WebSocket = Object.assign(function () { return wire.open(); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
  const core = createCore({ url: "http://server.test", getToken: () => (who ? `a.${btoa(JSON.stringify({ sub: who }))}.c` : null), environment: { WebSocket, random: () => 0.5 } });
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  await core.presence.setStatus("busy");
  who = ALICE;
  wire.replies.SetPresence = () => refusal("rate-limited", true, { retryAfterMs: 1000 });
  core.connect();
  await pass(500);
  expect(wire.of("SetPresence").map(o => o.variables.status)).toEqual(["busy"]);
  who = BOB;
  core.authChanged();
  await pass(5000);
  expect(core.user.get()).toBe(BOB);
  expect(wire.of("SetPresence")).toHaveLength(1);
  core.close();
});

test("nchat's connect ends, when disconnect comes meanwhile; not for a token that is put in its place", async () => {
  let token: () => string | Promise<never> = () => new Promise(() => {});
  configureRealtime({ environment: { WebSocket: Object.assign(function () { return wire.open(); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 }) } as never, storage: "memory", getToken: () => token() });
  const first = realtimeClient.connect().then(() => "connected", e => e.message as string);
  realtimeClient.disconnect();
  await pass(100);
  expect(await Promise.race([first, Promise.resolve("hangs")])).toBe("closed");
  const second = realtimeClient.connect().then(() => "connected", e => e.message as string);
  token = () => "a.b.c";
  realtimeClient.reconnect();
  await pass(500);
  expect(await Promise.race([second, Promise.resolve("hangs")])).toBe("connected");
  resetShared();
});

test("nchat's typing service tells a room by the name it was asked for, as nchat's own hook compares it", async () => {
  configureRealtime({ environment: { WebSocket: Object.assign(function () { return wire.open(); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 }) } as never, storage: "memory", getToken: () => "a.b.c" });
  const service = getTypingService(), told: unknown[] = [];
  void realtimeClient.connect();
  const off = service.onRoomTypingChange("c1", "thread", (...what) => told.push(what), "t1");
  await pass(100);
  const op = wire.of("TypingChanged")[0]!, user = { userId: BOB, startedAt: "2026-01-01T12:00:00Z", displayName: "Bob", avatarUrl: null };
  op.socket.next(op.id, { typingChanged: [{ room: { name: "channel:c1:thread:t1" }, users: [user], text: "Bob is typing", totalCount: 1 }] });
  await pass(10);
  const bob = [{ userId: BOB, userName: "Bob", startedAt: new Date(user.startedAt) }];
  expect(told).toEqual([["c1", [], "t1"], ["c1", bob, "t1"]]);
  expect(service.getTypingUsersInRoom("c1", "thread", "t1")).toEqual(bob);
  off();
  resetShared();
});
