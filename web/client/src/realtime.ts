import { type Core, type CoreOptions, foundation, people, reins } from "./core.js";
import { createDelivery, type DeliveryService, type Unread } from "./delivery.js";
import { listen } from "./env.js";
import { type RoomInput, SignOut } from "./generated.js";
import { createKeeper } from "./keeper.js";
import { createMessages, type Messages, timeline } from "./messages.js";
import { createOutbox, type Queue, type QueueEvents } from "./outbox.js";
import { type RoomRef, roomChannel, roomInput } from "./rooms.js";
import { createState, type StateEvents } from "./state.js";
import { type Emitter, emitter, family, type Readable } from "./store.js";
import { createSync, type SyncEvents, type SyncService } from "./sync.js";
import { createTabs } from "./tabs.js";
import type { Channel, Conflict, Outgoing, Queued, ReadState, ThreadState, TimelineMessage } from "./types.js";

export interface RealtimeOptions extends CoreOptions {
  /** Say of what was stored here that it was delivered. Default true. */
  acknowledge?: boolean;
  /** Where the queue and what was synchronized are kept. Default: the browser, by user. memory: nowhere. */
  storage?: "browser" | "memory";
  /** Messages that may wait at a time; one more is refused. Default 1,000. */
  maxQueued?: number;
  /** How long a message is tried; then it fails as expired, and can be tried again by hand. Default seven days. */
  maxQueuedAgeMs?: number;
  /** The newest messages of each channel kept between visits (200) and on the page (1,000); older ones are not lost, only not here. */
  keepMessages?: number;
  holdMessages?: number;
}

export type RealtimeEvents = StateEvents;

/** The whole client. Nothing happens before connect. */
export interface Realtime extends Core {
  delivery: DeliveryService;
  unread: Unread;
  queue: Queue;
  sync: SyncService;
  /** The caller's channels, by id. */
  channels: Readable<ReadonlyMap<string, Channel>>;
  /** A channel's messages, and after them those that wait. */
  timeline(channelId: string): Readable<readonly TimelineMessage[]>;
  /** Queues a message for a room, and takes back that the caller types there. */
  send(room: RoomRef, content: string, more?: Omit<Outgoing, "channelId" | "content">): Promise<Queued>;
  /** Ends the session on the server, wipes what is stored of this user on this device, in all tabs, and disconnects. Answers how many messages were never sent. */
  signOut(): Promise<{ discarded: number }>;
  on: Emitter<RealtimeEvents>["on"];
}

const WEEK = 7 * 86_400_000;

export function createRealtime(o: RealtimeOptions): Realtime {
  const { env, url, connection, user, config, ask } = foundation(o), events = emitter<RealtimeEvents>();
  if (o.storage === "memory") env.indexedDB = undefined;
  const me = user.get;

  const messages: Messages = createMessages(o.holdMessages ?? 1000), readStates = family<ReadState>(), threads = family<ThreadState>();
  const tabs = createTabs(`nchat-realtime:${new URL(url).host}`, o.keepMessages ?? 200, env, {
    elected() {
      acknowledge();
      void outbox.queue.flush(); // what was queued while the tab that led went away
      if (restored) void takeOver().catch(() => {});
    },
    heard: news => void outbox.heard(news).catch(() => {}),
    signedOut: () => leave(),
  });
  const keeper = createKeeper(() => tabs.cache(), () => {
    if (!restored) return null;
    const { put, kv } = state.all();
    return { clear: true, put, kv: [...kv, ...sync.all(), ...delivery.all()] };
  }, acknowledge);
  const state = createState(messages, keeper, readStates, threads, events, me);
  const queueEvents = emitter<QueueEvents>();
  const outbox = createOutbox(connection, env, {
    maxQueued: o.maxQueued ?? 1000, maxAgeMs: o.maxQueuedAgeMs ?? WEEK, maxBatch: () => config.get()?.maxBatch ?? 100, maxFrame: () => config.get()?.maxFrameBytes ?? 1 << 20,
  }, queueEvents, sent => {
    state.took(sent);
    return keeper.flush();
  });
  const sync = createSync(connection, env, state, messages, keeper, outbox.queue.flush, emitter<SyncEvents>());
  const { presence, typing, rooms } = people(o, connection, env, config, state.settings, sync.conflict);
  const delivery = createDelivery(connection, env, messages, keeper, state);

  // What is stored is delivered. One tab says so for all.
  function acknowledge() {
    if (o.acknowledge === false || !tabs.leads()) return;
    for (const [channelId, log] of messages.all.all.get()) {
      const last = log.messages.findLast(m => m.senderId !== me());
      if (last) delivery.service.delivered(channelId, last.id);
    }
  }
  events.on("message", m => {
    if (!tabs.cache() && m.senderId !== me()) acknowledge(); // nothing is stored: here is all there is
  });

  function adopt(kv: Map<string, unknown>) {
    delivery.restore(kv);
    sync.adopt((kv.get("conflicts") as Conflict[] | undefined) ?? []);
  }
  // The tab that led had marks and conflicts of its own; what this one did not store meanwhile, it does now.
  async function takeOver() {
    const id = me(), { kv } = await (await tabs.desk()).db.load();
    if (id !== me() || !restored) return;
    adopt(kv);
    await keeper.flush();
  }

  let opening: Promise<void> = Promise.resolve(), closed = false, restored = false, last: string | null = null; // restored: what is stored was read
  connection.events.on("state", ({ state: now }) => {
    if (now === "closed" || now === "needs-auth" || now === "failed") void keeper.flush();
    tabs.heed(now);
  });
  connection.events.on("user", id => {
    if (id === user.get() && !closed) return;
    closed = false;
    // What was written while nobody was known is the first one's, or his who was there before; never another's.
    if (user.get() || (id && last && id !== last)) forgetUser();
    user.set(id);
    if (!id) return;
    last = id;
    opening = opening.then(async () => {
      const desk = await tabs.open(id);
      if (user.get() !== id) return tabs.close();
      const { messages: list, kv } = await desk.db.load().catch(() => ({ messages: [], kv: new Map<string, unknown>() })); // then it is fetched
      if (user.get() !== id) return;
      sync.open(state.restore(list, kv));
      adopt(kv);
      restored = true;
      await outbox.open(desk);
      await keeper.flush();
    }).catch(e => console.error(e));
  });
  connection.events.on("up", async () => {
    await opening;
    if (connection.get().state !== "connected") return;
    ask();
    outbox.resume();
    await sync.service.run().catch(() => {});
  });
  connection.events.on("down", () => sync.halt());
  let deaf: (() => void)[] = []; // a page that goes, or is frozen, may not come back to what it gathers
  const keep = () => void keeper.flush();
  connection.events.on("begin", () => {
    deaf = [listen(env.window, "pagehide", keep), listen(env.document, "visibilitychange freeze", keep)];
  });
  connection.events.on("end", () => deaf.forEach(f => f()));

  function forgetUser() {
    restored = false;
    sync.halt(true);
    keeper.discard();
    outbox.close();
    tabs.close();
    messages.clear();
    state.reset();
    presence.clear();
    typing.clear();
    delivery.clear();
    user.set(null);
  }
  function leave() {
    keeper.discard();
    connection.disconnect();
    forgetUser();
  }

  return {
    connection, rooms, queue: outbox.queue, sync: sync.service, presence: presence.service, typing: typing.service,
    delivery: delivery.service, unread: delivery.unread, channels: state.channels, user, config,
    timeline: id => timeline(id, messages, outbox.queue, me),
    send(room, content, more) {
      const at: RoomInput = roomInput(room), threadId = more?.threadId ?? at.threadId;
      typing.sent({ ...at, ...(threadId && { threadId }) });
      return outbox.queue.send({ ...more, channelId: roomChannel(at), content, ...(threadId && { threadId }) });
    },
    ...reins(connection),
    async signOut() {
      const { sessionId } = connection.get(), id = user.get();
      if (sessionId) await connection.request(SignOut, { sessionId }).catch(() => {});
      const discarded = user.get() === id && outbox.queue.get().items.length;
      if (user.get() === id) leave(); // else another is there by now
      const wiped = opening.then(() => tabs.wipe(id ?? last ?? o.userId?.toLowerCase())).catch(() => 0);
      opening = wiped.then(() => {}); // and who comes back meanwhile begins after it
      const left = await wiped;
      return { discarded: discarded || left };
    },
    close() {
      const written = keeper.flush();
      connection.disconnect();
      sync.halt();
      closed = true;
      opening = opening.then(() => written).then(() => {
        tabs.close();
        keeper.discard();
      });
    },
    on: events.on,
  };
}
