import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ALICE } from "../browser.js";
import { openDatabase } from "../../src/database.js";
import type { Env } from "../../src/env.js";
import { channel, created, disk, message, spoil, tell } from "./disk.js";
import { connected, emptyPage, fakeTime, type Operation, pass, Wire } from "./wire.js";

let wire: Wire, mend: (() => void) | undefined;
beforeEach(() => {
  fakeTime();
  wire = new Wire();
});
afterEach(() => {
  mend?.();
  mend = undefined;
  wire.browser.close();
  vi.useRealTimers();
});
const ids = (tab: Awaited<ReturnType<typeof connected>>, id = "c1") => tab.rt.timeline(id).get().map(m => m.id);
const cursors = () => wire.of("Sync").map(o => o.variables.cursor as string | null);

test("what was kept outlives any number of visits", async () => {
  wire.replies.Sync = op => ({ sync: op.variables.cursor ? { ...emptyPage, cursor: "k2" } : { ...emptyPage, cursor: "k1", messages: [message("m1")], channels: [channel("c1")] } });
  for (let visit = 0; visit < 4; visit++) {
    const tab = await connected(wire);
    await pass(1000);
    expect([ids(tab), tab.rt.channels.get().size], `visit ${visit}`).toEqual([["m1"], 1]);
    expect(await disk(wire), `visit ${visit}`).toMatchObject({ messages: ["m1"], kv: { cursor: visit ? "k2" : "k1" } });
    tab.rt.close();
    await pass(500);
  }
  expect(cursors()).toEqual([null, "k1", "k2", "k2"]);
});

test("a mark made before what is stored was read wipes none of it", async () => {
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", messages: [message("m1")], channels: [channel("c1")] } });
  const first = await connected(wire);
  await pass(1000);
  first.rt.close();
  await pass(500);
  wire.up = false;
  const second = wire.tab({ acknowledge: false });
  const off = second.rt.user.subscribe(() => {
    off();
    second.rt.delivery.read("c1", "m1");
    second.rt.disconnect(); // what is gathered is written now, and there is nowhere to put it yet
    second.rt.connect();
  });
  second.rt.connect();
  await pass(1000);
  expect(ids(second)).toEqual(["m1"]);
  expect(await disk(wire)).toMatchObject({ messages: ["m1"], kv: { cursor: "k1", "mark:c1": { read: "m1" } } });
});

test("of a channel that is forgotten and put again in one change, what was put stays", async () => {
  vi.useRealTimers();
  const db = await openDatabase("x", 200, { indexedDB: wire.browser.indexedDB, random: Math.random } as unknown as Env);
  await db.save({ put: [message("m1"), message("m2", "2"), message("other", "1", "c2"), message("lost", "3")] });
  await db.save({ forget: ["c1"], put: [message("m0", "0"), message("m1"), message("m2", "2")], kv: [["cursor", "c9"]] });
  expect((await db.load()).messages.map(m => m.id).sort()).toEqual(["m0", "m1", "m2", "other"]);
  db.close();
});

test("a write that failed leaves no hole: no cursor is stored after it before everything is", async () => {
  const tab = await connected(wire);
  await pass(500);
  mend = await spoil("put", "QuotaExceededError", (store, value) => store.name === "messages" && (value as { id: string }).id === "m1");
  tell(wire, "e1", created(message("m1")));
  await pass(500);
  mend();
  tell(wire, "e2", created(message("m2", "2")));
  await pass(500);
  const holes = await disk(wire);
  if (holes!.kv.cursor !== "c1") expect(holes!.messages).toContain("m1");
  await pass(40_000);
  expect(await disk(wire)).toMatchObject({ messages: ["m1", "m2"], kv: { cursor: "e2" } });
  expect(ids(tab)).toEqual(["m1", "m2"]);
});

test("a sync that begins while a gap is filled fills it", async () => {
  const tab = await connected(wire);
  await pass(500);
  tell(wire, "e1", created(message("m1")));
  await pass(500);
  let answer!: (v: unknown) => void, held = false;
  wire.replies.Sync = op => {
    if ((op.variables.cursor as unknown) !== "gap") return { sync: { ...emptyPage, cursor: "e9" } };
    const sync = { ...emptyPage, cursor: "e9", messages: [message("old", "0"), message("m1")] };
    if (held) return { sync };
    held = true;
    return new Promise(r => { answer = () => r({ sync }); });
  };
  tell(wire, "e5", { __typename: "StreamGap", channelId: "c1", cursor: "gap" });
  await pass(300);
  expect(await disk(wire)).toMatchObject({ messages: [], kv: { cursor: "gap" } }); // a page that dies now goes on from there
  await Promise.all([tab.rt.sync.run(), pass(300)]);
  expect(ids(tab)).toEqual(["old", "m1"]);
  answer(0);
  await pass(300);
  tell(wire, "e10", created(message("new", "9")));
  await pass(500);
  expect(ids(tab)).toEqual(["old", "m1", "new"]);
  expect(await disk(wire)).toMatchObject({ messages: ["m1", "new", "old"], kv: { cursor: "e10" } });
  expect(wire.of("Events").at(-1)!.variables.cursor).toBe("e9");
});

test("a gap that cannot be filled now is filled by the next sync", async () => {
  const tab = await connected(wire);
  await pass(500);
  wire.replies.Sync = op => {
    if ((op.variables.cursor as unknown) !== "gap") return { sync: emptyPage };
    wire.replies.Sync = again => ({ sync: { ...emptyPage, cursor: "e9", messages: (again.variables.cursor as unknown) === "gap" ? [message("old")] : [] } });
    return void op.socket.end(1006, "");
  };
  tell(wire, "e5", { __typename: "StreamGap", channelId: "c1", cursor: "gap" });
  tell(wire, "e6", created(message("new", "2")));
  await pass(5000);
  expect(ids(tab)).toEqual(["old", "new"]);
  expect(await disk(wire)).toMatchObject({ messages: ["new", "old"], kv: { cursor: "e9" } });
});

test("read marks and conflicts outlive a hand-over and a reset, and the next tab says the marks", async () => {
  const [one, two] = [await connected(wire, { acknowledge: false }), await connected(wire, { acknowledge: false })];
  await pass(500);
  const conflict = (at: number) => ({ message: message("m1"), conflict: { resolution: "SERVER_WON", base: "", server: "s", client: `${at}` } });
  wire.replies.Edit = () => ({ editMessage: conflict(1) });
  await Promise.all([one.rt.sync.edit("m1", "x", 1), pass(100)]);
  await Promise.all([two.rt.sync.edit("m1", "x", 1), pass(100)]);
  one.network(false);
  two.network(false);
  one.rt.delivery.read("c1", "m8");
  two.rt.delivery.read("c2", "m9");
  await pass(500);
  one.rt.close();
  await pass(1000);
  expect(two.rt.sync.get().conflicts).toHaveLength(2);
  expect((await disk(wire))!.kv).toMatchObject({ "mark:c1": { read: "m8" }, "mark:c2": { read: "m9" }, conflicts: [{}, {}] });
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "anew", reset: true } });
  wire.replies.Acknowledge = () => undefined;
  two.network(true);
  await pass(3000);
  expect(wire.of("Acknowledge").at(-1)!.variables.read).toEqual(expect.arrayContaining([{ channelId: "c1", messageId: "m8" }, { channelId: "c2", messageId: "m9" }]));
  expect((await disk(wire))!.kv).toMatchObject({ cursor: "anew", "mark:c1": { read: "m8" }, conflicts: [{}, {}] });
});

test("what is deleted while an answer is on its way stays deleted; so does a channel that was left", async () => {
  const tab = await connected(wire);
  await pass(500);
  let answer!: () => void;
  const late = (op: string, data: unknown) => { wire.replies[op] = () => new Promise(r => { answer = () => r(data); }); };
  const deleted = (messageId: string) => ({ __typename: "MessageDeleted", messageId, channelId: "c1" });
  late("Sync", { sync: { ...emptyPage, messages: [message("m1"), message("m2", "2")] } });
  let asked: Promise<unknown> = tab.rt.sync.channel("c1");
  await pass(20);
  tell(wire, "e1", deleted("m1"));
  await pass(20);
  answer();
  await Promise.all([asked, pass(500)]);
  expect([ids(tab), (await disk(wire))!.messages]).toEqual([["m2"], ["m2"]]);

  late("History", { messages: { messages: [message("m0", "0"), message("m00", "-1")], pageInfo: { endCursor: null, hasNextPage: false } } });
  asked = tab.rt.sync.older("c1");
  await pass(20);
  tell(wire, "e2", deleted("m0"));
  await pass(20);
  answer();
  await Promise.all([asked, pass(500)]);
  expect(ids(tab)).toEqual(["m00", "m2"]);

  late("Sync", { sync: { ...emptyPage, channels: [channel("c1")], messages: [message("m2", "2")] } });
  asked = tab.rt.sync.channel("c1");
  await pass(20);
  tell(wire, "e3", { __typename: "MemberLeft", change: { channelId: "c1", userId: ALICE, memberCount: null } });
  await pass(20);
  answer();
  await Promise.all([asked, pass(500)]);
  expect([ids(tab), tab.rt.channels.get().size, (await disk(wire))!.messages]).toEqual([[], 0, []]);

  // What was asked for since is true again: a message taken back from the dead, a channel joined anew.
  wire.replies.Sync = () => ({ sync: { ...emptyPage, channels: [channel("c1")], messages: [message("m1"), message("m2", "2")] } });
  await Promise.all([tab.rt.sync.channel("c1"), pass(500)]);
  expect([ids(tab), tab.rt.channels.get().size, (await disk(wire))!.messages]).toEqual([["m1", "m2"], 1, ["m1", "m2"]]);
});

test("a message discarded in another tab while it is on its way does not come back", async () => {
  const [one, two] = [await connected(wire), await connected(wire)];
  await pass(500);
  let answer!: () => void;
  const inputs = (op: Operation) => op.variables.input as unknown as { clientMessageId: string }[];
  wire.replies.Send = op => new Promise(r => {
    answer = () => r({ sendMessages: { results: inputs(op).map(i => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: { code: "rate-limited", message: "", retryable: true, retryAfterMs: 1000 } })) } });
  });
  const q = await two.rt.send("c1", "discard me");
  await pass(50);
  expect(wire.of("Send")).toHaveLength(1);
  await Promise.all([two.rt.queue.discard(q.clientMessageId), pass(50)]);
  answer();
  await pass(20_000);
  expect((await disk(wire))!.outbox).toEqual([]);
  expect([one, two].map(t => t.rt.queue.get().items.length)).toEqual([0, 0]);
  expect(wire.of("Send")).toHaveLength(1);
});

test("what was sent is on the disk before it leaves the queue there: a page that ends at once, and is opened without a network, shows it", async () => {
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", messages: [message("m1")], channels: [channel("c1")] } });
  const first = await connected(wire);
  await pass(1000);
  wire.replies.Send = op => ({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string }[]).map(i => ({ clientMessageId: i.clientMessageId, status: "sent", duplicate: false, message: { ...message("m2", "2"), senderId: ALICE, clientMessageId: i.clientMessageId }, error: null })) } });
  await first.rt.send("c1", "m2");
  let now = await disk(wire);
  for (let i = 0; i < 100 && now!.outbox.length; i++) {
    await pass(0); // and no timer of the keeper's runs
    now = await disk(wire);
  }
  expect([now!.outbox, now!.messages]).toEqual([[], ["m1", "m2"]]);
  wire.up = false;
  const second = await connected(wire);
  expect(ids(second)).toEqual(["m1", "m2"]);
});

test.each(["pagehide", "freeze", "visibilitychange"])("what came is stored when the page goes: %s", async event => {
  const tab = await connected(wire);
  await pass(1000);
  tell(wire, "e1", created(message("m1")));
  await pass(0);
  expect((await disk(wire))!.messages).toEqual([]);
  if (event === "visibilitychange") tab.hide(true);
  else (event === "freeze" ? tab.document : tab.window).dispatchEvent(new Event(event));
  await pass(0);
  expect((await disk(wire))!.messages).toEqual(["m1"]);
});

test("where no token can be had, what is stored of a user whose id is given is there, and what is written waits", async () => {
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", messages: [message("m1")], channels: [channel("c1")] } });
  const first = await connected(wire);
  await pass(1000);
  first.network(false);
  await first.rt.send("c1", "written before");
  first.rt.close();
  await pass(500);
  const second = wire.tab({ getToken: () => { throw new Error("a tunnel"); } });
  second.network(false);
  second.rt.connect();
  await pass(500);
  let stored = false;
  void second.rt.send("c1", "written now").then(() => { stored = true; });
  await pass(500);
  expect([stored, second.rt.timeline("c1").get().map(m => m.content), (await disk(wire))!.outbox]).toEqual([true, ["m1", "written before", "written now"], ["written before", "written now"]]);
});

test("a fresh start that is interrupted goes on: what it brings is no news, and no page goes on from its middle", async () => {
  const pages = (one: string, two: string) => (op: Operation) => ({ sync: op.variables.cursor as unknown
    ? { ...emptyPage, cursor: two, messages: [message("m2", "2", "c2")] } : { ...emptyPage, cursor: one, hasMore: true, messages: [message("m1")], channels: [channel("c1"), channel("c2")] } });
  const told: string[] = [], broken = (op: Operation) => (op.variables.cursor as unknown ? void op.socket.end(1006, "") : pages("p1", "p2")(op));
  wire.replies.Sync = broken;
  const tab = wire.tab();
  tab.rt.on("message", m => told.push(m.id));
  tab.rt.connect();
  await pass(400);
  expect([ids(tab), (await disk(wire))!.messages, (await disk(wire))!.kv.cursor || null]).toEqual([["m1"], ["m1"], null]);
  wire.replies.Sync = pages("p1", "p2");
  await pass(5000);
  tell(wire, "e1", created(message("m3", "3", "c2")));
  await pass(500);
  expect([cursors(), ids(tab, "c2"), told]).toEqual([[null, "p1", "p1"], ["m2", "m3"], ["m3"]]);
  expect((await disk(wire))!.kv.cursor).toBe("e1");
});

test("what a channel brings that began meanwhile, or what was edited of before all that is here, is no news; what was written is", async () => {
  const told: string[] = [], tab = wire.tab(), edited = { ...message("m1", "1"), version: 2 };
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", messages: [message("m5", "5")], channels: [channel("c1"), channel("empty")] } });
  tab.rt.on("message", m => told.push(m.id));
  tab.rt.connect();
  await pass(500);
  wire.replies.Sync = op => ({ sync: (op.variables.cursor as unknown) === "k1"
    ? { ...emptyPage, cursor: "k2", hasMore: true, channels: [channel("new"), { ...channel("dm"), type: "direct" }], messages: [edited, message("m6", "6"), message("n2", "2", "new"), message("d1", "1", "dm")] }
    : { ...emptyPage, cursor: "k3", messages: [message("e1", "1", "empty"), message("n1", "1", "new")] } });
  wire.socket.end(1006, "");
  await pass(5000);
  tell(wire, "e1", created(message("n3", "3", "new")));
  await pass(100);
  expect([ids(tab), ids(tab, "new")]).toEqual([["m1", "m5", "m6"], ["n1", "n2", "n3"]]);
  expect(told).toEqual(["m6", "d1", "e1", "n3"]);
});

test("what was missed is news though it was edited, and though its reader's own, which is later, was answered before it came", async () => {
  const told: string[] = [], tab = wire.tab();
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k1", channels: [channel("c1")] } });
  wire.replies.Send = op => ({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string }[]).map(({ clientMessageId }) => ({
    clientMessageId, status: "sent", duplicate: false, error: null, message: { ...message("m3", "3"), clientMessageId, senderId: ALICE },
  })) } });
  tab.rt.on("message", m => told.push(m.id));
  tab.rt.connect();
  await pass(500);
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: "k2", messages: [{ ...message("m1", "1"), version: 2 }, message("m2", "2"), message("m3", "3")] } });
  wire.socket.end(1006, "");
  await tab.rt.send("c1", "mine");
  await pass(5000);
  expect(ids(tab)).toEqual(["m1", "m2", "m3"]);
  expect(told).toEqual(["m3", "m1", "m2"]);
});

test("a channel that began anew is read back anew", async () => {
  const page = { ...emptyPage, messages: [message("m9", "9")], channels: [channel("c1")] };
  wire.replies.Sync = () => ({ sync: page });
  wire.replies.History = () => ({ messages: { messages: [message("m8", "8")], pageInfo: { endCursor: "h8", hasNextPage: false } } });
  const tab = await connected(wire), older = async () => {
    const [{ more }] = await Promise.all([tab.rt.sync.older("c1"), pass(100)]);
    return [ids(tab), more, wire.of("History").length];
  };
  await pass(500);
  expect([await older(), await older()]).toEqual([[["m8", "m9"], false, 1], [["m8", "m9"], false, 1]]);
  wire.replies.Sync = () => ({ sync: { ...page, leftChannelIds: ["c1"] } }); // left, and joined again
  wire.socket.end(1006, "");
  await pass(5000);
  expect(ids(tab)).toEqual(["m9"]);
  expect(await older()).toEqual([["m8", "m9"], false, 2]);
});
