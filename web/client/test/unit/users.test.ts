import { expect, test } from "vitest";
import { ALICE, BOB } from "../browser.js";
import { connected, eachOnItsWire, emptyPage, type Operation, pass, settle, wire } from "./wire.js";

eachOnItsWire();
const claims = (user: string) => `a.${btoa(JSON.stringify({ "https://hasura.io/jwt/claims": { "x-hasura-user-id": user } }))}.c`;
const message = (content: string) => ({ id: content, clientMessageId: null, channelId: "c1", threadId: null, parentMessageId: null, senderId: BOB, content, type: "text", metadata: null, mentions: [], seq: "1", version: 1, createdAt: "", editedAt: null, editedBy: null, deletedAt: null, delivery: null });
async function dump(user: string) {
  const name = (await wire.browser.indexedDB.databases()).map(d => d.name!).find(n => n.endsWith(user));
  if (!name) return "";
  return new Promise<string>(resolve => {
    const open = wire.browser.indexedDB.open(name);
    open.onsuccess = () => {
      const tx = open.result.transaction(["outbox", "messages", "kv"]), all = ["outbox", "messages", "kv"].map(s => tx.objectStore(s).getAll());
      tx.oncomplete = () => { open.result.close(); resolve(JSON.stringify(all.map(r => r.result))); };
    };
  });
}

test("another user signs in on the same page: nothing of the first is shown, stored with or sent as the second", async () => {
  let who = BOB;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  wire.replies.Sync = () => ({ sync: { ...emptyPage, cursor: `of ${who}`, messages: who === ALICE ? [message("for alice")] : [] } });
  const tab = await connected(wire, { userId: undefined, getToken: () => claims(who) }), { rt } = tab;
  await pass(1000); // what is bob's is stored, with its cursor
  who = ALICE;
  rt.authChanged();
  await pass(1000);
  expect(rt.user.get()).toBe(ALICE);
  wire.replies.Send = () => undefined; // no answer
  await rt.send("c1", "alice waits");
  await settle();
  const stream = wire.of("Events").at(-1)!;
  stream.socket.next(stream.id, { events: { cursor: "later", payload: { __typename: "MessageCreated", message: { ...message("late for alice"), seq: "2" } } } }); // to be stored within 200 ms
  const draft = rt.send("c1", "alice's last words");
  who = BOB;
  rt.authChanged();
  await draft.catch(() => {});
  wire.replies.Send = (op: Operation) => ({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string }[]).map(i => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: { code: "x", message: "x", retryable: false, retryAfterMs: null } })) } });
  const before = wire.of("Send").length;
  await pass(20_000);
  expect(rt.user.get()).toBe(BOB);
  expect(rt.timeline("c1").get()).toEqual([]);
  expect(rt.queue.get().items).toEqual([]);
  expect(wire.of("Send").length).toBe(before);
  expect(wire.of("Sync").at(-1)!.variables.cursor).toBe(`of ${BOB}`);
  const [alices, bobs] = [await dump(ALICE), await dump(BOB)];
  expect(bobs).not.toMatch(/alice/);
  expect(bobs).toContain(`of ${BOB}`);
  expect(alices).toContain("alice waits");

  who = ALICE; // and back: what waited is hers still
  rt.authChanged();
  await pass(2000);
  expect(rt.queue.get().items.map(i => i.input.content)).toContain("alice waits");
});

test("after a sign-out the same user begins anew", async () => {
  const tab = await connected(wire), { rt } = tab;
  wire.replies.SignOut = () => ({ signOutSession: true });
  await Promise.all([rt.signOut(), pass(100)]);
  expect(await wire.browser.indexedDB.databases()).toEqual([]);
  rt.connect();
  await pass(500);
  tab.network(false);
  await rt.send("c1", "again");
  expect(await dump(ALICE)).toContain("again");
  expect(rt.queue.get()).toMatchObject({ pending: 1, persistence: "indexeddb" });
});

test("what comes over HTTP once another has signed in is nobody's: it is not shown, and not stored", async () => {
  let who = ALICE, answer!: (body: unknown) => void;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  wire.fetch = (() => new Promise(r => { answer = body => r({ json: async () => body }); })) as never;
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(who) });
  const read = async (then: () => Promise<void>) => {
    wire.up = false;
    wire.socket.end(1006, "");
    await pass(10);
    const got = rt.sync.older("c1").then(() => "read", e => e.code);
    await pass(10);
    wire.up = true;
    await then();
    answer({ data: { messages: { messages: [message("for alice")], pageInfo: { endCursor: null, hasNextPage: false } } } });
    await pass(1000);
    return got;
  };
  expect(await read(async () => {
    who = BOB;
    rt.authChanged();
    await pass(1000);
  })).toBe("connection-lost");
  expect(rt.user.get()).toBe(BOB);
  expect(rt.timeline("c1").get()).toEqual([]);
  expect(await dump(BOB)).not.toContain("for alice");
  expect(await read(() => pass(5000))).toBe("read"); // the same user on a new socket may have it
});

test.each([["never connected, and the next one's token takes its time", false, () => new Promise<string>(() => {})], ["nobody was signed in, and nobody is", true, () => null]])("what comes over HTTP where it was not known who the user is, nor is after authChanged, is nobody's: %s", async (_, connects, next) => {
  let token: () => string | null | Promise<string> = () => null, answer!: () => void;
  wire.fetch = (() => new Promise(r => { answer = () => r({ json: async () => ({ data: { messages: { messages: [message("for alice")], pageInfo: { endCursor: null, hasNextPage: false } } } }) }); })) as never;
  const { rt } = wire.tab({ userId: undefined, getToken: () => token() });
  const read = async (then: typeof token) => {
    if (connects) rt.connect();
    await pass(10);
    token = () => claims(ALICE);
    const got = rt.sync.older("c1").then(() => "read", e => e.code);
    await pass(10);
    token = then;
    rt.authChanged();
    await pass(10);
    answer();
    await pass(10);
    return got;
  };
  expect(await read(next)).toBe("connection-lost");
  expect(rt.timeline("c1").get()).toEqual([]);
  rt.disconnect();
  token = () => null;
  expect(await read(() => claims(ALICE))).toBe("read"); // it is known by then, and her own
});

test("what is written before it is known whose it is waits for that, and is sent as nobody else's", async () => {
  let who: string | null = null, give = (_: string) => {};
  wire.ack = () => ({ sessionId: "s", userId: who!, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  const tab = await connected(wire, { userId: undefined, getToken: () => (who ? claims(who) : new Promise(r => { give = r; })) }), { rt } = tab;
  const early = rt.send("c1", "early");
  who = ALICE;
  give(claims(ALICE));
  await pass(500);
  expect(await early).toMatchObject({ input: { content: "early" } });
  const sent = () => wire.of("Send").flatMap(o => (o.variables.input as { content: string }[]).map(i => i.content));
  expect(sent()).toEqual(["early"]);

  who = null; // alice's page, but nobody's token
  rt.authChanged();
  await pass(100);
  give("");
  await pass(500);
  expect(rt.user.get()).toBe(null);
  const late = rt.send("c1", "of alice, still").catch(e => e.message);
  who = BOB;
  rt.connect();
  await pass(500);
  expect(rt.user.get()).toBe(BOB);
  expect(await late).toMatch("signed out");
  expect(rt.queue.get().items).toEqual([]);
  expect(sent()).toEqual(["early"]);
});

test("a sign-out that takes its time ends nobody who signed in meanwhile", async () => {
  let who = ALICE;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(who) });
  await pass(500);
  const out = rt.signOut(); // the server does not answer it
  who = BOB;
  rt.authChanged();
  await pass(12_000);
  expect(await out).toEqual({ discarded: 0 });
  expect([rt.user.get(), rt.connection.get().state, rt.sync.get().state]).toEqual([BOB, "connected", "synchronized"]);
  await rt.send("c1", "of bob");
  await pass(1000);
  expect(wire.of("Send").flatMap(o => (o.variables.input as { content: string }[]).map(i => i.content))).toEqual(["of bob"]);
  expect(await dump(ALICE)).toBe("");
  expect(await dump(BOB)).toContain("of bob");
});

test("who signs in while what was stored of the last one is wiped stays, also the same user", async () => {
  wire.replies.SignOut = () => ({ signOutSession: true });
  const { rt } = await connected(wire);
  await pass(500);
  const off = rt.connection.events.on("state", s => {
    if (s.state !== "closed") return;
    off();
    queueMicrotask(rt.connect);
  });
  const out = rt.signOut();
  await Promise.all([out, pass(1000)]);
  expect([rt.user.get(), rt.connection.get().state, rt.sync.get().state]).toEqual([ALICE, "connected", "synchronized"]);
  await rt.send("c1", "again");
  await pass(100);
  expect(rt.queue.get()).toMatchObject({ pending: 1, persistence: "indexeddb" });
  expect(await dump(ALICE)).toContain("again");
});

test("a user given in capitals is one user", async () => {
  const id = ALICE.replace(/^0/, "a"), tab = wire.tab({ userId: id.toUpperCase() }), told: (string | null)[] = [];
  wire.ack = () => ({ sessionId: "s", userId: id, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  tab.rt.connection.events.on("user", u => told.push(u));
  tab.rt.connect();
  await pass(500);
  wire.socket.end(1006, "");
  await pass(5000);
  expect([told, wire.sockets.length]).toEqual([[id], 2]);
});

test("what was sent for a user is not told to the next", async () => {
  let who = ALICE;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(who) });
  wire.replies.Send = op => ({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string }[]).map(i => ({ clientMessageId: i.clientMessageId, status: "sent", duplicate: false, message: { ...message("alice's"), clientMessageId: i.clientMessageId }, error: null })) } });
  const { clientMessageId } = await rt.send("c1", "alice's");
  await pass(500);
  expect(await rt.queue.settled(clientMessageId)).toMatchObject({ content: "alice's" });
  who = BOB;
  rt.authChanged();
  await pass(500);
  let told: unknown;
  rt.queue.settled(clientMessageId).then(m => { told = m; }, () => {});
  await pass(500);
  expect(told).toBeUndefined();
});

test("who is signed out stays so where no token can be had, also with an id that is given", async () => {
  let token: string | null = "a.b.c";
  const { rt } = await connected(wire, { getToken: () => { if (token === "none") throw new Error("no network"); return token; } });
  token = null;
  rt.authChanged();
  await pass(500);
  token = "none";
  rt.connect();
  await pass(5000);
  expect([rt.user.get(), rt.connection.get().state]).toEqual([null, "reconnecting"]);
});

test.each([["another id than the server knows its user by", claims("auth0|17")], ["no id", "opaque"]])("a token that says %s changes nobody, whatever ends and begins again", async (_, token) => {
  wire.ack = () => ({ sessionId: "s", userId: ALICE, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: new Date(Date.now() + 600_000).toISOString() });
  wire.fetch = (async () => ({ json: async () => ({ data: { messages: { messages: [message("older")], pageInfo: { endCursor: null, hasNextPage: false } } } }) })) as never;
  wire.replies.Sync = op => ({ sync: { ...emptyPage, messages: op.variables.cursor as unknown ? [] : [{ ...message("m1"), seq: "2" }] } });
  wire.replies.Refresh = () => ({ refreshSession: { expiresAt: null } });
  const tab = await connected(wire, { userId: undefined, getToken: () => token }), { rt } = tab, told: (string | null)[] = [];
  await pass(500);
  rt.connection.events.on("user", id => told.push(id));
  tab.network(false);
  expect(await Promise.all([rt.sync.older("c1").then(o => o.more, e => e.message), pass(100)])).toEqual([false, undefined]);
  await rt.send("c1", "offline");
  tab.network(true);
  await pass(5000);
  expect(wire.of("Send").flatMap(o => (o.variables.input as { content: string }[]).map(i => i.content))).toEqual(["offline"]);
  expect(rt.timeline("c1").get().slice(0, 2).map(m => m.id)).toEqual(["older", "m1"]);
  await pass(600_000);
  expect([told, wire.of("Refresh").length, wire.sockets.length]).toEqual([[], 1, 2]);
});

test("a sign-out counts what was not sent when it is over", async () => {
  const { rt } = await connected(wire);
  let sent!: () => void, out!: () => void;
  wire.replies.Send = op => new Promise(r => { sent = () => r({ sendMessages: { results: (op.variables.input as unknown as { clientMessageId: string }[]).map(i => ({ clientMessageId: i.clientMessageId, status: "sent", duplicate: false, message: { ...message("m1"), clientMessageId: i.clientMessageId }, error: null })) } }); });
  wire.replies.SignOut = () => new Promise(r => { out = () => r({ signOutSession: true }); });
  await rt.send("c1", "m1");
  await pass(500);
  const signedOut = rt.signOut();
  await pass(10);
  sent();
  await pass(500);
  out();
  expect((await Promise.all([signedOut, pass(2000)]))[0]).toEqual({ discarded: 0 });
});
