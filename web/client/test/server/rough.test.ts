import { afterAll, expect, test } from "vitest";
import { ALICE, BOB, Browser, TEAM, until } from "../browser.js";
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
  await until("all of it on both sides", () => synchronized() && [0, 1].every(i => log(i).filter(m => m.seq).length >= 200));
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
}, 180_000);
