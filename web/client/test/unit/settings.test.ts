import { expect, test } from "vitest";
import { ALICE, BOB } from "../browser.js";
import { createCore } from "../../src/core.js";
import { connected, eachOnItsWire, emptyPage, pass, refusal, wire } from "./wire.js";

eachOnItsWire();
const claims = (user: string) => `a.${btoa(JSON.stringify({ sub: user }))}.c`;
const code = (p: Promise<unknown>) => p.then(() => "done", e => e.code as string);
/** What has come of them by now. */
const now = (...all: Promise<unknown>[]) => Promise.all(all.map(p => Promise.race([p, "waits"])));

interface Change { input: Record<string, unknown>; baseUpdatedAt?: string | null }
interface Sent extends Change { as: string; way: "socket" | "http" }

/** A server's settings, of which it keeps the stricter where the change stands on other ones; each change takes 50 ms, or what `held` says. */
function server() {
  const sent: Sent[] = [], it = {
    sent, version: 0, state: { showLastSeen: true, invisibleMode: false } as Record<string, unknown>,
    held: (_: Sent): Promise<unknown> => new Promise(r => setTimeout(r, 50)),
    async change(s: Sent) {
      sent.push(s);
      const refused = await it.held(s);
      if (refused) return refused;
      const stricter = s.baseUpdatedAt != null && s.baseUpdatedAt !== `t${it.version}`;
      for (const [k, v] of Object.entries(s.input)) if (!stricter || v === (k === "invisibleMode")) it.state[k] = v;
      return { updatePresenceSettings: { ...it.state, updatedAt: `t${++it.version}` } };
    },
  };
  let who = ALICE;
  wire.ack = () => ({ sessionId: "s", userId: who, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null });
  wire.replies.UpdateSettings = op => it.change({ ...(op.variables as unknown as Change), as: who, way: "socket" });
  wire.fetch = (async (_: string, { body, headers }: { body: string; headers: { authorization: string } }) => {
    const { query, variables } = JSON.parse(body), as = JSON.parse(atob(headers.authorization.split(".")[1]!)).sub;
    const data = query.includes("UpdateSettings") ? await it.change({ ...variables, as, way: "http" }) : {};
    return { json: async () => (data instanceof Error ? { errors: [{ message: data.message, extensions: data }] } : { data }) };
  }) as never;
  return Object.assign(it, { is: (user: string) => { who = user; }, who: () => who });
}

test.each(["socket", "http"] as const)("changes asked at once go out one after another over %s, each on what the last made of them: no conflict of the user's with itself", async way => {
  const s = server();
  wire.replies.Sync = () => ({ sync: { ...emptyPage, settings: { ...s.state, updatedAt: "t0" } } });
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(ALICE) });
  await pass(500);
  if (way === "http") {
    wire.up = false;
    wire.socket.end(1006, "");
    await pass(10);
  }
  await Promise.all([rt.presence.updateSettings({ showLastSeen: false }), pass(100)]);
  const all = Promise.all([rt.presence.setInvisible(true), rt.presence.setInvisible(false), rt.presence.updateSettings({ showLastSeen: true })]);
  await pass(500);
  expect(await now(all)).toMatchObject([[
    { updatedAt: "t2", invisibleMode: true, showLastSeen: false }, { updatedAt: "t3", invisibleMode: false, showLastSeen: false }, { updatedAt: "t4", invisibleMode: false, showLastSeen: true },
  ]]);
  expect(s.sent.map(c => `${c.way} ${c.baseUpdatedAt}`)).toEqual(["t0", "t1", "t2", "t3"].map(t => `${way} ${t}`));
  expect(rt.sync.get().conflicts).toEqual([]);
  expect(rt.presence.settings.get()).toMatchObject({ showLastSeen: true, invisibleMode: false, updatedAt: "t4" });
});

test.each([[true, "close"], [true, "disconnect"], [true, "signOut"], [true, "authChanged"], [true, "dial"], [false, "close"], [false, "connect"]] as const)(
  "what waits is sent as nobody else, nor is an answer told to the next (connected before: %s; ended by %s)", async (before, end) => {
    const s = server();
    let answer!: (refused?: unknown) => void;
    s.held = c => (c.as === ALICE ? new Promise(r => { answer = r; }) : Promise.resolve(undefined));
    const tab = wire.tab({ userId: undefined, getToken: () => claims(s.who()) }), { rt } = tab;
    if (before) {
      wire.up = false; // it is known whose it is, and there is HTTP alone
      rt.connect();
      await pass(100);
    }
    const first = code(rt.presence.setInvisible(true));
    await pass(100);
    const others = [code(rt.presence.updateSettings({ showLastSeen: false })), code(rt.presence.setInvisible(false))];
    await pass(100);
    expect([s.sent.length, await now(...others)]).toEqual([1, ["waits", "waits"]]);

    s.is(BOB);
    wire.up = true;
    const ended = end === "dial" ? tab.window.dispatchEvent(new Event("focus")) : rt[end](); // dialed at once, with the new token
    await pass(300);
    expect(await now(...others)).toEqual(["connection-lost", "connection-lost"]); // with the first still on its way
    await ended;
    rt.connect();
    await pass(1000);
    expect(rt.user.get()).toBe(BOB);
    if (end === "connect") answer(); // nothing ended here: who is first known may have to wait for it
    const bobs = rt.presence.updateSettings({ showLastSeen: false }); // else behind nobody
    await pass(500);
    expect(await now(bobs)).toMatchObject([{ showLastSeen: false }]);
    answer();
    await pass(10);
    expect(await now(first)).toEqual(["connection-lost"]);
    await pass(20_000);
    expect(rt.presence.settings.get()).toEqual(await bobs);
    expect(s.sent.map(c => [c.as, c.input, c.baseUpdatedAt ?? null])).toEqual([[ALICE, { invisibleMode: true }, null], [BOB, { showLastSeen: false }, null]]);
  });

test("nor is what waits for its token, where the client is closed meanwhile", async () => {
  const s = server(), give: ((token: string) => void)[] = [];
  const { rt } = wire.tab({ userId: undefined, getToken: () => new Promise(r => { give.push(r); }) });
  const changes = [code(rt.presence.setInvisible(true)), code(rt.presence.setInvisible(false))];
  await pass(100);
  rt.close();
  give.forEach(g => g(claims(BOB)));
  await pass(1000);
  expect(await now(...changes)).toEqual(["connection-lost", "connection-lost"]);
  expect([s.sent, give.length]).toEqual([[], 1]);
});

test("nor is an answer the next user's that is on its way through the page when they change", async () => {
  const s = server(), WebSocket = Object.assign(function () { return wire.open(); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
  const core = createCore({ url: "http://server.test", getToken: () => claims(s.who()), environment: { WebSocket, random: () => 0.5 } });
  core.connect();
  await pass(100);
  for (let hops = 0; hops < 12; hops++) {
    wire.replies.UpdateSettings = op => {
      op.socket.next(op.id, { updatePresenceSettings: { updatedAt: `of ${s.who()}` } });
      op.socket.say({ id: op.id, type: "complete" });
      void (async () => {
        for (let i = 0; i <= hops; i++) await null;
        s.is(s.who() === ALICE ? BOB : ALICE);
        core.authChanged();
      })();
    };
    void code(core.presence.setInvisible(true));
    await pass(50);
    expect([hops, core.user.get(), core.presence.settings.get()]).toEqual([hops, s.who(), null]);
  }
  core.close();
});

test("nor past its connection: what waits is lost with what is on its way", async () => {
  const s = server(), { rt } = await connected(wire, { userId: undefined, getToken: () => claims(ALICE) });
  s.held = () => new Promise(() => {});
  const changes = [code(rt.presence.setInvisible(true)), code(rt.presence.setInvisible(false))];
  await pass(100);
  wire.socket.end(1006, "");
  await pass(10);
  expect(await now(...changes)).toEqual(["connection-lost", "connection-lost"]);
  s.held = () => Promise.resolve(undefined);
  await pass(5000);
  expect([s.sent.length, wire.sockets.length]).toEqual([1, 2]);
  const next = code(rt.presence.setInvisible(false));
  await pass(10);
  expect(await now(next)).toEqual(["done"]);
});

test.each(["socket", "http", "token"] as const)("one that hangs (%s) holds up the next for ten seconds, and is not sent after it", async where => {
  const s = server();
  let give: ((token: string) => void) | undefined, asked = 0;
  if (where !== "token") s.held = () => (s.sent.length > 1 ? Promise.resolve(undefined) : new Promise(() => {}));
  const tab = wire.tab({ userId: undefined, getToken: () => (where === "token" && !asked++ ? new Promise<string>(r => { give = r; }) : claims(ALICE)) }), { rt } = tab;
  if (where === "socket") rt.connect();
  await pass(100);
  const first = code(rt.presence.setInvisible(true)), next = code(rt.presence.updateSettings({ showLastSeen: false }));
  await pass(9900);
  const before = s.sent.length;
  await pass(200);
  expect(await now(first, next)).toEqual(["timeout", "done"]);
  give?.(claims(ALICE));
  await pass(100);
  expect(s.sent.slice(before).map(c => c.input)).toEqual([{ showLastSeen: false }]);
});

test("after one that is refused the next goes on, with what is known then", async () => {
  const s = server();
  wire.replies.Sync = () => ({ sync: { ...emptyPage, settings: { ...s.state, updatedAt: "t0" } } });
  const { rt } = await connected(wire, { userId: undefined, getToken: () => claims(ALICE) });
  await pass(500);
  s.held = async c => {
    await new Promise(r => setTimeout(r, 50));
    return c.input.invisibleMode ? refusal("validation-failed") : undefined;
  };
  const changes = [code(rt.presence.setInvisible(true)), code(rt.presence.updateSettings({ showLastSeen: false })), code(rt.presence.setInvisible(true)), code(rt.presence.updateSettings({ showLastSeen: true }))];
  await pass(120); // another device changes them, while the third is on its way
  s.version = 7;
  const stream = wire.of("Events")[0]!;
  stream.socket.next(stream.id, { events: { cursor: "c7", payload: { __typename: "SettingsChanged", settings: { ...s.state, updatedAt: "t7" } } } });
  await pass(500);
  expect(await now(...changes)).toEqual(["validation-failed", "done", "validation-failed", "done"]);
  expect(s.sent.map(c => c.baseUpdatedAt)).toEqual(["t0", "t0", "t1", "t7"]);
  expect(rt.sync.get().conflicts).toEqual([]);
});
