import { beforeEach, expect, test, vi } from "vitest";
import { canonical } from "../../src/digest.js";
import { ALICE } from "../browser.js";
import { connected, eachOnItsWire, type Operation, pass, refusal, settle, wire } from "./wire.js";

let seq: number;
eachOnItsWire();
beforeEach(() => { seq = 0; });

type Input = { clientMessageId: string; channelId: string; content: string };
const inputs = (op: Operation) => op.variables.input as unknown as Input[];
const message = (i: Input) => ({
  id: `id-${i.clientMessageId}`, clientMessageId: i.clientMessageId, channelId: i.channelId, threadId: null, parentMessageId: null, senderId: ALICE, content: i.content, type: "text",
  metadata: null, mentions: [], seq: `${++seq}`, version: 1, createdAt: new Date().toISOString(), editedAt: null, editedBy: null, deletedAt: null, delivery: null,
});
const took = (i: Input) => ({ clientMessageId: i.clientMessageId, status: "sent", duplicate: false, message: message(i), error: null });
const refused = (i: Input, code: string, retryable: boolean, retryAfterMs: number | null = null) => ({ clientMessageId: i.clientMessageId, status: "failed", duplicate: false, message: null, error: { code, message: code, retryable, retryAfterMs } });
const all = (op: Operation) => ({ sendMessages: { results: inputs(op).map(took) } });
async function stored() {
  const [db] = await wire.browser.indexedDB.databases();
  return new Promise<{ input: Input; dead: unknown; n: number }[]>((resolve, reject) => {
    const open = wire.browser.indexedDB.open(db!.name!);
    open.onerror = () => reject(open.error);
    open.onsuccess = () => {
      const get = open.result.transaction("outbox").objectStore("outbox").getAll();
      get.onsuccess = () => { open.result.close(); resolve(get.result); };
    };
  });
}

test("the row is stored before it is sent, and goes with that key's answer alone", async () => {
  const tab = await connected(wire);
  let rows: Awaited<ReturnType<typeof stored>> = [];
  wire.replies.Send = async op => {
    rows = await stored();
    return { sendMessages: { results: [{ ...took(inputs(op)[0]!), clientMessageId: "another" }] } };
  };
  const q = await tab.rt.send("c1", "hello");
  await pass(10);
  expect(rows.map(r => r.input.clientMessageId)).toEqual([q.clientMessageId]);
  expect((await stored()).length).toBe(1); // what was answered is another's
  await pass(400);
  expect(wire.of("Send")).toHaveLength(1); // and it is not asked over and over
  wire.replies.Send = all;
  await pass(3000);
  expect(await stored()).toEqual([]);
  expect(tab.rt.timeline("c1").get().map(m => [m.content, m.status])).toEqual([["hello", "sent"]]);
});

test("a text that was cut within an emoji is stored and hashed as it arrives", async () => {
  const tab = await connected(wire);
  let sent: Operation | undefined;
  wire.replies.Send = op => { sent = op; return all(op); };
  await tab.rt.send("c1", "cut 🎉 \ud83d");
  await settle();
  expect(inputs(sent!)[0]!.content).toBe("cut 🎉 \ufffd");
  const text = canonical(sent!.variables.input as never);
  expect(text).toContain('"cut 🎉 \ufffd"');
  const sum = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  expect(sent!.variables.digest).toBe([...new Uint8Array(sum)].map(b => b.toString(16).padStart(2, "0")).join(""));
});

test("an answer that is lost is asked for again under the same key, in the same order", async () => {
  const tab = await connected(wire);
  wire.replies.Send = op => void op.socket.end(1006, ""); // it may have arrived
  const sent = await Promise.all(["one", "two", "three"].map(text => tab.rt.send("c1", text)));
  await pass(10);
  wire.replies.Send = all;
  await pass(3000);
  const batches = wire.of("Send").map(op => inputs(op).map(i => [i.clientMessageId, i.content]));
  const whole = sent.map((q, i) => [q.clientMessageId, ["one", "two", "three"][i]]);
  expect(batches.at(-1)).toEqual(whole.slice(whole.length - batches.at(-1)!.length));
  expect(tab.rt.timeline("c1").get().map(m => m.content)).toEqual(["one", "two", "three"]);
  expect(tab.rt.queue.get().items).toEqual([]);
});

test("what may succeed later holds its own channel up, and no other", async () => {
  const tab = await connected(wire);
  let slow = true;
  wire.replies.Send = op => ({ sendMessages: { results: inputs(op).map(i => (i.channelId === "slow" && slow ? refused(i, "rate-limited", true, 8000) : took(i))) } });
  await tab.rt.send("slow", "s1");
  await tab.rt.send("slow", "s2");
  await tab.rt.send("fast", "f1");
  await pass(100);
  await tab.rt.send("fast", "f2");
  await pass(100);
  expect(tab.rt.timeline("fast").get().map(m => m.status)).toEqual(["sent", "sent"]);
  expect(tab.rt.queue.get().items.map(i => [i.input.content, i.status, i.attempts])).toEqual([["s1", "pending", 1], ["s2", "pending", 0]]);
  slow = false;
  await pass(7000);
  expect(tab.rt.queue.get().pending).toBe(2);
  await pass(2000);
  expect(tab.rt.timeline("slow").get().map(m => [m.content, m.status])).toEqual([["s1", "sent"], ["s2", "sent"]]);
});

test("one that the server cannot even read is found among others, and those are sent", async () => {
  const tab = await connected(wire), events: string[] = [];
  tab.rt.queue.events.on("failed", q => events.push(`${q.input.content}: ${q.error!.code}`));
  wire.replies.Send = op => (inputs(op).some(i => i.content === "poison") ? refusal("validation-failed") : all(op));
  await Promise.all(["a", "b", "poison", "c"].map(text => tab.rt.send("c1", text)));
  await pass(500);
  expect(tab.rt.timeline("c1").get().map(m => [m.content, m.status])).toEqual([["a", "sent"], ["b", "sent"], ["c", "sent"], ["poison", "failed"]]);
  expect(events).toEqual(["poison: validation-failed"]);
  expect((await stored()).map(r => r.input.content)).toEqual(["poison"]);
});

test("what is stored and is not what was written is shown, not sent", async () => {
  const tab = await connected(wire);
  tab.network(false);
  await tab.rt.send("c1", "as written");
  const [db] = await wire.browser.indexedDB.databases();
  await new Promise<void>(resolve => {
    const open = wire.browser.indexedDB.open(db!.name!);
    open.onsuccess = () => {
      const store = open.result.transaction("outbox", "readwrite").objectStore("outbox"), get = store.getAll();
      get.onsuccess = () => {
        const [row] = get.result;
        store.put({ ...row, input: { ...row.input, content: "as changed" } }).onsuccess = () => { open.result.close(); resolve(); };
      };
    };
  });
  wire.replies.Send = all;
  tab.network(true);
  await pass(2000);
  expect(wire.of("Send")).toEqual([]);
  expect(tab.rt.queue.get()).toMatchObject({ failed: 1, items: [{ error: { code: "corrupted" } }] });
});

test("a week is enough: it fails as expired, and by hand it is tried again", async () => {
  const tab = await connected(wire);
  tab.network(false);
  const q = await tab.rt.send("c1", "old");
  vi.setSystemTime(Date.now() + 8 * 86_400_000);
  wire.replies.Send = all;
  tab.network(true);
  await pass(2000);
  expect(tab.rt.queue.get().items[0]).toMatchObject({ status: "failed", error: { code: "expired" } });
  await expect(tab.rt.queue.settled(q.clientMessageId)).rejects.toMatchObject({ code: "expired" });
  await tab.rt.queue.retry(q.clientMessageId);
  await pass(100);
  expect(tab.rt.timeline("c1").get()[0]).toMatchObject({ content: "old", status: "sent" });
});

test("a full queue refuses the newest and says so; nothing is dropped for it", async () => {
  const tab = await connected(wire, { maxQueued: 3 });
  tab.network(false);
  for (const text of ["1", "2", "3"]) await tab.rt.send("c1", text);
  await expect(tab.rt.send("c1", "4")).rejects.toMatchObject({ code: "queue-full" });
  expect((await stored()).map(r => r.input.content)).toEqual(["1", "2", "3"]);
  const same = await tab.rt.queue.send({ channelId: "c1", content: "1", clientMessageId: tab.rt.queue.get().items[0]!.clientMessageId });
  expect(same.clientMessageId).toBe(tab.rt.queue.get().items[0]!.clientMessageId);
  expect(await tab.rt.queue.clear()).toBe(3);
  expect(await stored()).toEqual([]);
});

test("what is queued while the tab that led goes away is sent by the next, at once", async () => {
  const one = await connected(wire), two = await connected(wire);
  wire.replies.Send = all;
  one.network(false); // it leads, and sends nothing
  await pass(50);
  await two.rt.send("c1", "who sends it");
  await pass(200);
  expect(two.rt.queue.get().pending).toBe(1);
  one.rt.close();
  await pass(200);
  expect(two.rt.queue.get().pending).toBe(0);
  expect(two.rt.timeline("c1").get()[0]).toMatchObject({ content: "who sends it", status: "sent" });
});

test("without storage it works, and says that it lives in memory", async () => {
  const tab = await connected(wire, { storage: "memory" });
  wire.replies.Send = all;
  await tab.rt.send("c1", "here");
  await pass(100);
  expect(tab.rt.queue.get()).toMatchObject({ persistence: "memory", items: [] });
  expect(await wire.browser.indexedDB.databases()).toEqual([]);
  expect(tab.rt.timeline("c1").get()[0]).toMatchObject({ content: "here", status: "sent" });
});

test("while the server has enough of it, new messages wait as well", async () => {
  const tab = await connected(wire);
  wire.replies.Send = () => refusal("rate-limited", true, { retryAfterMs: 5000 });
  await tab.rt.send("c1", "1");
  await pass(100);
  for (const text of ["2", "3"]) await tab.rt.send("c2", text);
  await pass(3000);
  expect(wire.of("Send").length).toBe(1);
  wire.replies.Send = all;
  await pass(3000);
  expect(tab.rt.queue.get().items).toEqual([]);
});

test("one that is larger than a frame may be is shown, not sent, and the client goes on", async () => {
  const tab = await connected(wire);
  let most = 1 << 20;
  let other = false;
  wire.replies.Send = op => (other || JSON.stringify(op.variables).length > most ? void op.socket.end(1009, (other = false) || "") : all(op));
  await Promise.all(["x".repeat(1 << 20), "\u00e9".repeat(1 << 19), "small"].map(text => tab.rt.send("c1", text)));
  await pass(500);
  const failed = () => tab.rt.queue.get().items.map(i => [i.input.content?.slice(0, 1), i.error?.code]);
  expect(failed()).toEqual([["x", "too-large"], ["\u00e9", "too-large"]]);
  expect(wire.sockets.length).toBe(1);
  expect(tab.rt.timeline("c1").get()[0]).toMatchObject({ content: "small", status: "sent" });

  await tab.rt.queue.clear();
  most = 50_000; // a proxy's: nothing says it but the close
  await Promise.all(["b", "c".repeat(60_000), "d"].map(text => tab.rt.send("c1", text)));
  for (let i = 0; i < 20; i++) await pass(1000); // storage takes what real time it takes, row by row
  expect(failed()).toEqual([["c", "too-large"]]);
  expect(tab.rt.connection.get().state).toBe("connected");
  expect(tab.rt.timeline("c1").get().map(m => [m.content?.slice(0, 5), m.status])).toEqual([["small", "sent"], ["b", "sent"], ["d", "sent"], ["ccccc", "failed"]]);

  other = true; // another frame is closed for, once, while one of these is on its way
  await tab.rt.send("c1", "innocent");
  for (let i = 0; i < 20; i++) await pass(1000);
  expect(tab.rt.timeline("c1").get().at(-2)).toMatchObject({ content: "innocent", status: "sent" });
  wire.socket.end(1009, ""); // with nothing of the queue's on its way it is as ever
  await pass(50);
  expect(tab.rt.connection.get().state).toBe("failed");
});

test("the server's own limit of a frame counts", async () => {
  wire.replies.Config = () => ({ realtimeConfig: { maxBatch: 100, maxFrameBytes: 20_000 } });
  const tab = await connected(wire), sizes: number[] = [];
  wire.replies.Send = op => { sizes.push(JSON.stringify(op.variables).length); return all(op); };
  await Promise.all(["x".repeat(20_000), "y".repeat(9000), "z".repeat(9000), "w".repeat(9000)].map(text => tab.rt.send("c1", text)));
  await pass(500);
  expect(tab.rt.queue.get().items.map(i => i.error?.code)).toEqual(["too-large"]);
  expect(tab.rt.timeline("c1").get().filter(m => m.status === "sent").length).toBe(3);
  expect(Math.max(...sizes)).toBeLessThan(20_000);
});

test("what one tab discards, those who wait for it hear of in all", async () => {
  const one = await connected(wire), two = await connected(wire), outcomes: string[] = [];
  wire.replies.Send = op => ({ sendMessages: { results: inputs(op).map(i => refused(i, "rate-limited", true, 9000)) } });
  const { clientMessageId } = await two.rt.send("c1", "discard me");
  await pass(50);
  for (const tab of [one, two]) tab.rt.queue.settled(clientMessageId).catch(e => outcomes.push(e.code));
  await Promise.all([two.rt.queue.discard(clientMessageId), pass(50)]);
  expect(await stored()).toEqual([]);
  expect(outcomes).toEqual(["discarded", "discarded"]);
});

test.each(["browser", "memory"] as const)("who waits for a message hears it when its user goes (%s)", async storage => {
  let token: string | null = "a.b.c";
  const tab = await connected(wire, { storage, getToken: () => token }), outcomes: string[] = [], cleared: number[] = [];
  const wait = async () => {
    tab.network(false);
    const { clientMessageId } = await tab.rt.send("c1", "x");
    tab.rt.queue.settled(clientMessageId).catch(e => outcomes.push(e.code));
  };
  tab.rt.queue.events.on("cleared", ({ count }) => cleared.push(count));
  await wait();
  await Promise.all([tab.rt.signOut(), pass(500)]);
  expect([outcomes, cleared]).toEqual([["closed"], [1]]);
  tab.network(true);
  tab.rt.connect();
  await pass(500);
  await wait();
  token = null;
  tab.network(true);
  await pass(3000);
  expect(tab.rt.connection.get().state).toBe("needs-auth");
  expect([outcomes, cleared]).toEqual([["closed", "closed"], [1, 1]]);
});
