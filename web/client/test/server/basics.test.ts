import { afterAll, describe, expect, test } from "vitest";
import { ALICE, BOB, Browser, DM, GENERAL, TEAM, THREAD, until } from "../browser.js";
import { calm, channel, person, token } from "./control.js";

const browsers: Browser[] = [];
function open(user: string, options: object = {}, browser = new Browser()) {
  browsers.push(browser);
  const tab = browser.tab({ url: calm, getToken: () => token(user), ...options });
  tab.rt.connect();
  return { ...tab, browser, rt: tab.rt, tab };
}
const live = (rt: ReturnType<typeof open>["rt"]) => until("synchronized", () => rt.sync.get().state === "synchronized");
afterAll(() => browsers.forEach(b => b.close()));

describe("against the real server", () => {
  test("connects, synchronizes, and knows channels and limits", async () => {
    const { rt } = open(ALICE);
    await live(rt);
    expect(rt.connection.get()).toMatchObject({ state: "connected", attempts: 0, error: null });
    expect(rt.user.get()).toBe(ALICE);
    expect([...rt.channels.get().keys()]).toEqual(expect.arrayContaining([GENERAL, TEAM, DM]));
    await until("limits", () => rt.config.get()?.maxBatch === 100);
    await until("quality", () => rt.connection.get().quality === "excellent" || rt.connection.get().quality === "good");
    expect(rt.sync.get().result).toMatchObject({ messages: { errors: 0 } });
  });

  test("a message goes out once, and comes to the other; its ticks go up", async () => {
    const a = open(ALICE), b = open(BOB);
    await Promise.all([live(a.rt), live(b.rt)]);
    const heard: string[] = [];
    b.rt.on("message", m => { if (m.channelId === TEAM) heard.push(m.content!); });
    const text = `hello ${Math.random()}`, queued = await a.rt.send(TEAM, text);
    expect(queued.status).toBe("pending");
    const sent = await a.rt.queue.settled(queued.clientMessageId);
    expect(sent).toMatchObject({ content: text, senderId: ALICE, clientMessageId: queued.clientMessageId });
    await until("heard", () => heard.length);
    expect(heard).toEqual([text]);
    const mine = () => a.rt.timeline(TEAM).get().filter(m => m.content === text);
    await until("delivered", () => mine()[0]?.status === "delivered"); // bob's client says so by itself
    b.rt.delivery.read(TEAM, sent.id);
    await until("read", () => mine()[0]?.status === "read");
    expect(mine()).toHaveLength(1);
    expect(a.rt.queue.get()).toMatchObject({ items: [], persistence: "indexeddb" });
  });

  test("presence: online, busy, a line, hidden, gone", async () => {
    const id = await person("Grace"), bob = open(BOB), at = bob.rt.presence.user(id), own: string[] = [];
    const stop = at.subscribe(() => own.push(at.get()?.status ?? "?"));
    await until("a first state", () => at.get()?.status === "offline");
    const grace = open(id);
    await until("online", () => at.get()?.status === "online");
    await grace.rt.presence.setStatus("busy");
    await until("busy", () => at.get()?.status === "busy");
    await grace.rt.presence.setCustomStatus({ text: "In a meeting", emoji: "📅", expiresAt: new Date(Date.now() + 3_600_000) });
    await until("line", () => at.get()?.customStatus?.text === "In a meeting");
    await grace.rt.presence.setStatus("online");
    await grace.rt.presence.setCustomStatus(null);
    await until("no line", () => at.get()?.status === "online" && !at.get()?.customStatus?.text);
    await grace.rt.presence.setInvisible(true);
    await until("invisible", () => at.get()?.status === "offline");
    await until("told", () => grace.rt.presence.settings.get()?.invisibleMode);
    await grace.rt.presence.setInvisible(false);
    await until("visible", () => at.get()?.status === "online");
    stop();
  });

  test("typing: appears, stays while it goes on, goes when empty", async () => {
    const a = open(ALICE), b = open(BOB), room = `dm:${DM}`, at = b.rt.typing.room(room);
    await Promise.all([live(a.rt), live(b.rt)]);
    const stop = at.subscribe(() => {});
    let text = ""; // typed on until it is seen: what was typed once may be over before a busy machine tells of it
    const types = () => a.rt.typing.input(room, (text += "h"));
    await until("typing", () => (types(), at.get()?.text === "Alice is typing..." || at.get()?.users[0]?.userId === ALICE));
    a.rt.typing.input(room, "  ");
    await until("stopped", () => at.get()?.totalCount === 0);
    await until("typing again", () => (a.rt.typing.start({ dmId: DM }), at.get()?.totalCount === 1));
    await a.rt.send(room, "sent");
    await until("a message ends it", () => at.get()?.totalCount === 0);
    stop();
  });

  test("unread counts come and go, on all devices", async () => {
    const a = open(ALICE), b = open(BOB), phone = open(BOB);
    await Promise.all([live(a.rt), live(b.rt), live(phone.rt)]);
    const totals = b.rt.unread.totals, stop = totals.subscribe(() => {});
    const q = await a.rt.send(DM, `@bob ${Math.random()}`, { mentions: [BOB] }), m = await a.rt.queue.settled(q.clientMessageId);
    await until("counted", () => (b.rt.unread.channel(DM).get()?.mentionCount ?? 0) > 0 && (totals.get()?.mentions ?? 0) > 0);
    phone.rt.delivery.read(DM, m.id);
    await until("read on the other device", () => b.rt.unread.channel(DM).get()?.unreadCount === 0);
    stop();
  });

  test("two edits at once: both are told, and it is remembered", async () => {
    const a = open(ALICE);
    await live(a.rt);
    const q = await a.rt.send(TEAM, "first"), m = await a.rt.queue.settled(q.clientMessageId);
    await a.rt.sync.edit(m.id, "second", m.version);
    const late = await a.rt.sync.edit(m.id, "third", m.version);
    expect(late.conflict).toMatchObject({ resolution: "client_wins", base: "first", server: "second", client: "third" });
    expect(a.rt.sync.get().conflicts[0]).toMatchObject({ kind: "message", messageId: m.id, resolution: "client_wins" });
    await a.rt.sync.remove(m.id);
    expect(a.rt.timeline(TEAM).get().some(x => x.id === m.id)).toBe(false);
  });

  test("the past comes page by page, to its beginning, and stays", async () => {
    const id = await person("Olga"), own = await channel(id), many = open(id);
    await live(many.rt);
    for (let i = 0; i < 20; i++) await many.rt.send(own, `past ${i}`);
    await until("sent", () => !many.rt.queue.get().items.length);
    const few = open(id, { holdMessages: 5, storage: "memory" });
    await live(few.rt);
    await until("the newest", () => few.rt.timeline(own).get().length === 5);
    const oldest = () => Number(few.rt.timeline(own).get()[0]!.seq), sizes = [5];
    for (let before = oldest(), more = true; more; before = oldest()) {
      ({ more } = await few.rt.sync.older(own, undefined, 7));
      sizes.push(few.rt.timeline(own).get().length);
      if (more) expect(oldest()).toBeLessThan(before);
    }
    expect(sizes.length).toBeGreaterThan(3);
    const all = few.rt.timeline(own).get();
    expect(new Set(all.map(m => m.id)).size).toBe(all.length);
    expect(all.map(m => Number(m.seq))).toEqual(all.map(m => Number(m.seq)).sort((a, b) => a - b));
    expect(all.filter(m => m.content!.startsWith("past ")).length).toBe(20);
    expect(await few.rt.sync.older(own)).toMatchObject({ more: false });
  });

  test("read again, in a channel and in a thread, each by itself", async () => {
    const id = await person("Pete", GENERAL), pete = open(id), a = open(ALICE);
    await Promise.all([live(pete.rt), live(a.rt)]);
    const say = async (room: string, text: string) => a.rt.queue.settled((await a.rt.send(room, text)).clientMessageId);
    const top = await say(GENERAL, "for pete"), inside = await say(`channel:${GENERAL}:thread:${THREAD}`, "in the thread");
    const has = (m: string) => pete.rt.timeline(GENERAL).get().some(x => x.id === m);
    await until("there", () => has(top.id) && has(inside.id));
    pete.rt.delivery.read(GENERAL, inside.id);
    await until("the thread is read", () => pete.rt.unread.thread(THREAD).get()?.lastReadMessageId === inside.id);
    expect(pete.rt.unread.channel(GENERAL).get()?.lastReadMessageId).not.toBe(top.id);
    pete.rt.delivery.read(GENERAL, top.id);
    await until("the channel is read", () => pete.rt.unread.channel(GENERAL).get()?.lastReadMessageId === top.id);
    await pete.rt.delivery.markUnread(top.id);
    await until("unread again", () => (pete.rt.unread.channel(GENERAL).get()?.unreadCount ?? 0) > 0);
    expect(pete.rt.channels.get().get(GENERAL)?.memberCount).toBeGreaterThan(5);
  });
});
