import { afterAll, expect, test } from "vitest";
import { ALICE, Browser, GENERAL, until } from "../browser.js";
import { calm, channel, person, token } from "./control.js";
import { Link } from "./link.js";

const browsers: Browser[] = [], links: Link[] = [];
const browser = () => browsers[browsers.push(new Browser()) - 1]!;
const link = async () => links[links.push(await Link.to(calm)) - 1]!;
afterAll(() => {
  browsers.forEach(b => b.close());
  links.forEach(l => l.close());
});

test("a queue outlives the page, and is sent once by the next", async () => {
  const id = await person("Kim"), room = await channel(id, ALICE), wire = await link(), machine = browser(), options = { url: wire.url, getToken: () => token(id) };
  const first = machine.tab(options);
  first.rt.connect();
  await until("synchronized", () => first.rt.sync.get().state === "synchronized");
  wire.down = true;
  wire.cut();
  first.network(false);
  const texts = Array.from({ length: 5 }, (_, i) => `kept ${i} ${Math.random()}`);
  for (const text of texts) await first.rt.send(room, text);
  expect(first.rt.connection.get().state).toBe("offline");
  expect(first.rt.queue.get()).toMatchObject({ pending: 5, persistence: "indexeddb" });
  first.rt.close(); // the page is gone

  const second = machine.tab(options);
  second.rt.connect();
  await until("what waits is shown, offline", () => second.rt.queue.get().pending === 5);
  expect(second.rt.timeline(room).get().slice(-5).map(m => [m.content, m.status])).toEqual(texts.map(t => [t, "pending"]));
  wire.down = false;
  second.network(true);
  await until("sent", () => second.rt.queue.get().items.length === 0 && second.rt.sync.get().state === "synchronized");
  const watcher = browser().tab({ url: calm, getToken: () => token(ALICE) });
  watcher.rt.connect();
  await until("there", () => watcher.rt.timeline(room).get().some(m => m.content === texts[4]));
  expect(watcher.rt.timeline(room).get().map(m => m.content).filter(c => c!.startsWith("kept"))).toEqual(texts);
  // And it went on from the cursor it had: nothing that was there came again.
  expect(second.rt.sync.get().result!.messages.synced).toBeLessThanOrEqual(5);
});

test("two tabs of one browser: one sends, both show, nothing twice; when one dies the other goes on", async () => {
  const id = await person("Leo", GENERAL), machine = browser(), wire = await link(), options = { url: wire.url, getToken: () => token(id) };
  const [one, two] = [machine.tab(options), machine.tab(options)];
  for (const t of [one, two]) {
    t.rt.connect();
    await until("synchronized", () => t.rt.sync.get().state === "synchronized");
  }
  const texts = Array.from({ length: 20 }, (_, i) => `tab ${i} ${Math.random()}`);
  const flushed = [0, 0];
  [one, two].forEach((t, i) => t.rt.queue.events.on("flushed", f => { flushed[i]! += f.sent; }));
  for (const [i, text] of texts.entries()) await (i % 2 ? one : two).rt.send(GENERAL, text); // one after another: that is the order
  const has = (t: typeof one) => t.rt.timeline(GENERAL).get().filter(m => texts.includes(m.content!) && m.seq).map(m => m.content);
  await until("all in both", () => [one, two].every(t => has(t).length === 20 && !t.rt.queue.get().items.length));
  expect(has(one)).toEqual(texts);
  expect(has(two)).toEqual(texts);
  await until("told that they are sent", () => flushed[0]! + flushed[1]! >= 20); // once none is left to send, after the last is shown
  expect(flushed.sort((a, b) => a - b)).toEqual([0, 20]);

  wire.down = true;
  wire.cut();
  await until("both lost it", () => [one, two].every(t => t.rt.connection.get().state !== "connected"));
  await two.rt.send(GENERAL, "from the tab that stays");
  await until("seen in the other", () => one.rt.queue.get().pending === 1);
  one.rt.close();
  wire.down = false;
  two.rt.connection.check();
  await until("the other leads, and sends", () => two.rt.timeline(GENERAL).get().some(m => m.content === "from the tab that stays" && m.seq));
  await until("none left", () => !two.rt.queue.get().items.length);
});

test("a link that swallows everything is noticed at once when the page is shown", async () => {
  const id = await person("Mia"), wire = await link(), tab = browser().tab({ url: wire.url, getToken: () => token(id) });
  tab.rt.connect();
  await until("synchronized", () => tab.rt.sync.get().state === "synchronized");
  wire.black = true;
  tab.hide(true);
  await new Promise(r => setTimeout(r, 100)); // what was under way has come
  const session = tab.rt.connection.get().sessionId, begun = Date.now();
  tab.hide(false);
  await until("noticed", () => tab.rt.connection.get().state !== "connected");
  expect(Date.now() - begun).toBeLessThan(9000); // three seconds and what the machine takes; without the look it would be ten
  wire.cut();
  wire.black = false;
  tab.rt.connection.check();
  await until("again", () => tab.rt.sync.get().state === "synchronized" && tab.rt.connection.get().sessionId !== session);
});
