import { afterAll, expect, test } from "vitest";
import { ALICE, BOB, Browser, CAROL, DM, TEAM, until } from "../browser.js";
import { kill, rough, start, token } from "./control.js";
import { Link } from "./link.js";

const browsers: Browser[] = [], links: Link[] = [];
const browser = () => browsers[browsers.push(new Browser()) - 1]!;
const link = async () => links[links.push(await Link.to(rough)) - 1]!;
afterAll(() => {
  browsers.forEach(b => b.close());
  links.forEach(l => l.close());
});

test("a flaky link and a killed server: two users, 200 messages, equal histories, none lost, doubled or out of order", async () => {
  const wires = [await link(), await link()];
  const [a, b] = [ALICE, BOB].map((user, i) => browser().tab({ url: wires[i]!.url, getToken: () => token(user) }));
  const heard: string[][] = [[], []];
  [a!, b!].forEach((tab, i) => {
    tab.rt.connect();
    tab.rt.on("message", m => { if (m.channelId === TEAM && /^[ab]\d/.test(m.content!)) heard[i]!.push(m.content!); });
  });
  const synchronized = () => [a!, b!].every(t => t.rt.sync.get().state === "synchronized");
  await until("both synchronized", synchronized);
  let over = false;
  const cutting = (async () => {
    for (let i = 0; !over; i++) {
      await new Promise(r => setTimeout(r, 350 + Math.random() * 300));
      wires[i % 2]!.cut();
      if (i % 5 === 3) { // offline for a while, and both at once
        wires.forEach(w => { w.down = true; w.cut(); });
        [a!, b!].forEach(t => t.network(false));
        await new Promise(r => setTimeout(r, 400));
        wires.forEach(w => { w.down = false; });
        [a!, b!].forEach(t => t.network(true));
      }
    }
  })();
  for (let i = 0; i < 100; i++) {
    await Promise.all([a!.rt.send(TEAM, `a${i}`), b!.rt.send(TEAM, `b${i}`)]);
    if (i === 40) await kill(); // a node dies
    if (i === 60) await start();
    await new Promise(r => setTimeout(r, 40));
  }
  over = true;
  await cutting;
  wires.forEach(w => { w.down = false; });
  const log = (i: number) => [a!, b!][i]!.rt.timeline(TEAM).get().filter(m => /^[ab]\d/.test(m.content ?? ""));
  await until("all of it on both sides", () => synchronized() && [0, 1].every(i => log(i).filter(m => m.seq).length >= 200), 25_000);
  await until("queues empty", () => [a!, b!].every(t => !t.rt.queue.get().items.length));

  const texts = [0, 1].map(i => log(i).map(m => m.content!));
  expect(texts[0]).toEqual(texts[1]);
  expect(texts[0]).toHaveLength(200);
  expect(new Set(texts[0]).size).toBe(200);
  for (const who of ["a", "b"]) expect(texts[0]!.filter(t => t[0] === who)).toEqual(Array.from({ length: 100 }, (_, i) => who + i));
  const seqs = log(0).map(m => Number(m.seq));
  expect(seqs).toEqual([...seqs].sort((x, y) => x - y));
  for (const h of heard) { // and each was announced once
    expect(new Set(h).size).toBe(h.length);
    expect(h).toHaveLength(200);
  }
  expect(wires[0]!.cuts + wires[1]!.cuts).toBeGreaterThan(8);
  expect(a!.rt.queue.get().failed + b!.rt.queue.get().failed).toBe(0);
}, 60_000);

test("a queue outlives the page, and is sent once by the next", async () => {
  const wire = await link(), machine = browser(), options = { url: wire.url, getToken: () => token(CAROL) };
  const first = machine.tab(options);
  first.rt.connect();
  await until("synchronized", () => first.rt.sync.get().state === "synchronized");
  wire.down = true;
  wire.cut();
  first.network(false);
  const texts = Array.from({ length: 5 }, (_, i) => `kept ${i} ${Math.random()}`);
  for (const text of texts) await first.rt.send(TEAM, text);
  expect(first.rt.connection.get().state).toBe("offline");
  expect(first.rt.queue.get()).toMatchObject({ pending: 5, persistence: "indexeddb" });
  first.rt.close(); // the page is gone

  const second = machine.tab(options);
  second.rt.connect();
  await until("what waits is shown, offline", () => second.rt.queue.get().pending === 5);
  expect(second.rt.timeline(TEAM).get().slice(-5).map(m => [m.content, m.status])).toEqual(texts.map(t => [t, "pending"]));
  wire.down = false;
  second.network(true);
  await until("sent", () => second.rt.queue.get().items.length === 0 && second.rt.sync.get().state === "synchronized");
  const watcher = browser().tab({ url: rough, getToken: () => token(ALICE) });
  watcher.rt.connect();
  await until("there", () => watcher.rt.timeline(TEAM).get().some(m => m.content === texts[4]));
  expect(watcher.rt.timeline(TEAM).get().map(m => m.content).filter(c => c!.startsWith("kept"))).toEqual(texts);
  // And it went on from the cursor it had: nothing that was there came again.
  expect(second.rt.sync.get().result!.messages.synced).toBeLessThanOrEqual(5);
});

test("two tabs of one browser: one sends, both show, nothing twice; when one dies the other goes on", async () => {
  const machine = browser(), wire = await link(), options = { url: wire.url, getToken: () => token(BOB) };
  const [one, two] = [machine.tab(options), machine.tab(options)];
  for (const t of [one, two]) {
    t.rt.connect();
    await until("synchronized", () => t.rt.sync.get().state === "synchronized");
  }
  const texts = Array.from({ length: 20 }, (_, i) => `tab ${i} ${Math.random()}`);
  const flushed = [0, 0];
  [one, two].forEach((t, i) => t.rt.queue.events.on("flushed", f => { flushed[i]! += f.sent; }));
  for (const [i, text] of texts.entries()) await (i % 2 ? one : two).rt.send(DM, text); // one after another: that is the order
  const has = (t: typeof one) => t.rt.timeline(DM).get().filter(m => texts.includes(m.content!) && m.seq).map(m => m.content);
  await until("all in both", () => [one, two].every(t => has(t).length === 20 && !t.rt.queue.get().items.length));
  expect(has(one)).toEqual(texts);
  expect(has(two)).toEqual(texts);
  expect(flushed.sort((a, b) => a - b)).toEqual([0, 20]);

  wire.down = true;
  wire.cut();
  await until("both lost it", () => [one, two].every(t => t.rt.connection.get().state !== "connected"));
  await two.rt.send(DM, "from the tab that stays");
  await until("seen in the other", () => one.rt.queue.get().pending === 1);
  one.rt.close();
  wire.down = false;
  two.rt.connection.check();
  await until("the other leads, and sends", () => two.rt.timeline(DM).get().some(m => m.content === "from the tab that stays" && m.seq));
  await until("none left", () => !two.rt.queue.get().items.length);
});

test("a link that swallows everything is noticed at once when the page is shown", async () => {
  const wire = await link(), tab = browser().tab({ url: wire.url, getToken: () => token(CAROL) });
  tab.rt.connect();
  await until("synchronized", () => tab.rt.sync.get().state === "synchronized");
  wire.black = true;
  tab.hide(true);
  await new Promise(r => setTimeout(r, 100)); // what was under way has come
  const session = tab.rt.connection.get().sessionId, begun = Date.now();
  tab.hide(false);
  await until("noticed", () => tab.rt.connection.get().state !== "connected");
  expect(Date.now() - begun).toBeLessThan(5000);
  wire.cut();
  wire.black = false;
  tab.rt.connection.check();
  await until("again", () => tab.rt.sync.get().state === "synchronized" && tab.rt.connection.get().sessionId !== session);
});
