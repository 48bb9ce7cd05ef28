import { type Connection, type ConnectionEvents, createConnection } from "./connection.js";
import { createDelivery, type DeliveryService, type Unread } from "./delivery.js";
import { type Environment, environment } from "./env.js";
import { Config, type ConfigQuery, type RoomInput, SignOut } from "./generated.js";
import { createKeeper } from "./keeper.js";
import { createMessages, type Messages, timeline } from "./messages.js";
import { createOutbox, type Queue, type QueueEvents } from "./outbox.js";
import { createPresence, type PresenceService } from "./presence.js";
import { createRooms, type RoomRef, roomChannel, roomInput, type Rooms } from "./rooms.js";
import { createState, type StateEvents } from "./state.js";
import { type Emitter, emitter, family, type Readable, store } from "./store.js";
import { createSync, type SyncEvents, type SyncService } from "./sync.js";
import { createTabs } from "./tabs.js";
import type { GetToken } from "./token.js";
import type { Channel, Conflict, Outgoing, Queued, ReadState, ThreadState, TimelineMessage } from "./types.js";
import { createTyping, type TypingService } from "./typing.js";

export interface RealtimeOptions {
  /** The GraphQL endpoint, as http://localhost:3101/graphql; without a path, /graphql of it. */
  url: string;
  /** The same for WebSocket; default: url with ws instead of http. */
  wsUrl?: string;
  getToken: GetToken;
  /** Whose tokens these are, where they do not tell: x-hasura-user-id, or sub. */
  userId?: string;
  device?: { id?: string; type?: "web" | "ios" | "android" | "desktop"; name?: string };
  /** false: this client must not make its user appear online, and reports no activity. */
  presence?: boolean;
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
  environment?: Environment;
}

export type RealtimeEvents = StateEvents;
export type ServerConfig = ConfigQuery["realtimeConfig"];

/** The whole client. Nothing happens before connect. */
export interface Realtime {
  connection: Connection;
  presence: PresenceService;
  typing: TypingService;
  rooms: Rooms;
  delivery: DeliveryService;
  unread: Unread;
  queue: Queue;
  sync: SyncService;
  /** The caller's channels, by id. */
  channels: Readable<ReadonlyMap<string, Channel>>;
  /** Whose client this is; null: not known, or nobody's. */
  user: Readable<string | null>;
  /** The server's limits and intervals, once it was asked. */
  config: Readable<ServerConfig | null>;
  /** A channel's messages, and after them those that wait. */
  timeline(channelId: string): Readable<readonly TimelineMessage[]>;
  /** Queues a message for a room, and takes back that the caller types there. */
  send(room: RoomRef, content: string, more?: Omit<Outgoing, "channelId" | "content">): Promise<Queued>;
  connect(): void;
  disconnect(): void;
  /** The app has another token, or none: it is asked for anew. */
  authChanged(): void;
  /** Ends the session on the server, wipes what is stored of this user on this device, in all tabs, and disconnects. Answers how many messages were never sent. */
  signOut(): Promise<{ discarded: number }>;
  /** Ends everything, for good; what is stored stays. */
  close(): void;
  on: Emitter<RealtimeEvents>["on"];
}

const WEEK = 7 * 86_400_000;

/** http(s)://host[:port][/path] as it is dialed: with /graphql where it names no path. */
export function endpoints(url: string, wsUrl?: string): { url: string; wsUrl: string } {
  const at = (u: string) => {
    const parsed = new URL(u, typeof location === "undefined" ? undefined : location.href);
    if (parsed.pathname === "/") parsed.pathname = "/graphql";
    return parsed.href;
  };
  return { url: at(url), wsUrl: at(wsUrl ?? url).replace(/^http/, "ws") };
}

export function createRealtime(o: RealtimeOptions): Realtime {
  const env = environment(o.environment), { url, wsUrl } = endpoints(o.url, o.wsUrl);
  if (o.storage === "memory") env.indexedDB = undefined;
  const user = store<string | null>(null), config = store<ServerConfig | null>(null), events = emitter<RealtimeEvents>();
  const connection = createConnection({ ...o, url, wsUrl, device: { type: "web", ...o.device } }, env, emitter<ConnectionEvents>());
  const me = user.get;

  const messages: Messages = createMessages(o.holdMessages ?? 1000), readStates = family<ReadState>(), threads = family<ThreadState>();
  const tabs = createTabs(`nchat-realtime:${new URL(url).host}`, o.keepMessages ?? 200, env, {
    elected(late) {
      if (late) state.keepAll(sync.cursor());
      acknowledge();
      void outbox.queue.flush(); // what was queued while the tab that led went away
    },
    heard: news => void outbox.heard(news),
    signedOut: () => leave(),
  });
  const keeper = createKeeper(() => tabs.cache(), acknowledge);
  const state = createState(messages, keeper, readStates, threads, events, me);
  const queueEvents = emitter<QueueEvents>();
  const outbox = createOutbox(connection, tabs.desk, env, {
    maxQueued: o.maxQueued ?? 1000, maxAgeMs: o.maxQueuedAgeMs ?? WEEK, maxBatch: () => config.get()?.maxBatch ?? 100,
  }, queueEvents, sent => state.took(sent));
  const sync = createSync(connection, env, state, messages, keeper, outbox.resume, emitter<SyncEvents>());
  const presence = createPresence(connection, env, o.presence !== false, () => ({ maxIds: config.get()?.maxIds ?? 1000, idleAfterMs: config.get()?.idleAfterMs ?? 300_000 }),
    state.settings, sync.conflict);
  const typing = createTyping(connection, env, () => config.get()?.maxRooms ?? 100);
  const delivery = createDelivery(connection, env, messages, keeper, state);
  const rooms = createRooms(name => {
    const end = typing.service.watch(name);
    return () => {
      typing.service.stop(name);
      end();
    };
  });

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

  let opening: Promise<void> = Promise.resolve();
  connection.events.on("user", id => {
    if (id === user.get()) return;
    forgetUser();
    user.set(id);
    if (!id) return;
    opening = opening.then(async () => {
      const desk = await tabs.open(id);
      if (user.get() !== id) return tabs.close();
      const { messages: list, kv } = await desk.db.load();
      if (user.get() !== id) return;
      sync.open(state.restore(list, kv), (kv.get("conflicts") as Conflict[] | undefined) ?? []);
      delivery.restore(kv);
      await outbox.open(desk);
    }).catch(e => console.error(e));
  });
  connection.events.on("up", async () => {
    await opening;
    if (connection.get().state !== "connected") return;
    if (!config.get()) void connection.request(Config, {}).then(c => config.set(c.realtimeConfig), () => {});
    await sync.service.run().catch(() => {});
  });
  connection.events.on("down", () => sync.halt());

  function forgetUser() {
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
    connect: connection.connect,
    disconnect: connection.disconnect,
    authChanged() {
      connection.disconnect();
      connection.connect();
    },
    async signOut() {
      const discarded = outbox.queue.get().items.length, { sessionId } = connection.get();
      if (sessionId) await connection.request(SignOut, { sessionId }).catch(() => {});
      connection.disconnect();
      await opening;
      await tabs.wipe();
      forgetUser();
      return { discarded };
    },
    close() {
      const written = keeper.flush();
      connection.disconnect();
      sync.halt();
      void written.then(tabs.close);
    },
    on: events.on,
  };
}
