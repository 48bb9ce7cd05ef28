import { afterAll, expect, test } from "vitest";
import { Browser, DAVE, FRANK, GENERAL, TEAM, until } from "../browser.js";
import { calm, person, revoke, token } from "./control.js";

const browsers: Browser[] = [];
const browser = () => browsers[browsers.push(new Browser()) - 1]!;
afterAll(() => browsers.forEach(b => b.close()));

test("a token is replaced before it expires, and nothing is dropped", async () => {
  const asked: boolean[] = [];
  const { rt } = browser().tab({ url: calm, getToken: ({ refresh }) => { asked.push(refresh); return token(DAVE, refresh ? 3600 : 20); } });
  const states: string[] = [];
  rt.connection.events.on("state", i => { if (i.state !== states.at(-1)) states.push(i.state); });
  rt.connect();
  await until("synchronized", () => rt.sync.get().state === "synchronized");
  const session = rt.connection.get().sessionId;
  await until("refreshed", () => asked.includes(true));
  await new Promise(r => setTimeout(r, 20_500)); // past the first one's end
  expect(rt.connection.get()).toMatchObject({ state: "connected", sessionId: session });
  expect(states).toEqual(["connecting", "connected"]);
}, 180_000);

test("a token that is refused is asked for once more; then it needs a sign-in, without a loop", async () => {
  let asked = 0, good = false;
  const { rt } = browser().tab({ url: calm, userId: FRANK, getToken: () => { asked++; return good ? token(FRANK) : "no.token.atall"; } });
  rt.connect();
  await until("needs-auth", () => rt.connection.get().state === "needs-auth");
  await new Promise(r => setTimeout(r, 1500));
  expect(asked).toBe(2);
  good = true;
  rt.authChanged();
  await until("connected", () => rt.connection.get().state === "connected");
});

test("a session that is revoked needs a sign-in", async () => {
  let old: string | undefined;
  const { rt } = browser().tab({ url: calm, getToken: async () => (old ??= await token(FRANK)) });
  rt.connect();
  await until("synchronized", () => rt.sync.get().state === "synchronized");
  await revoke(FRANK);
  await until("needs-auth", () => rt.connection.get().state === "needs-auth");
});

test("sign-out wipes what is stored, in all tabs; another user finds nothing of it", async () => {
  const id = await person("Nina", TEAM), machine = browser(), options = { url: calm, getToken: () => token(id) };
  const [one, two] = [machine.tab(options), machine.tab(options)];
  for (const t of [one, two]) {
    t.rt.connect();
    await until("synchronized", () => t.rt.sync.get().state === "synchronized");
  }
  expect((await machine.indexedDB.databases()).length).toBe(1);
  one.network(false);
  await one.rt.send(GENERAL, "never sent");
  const { discarded } = await one.rt.signOut();
  await until("the other tab too", () => two.rt.connection.get().state === "closed");
  expect(await machine.indexedDB.databases()).toEqual([]);
  for (const t of [one, two]) {
    expect(t.rt.timeline(TEAM).get()).toEqual([]);
    expect(t.rt.channels.get().size).toBe(0);
    expect(t.rt.user.get()).toBeNull();
  }
  expect(discarded).toBeLessThanOrEqual(1); // the other tab, online, may have led and sent it
});

test("what the server refuses for good is shown, can be tried again, and holds nothing up", async () => {
  const { rt } = browser().tab({ url: calm, getToken: () => token(DAVE) });
  rt.connect();
  await until("synchronized", () => rt.sync.get().state === "synchronized");
  const bad = await rt.send(TEAM, "dave is no member"), worse = await rt.queue.send({ channelId: "no uuid", content: "x" });
  const good = await rt.send(GENERAL, `after it ${Math.random()}`);
  await rt.queue.settled(good.clientMessageId);
  await expect(rt.queue.settled(bad.clientMessageId)).rejects.toMatchObject({ code: "access-denied" });
  await until("both failed", () => rt.queue.get().failed === 2);
  const shown = rt.timeline(TEAM).get().at(-1);
  expect(shown).toMatchObject({ id: bad.clientMessageId, status: "failed", error: { code: "access-denied" } });
  await rt.queue.retry(bad.clientMessageId);
  await until("refused again", () => rt.queue.get().failed === 2 && rt.queue.get().pending === 0);
  await rt.queue.discard(bad.clientMessageId);
  await rt.queue.discard(worse.clientMessageId);
  expect(rt.queue.get().items).toEqual([]);
});
