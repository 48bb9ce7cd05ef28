import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { disk, message, spoil } from "./disk.js";
import { connected, emptyPage, fakeTime, pass, Wire } from "./wire.js";

let wire: Wire, mend: (() => void) | undefined;
beforeEach(() => {
  fakeTime();
  wire = new Wire();
  wire.replies.Sync = () => ({ sync: { ...emptyPage, messages: [message("m1")] } });
});
afterEach(() => {
  mend?.();
  mend = undefined;
  wire.browser.close();
  vi.useRealTimers();
});

test.each(["the token was gone before", "no token ever came"])("a sign-out wipes what is stored of the user, where %s", async how => {
  const first = await connected(wire);
  await pass(500);
  first.network(false);
  await first.rt.send("c1", "secret");
  expect(await disk(wire)).toMatchObject({ outbox: ["secret"], messages: ["m1"] });
  let tab = first, token: string | null | Promise<null> = null;
  first.rt.close();
  await pass(500);
  if (how === "no token ever came") token = new Promise(() => {});
  else token = "a.b.c";
  tab = wire.tab({ getToken: () => token });
  tab.network(false);
  wire.up = false;
  tab.rt.connect();
  await pass(500);
  if (how !== "no token ever came") {
    expect(tab.rt.queue.get().pending).toBe(1);
    token = null;
    tab.rt.authChanged();
    await pass(500);
    expect(tab.rt.connection.get().state).toBe("needs-auth");
  }
  const [{ discarded }] = await Promise.all([tab.rt.signOut(), pass(3000)]);
  expect(discarded).toBe(1);
  expect(await disk(wire)).toBeNull();
});

test("a sign-out ends where another tab sleeps on the database, which is empty then; the next sign-in synchronizes", async () => {
  const tab = await connected(wire), { rt } = tab;
  await pass(500);
  tab.network(false);
  await rt.send("c1", "left behind");
  const open = wire.browser.indexedDB.open((await wire.browser.indexedDB.databases())[0]!.name!);
  const asleep = await new Promise<IDBDatabase>(resolve => { open.onsuccess = () => resolve(open.result); });
  let over = false;
  void rt.signOut().then(() => { over = true; });
  await pass(3000);
  expect([over, rt.user.get(), rt.queue.get().items]).toEqual([true, null, []]);
  const tx = asleep.transaction(["outbox", "messages", "kv"]), left = ["outbox", "messages", "kv"].map(s => tx.objectStore(s).count());
  await new Promise(resolve => { tx.oncomplete = resolve; });
  expect(left.map(r => r.result)).toEqual([0, 0, 0]);
  tab.network(true);
  rt.connect();
  await pass(10_000);
  expect([rt.connection.get().state, rt.sync.get().state, rt.queue.get().persistence]).toEqual(["connected", "synchronized", "memory"]);
  asleep.close();
  await pass(100);
});

test("a storage that was lost is opened again", async () => {
  const tab = await connected(wire);
  await pass(500);
  let times = 0;
  mend = await spoil("getAll", "UnknownError", store => store.name === "outbox" && !times++);
  const sent = await tab.rt.send("c1", "hello");
  await pass(100);
  expect(times).toBeGreaterThan(1);
  expect(tab.rt.queue.get().items.map(i => i.clientMessageId)).toEqual([sent.clientMessageId]);
  expect(wire.of("Send")).toHaveLength(1);
});

test("a storage that is sick for a while ends neither the sync nor, once it is well, the queue", async () => {
  const tab = await connected(wire), said = vi.fn();
  process.on("unhandledRejection", said);
  await pass(500);
  mend = await spoil("getAll", "UnknownError");
  const before = wire.of("Sync").length;
  wire.socket.end(1006, "");
  await tab.rt.send("c1", "hello");
  await pass(20_000);
  expect([tab.rt.sync.get().state, wire.of("Sync").length]).toEqual(["synchronized", before + 1]);
  expect(wire.of("Send")).toHaveLength(0);
  mend();
  await pass(10_000);
  expect(wire.of("Send")).toHaveLength(1);
  await new Promise(r => setImmediate(r));
  process.off("unhandledRejection", said);
  expect(said).not.toHaveBeenCalled();
});

test("where what is stored cannot be read it is fetched, and what is queued is sent", async () => {
  mend = await spoil("getAllKeys", "UnknownError");
  const tab = await connected(wire);
  await pass(500);
  await tab.rt.send("c1", "hello");
  await pass(500);
  expect(tab.rt.queue.get().persistence).toBe("indexeddb");
  expect(tab.rt.timeline("c1").get().map(m => m.id)[0]).toBe("m1");
  expect(wire.of("Send")).toHaveLength(1);
});

test.each(["add", "getAll"] as const)("a transaction that the browser ends is no error that nobody hears: %s", async method => {
  const said = vi.fn();
  process.on("unhandledRejection", said);
  let times = 0;
  mend = await spoil(method, "", store => {
    if (store.name === (method === "add" ? "outbox" : "messages") && !times++) queueMicrotask(() => store.transaction.abort());
    return false;
  });
  const tab = await connected(wire);
  await pass(500);
  await tab.rt.send("c1", "hello");
  await pass(500);
  await new Promise(r => setImmediate(r));
  process.off("unhandledRejection", said);
  expect(times).toBeGreaterThan(1); // once more, on a new connection
  expect(said).not.toHaveBeenCalled();
});
