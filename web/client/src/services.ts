import type { ConnectionInfo } from "./connection.js";
import type { PresenceSettingsInput, PresenceStatus, Visibility } from "./generated.js";
import { asTypingUsers, asUserPresence, changed, type CustomStatus, legacyBus, type LegacyBus, legacyRoom, sendLegacy, type SendMessageOptions, type TypingUser, type UserPresence } from "./legacy.js";
import type { Realtime, RealtimeOptions } from "./realtime.js";
import { configuredToken, configureRealtime, sharedClient } from "./shared.js";
import type { Delivery, Message, PresenceSettings, PresenceVisibility, Queued, SyncResult } from "./types.js";

// The services of nchat by their names, on one client for the page. New code has no need of them: createRealtime and the hooks say the same.

export interface ServiceConfig { debug?: boolean; [option: string]: unknown }
let debug = false, bus: { of: Realtime; bus: LegacyBus } | undefined;
const rt = () => sharedClient();
const events = () => (bus?.of === rt() ? bus : (bus = { of: rt(), bus: legacyBus(rt(), debug) })).bus;
const configure = (c: ServiceConfig = {}) => { debug ||= c.debug ?? false; };
const quietly = (p: Promise<unknown>) => void p.catch(e => debug && console.warn(e));

/** nchat's RealtimeClient. */
export const realtimeClient = {
  initialize(o: { url?: string; wsUrl?: string; debug?: boolean } & Partial<RealtimeOptions> = {}) {
    configure({ debug: o.debug ?? false });
    const { debug: _, ...options } = o;
    configureRealtime(options);
  },
  /** With a token, or with where configureRealtime says that tokens come from. Resolves once connected. */
  async connect(token?: string): Promise<void> {
    if (token) configureRealtime({ getToken: once(token) });
    rt().connect();
    await new Promise<void>((resolve, reject) => {
      const look = (i: ConnectionInfo) => {
        if (i.state === "connected") resolve();
        else if (i.state === "closed") return queueMicrotask(() => { // with another token it goes on at once
          if (rt().connection.get().state !== "closed") return;
          reject(new Error(i.state));
          off();
        });
        else if (i.state === "needs-auth" || i.state === "failed") reject(i.error ?? new Error(i.state));
        else return;
        off();
      };
      const off = rt().connection.events.on("state", look);
      look(rt().connection.get());
    });
  },
  disconnect: () => rt().disconnect(),
  reconnect: () => rt().authChanged(),
  updateToken(token: string) {
    configureRealtime({ getToken: once(token) });
    rt().authChanged();
  },
  on: ((event, callback) => events().on(event, callback)) as LegacyBus["on"],
  once: ((event, callback) => events().once(event, callback)) as LegacyBus["once"],
  off: ((event, callback) => events().off(event, callback)) as LegacyBus["off"],
  emit: ((event, data) => events().emit(event, data)) as LegacyBus["emit"],
  emitAsync: ((event, data) => events().emitAsync(event, data)) as LegacyBus["emitAsync"],
  onConnectionStateChange(callback: (state: ConnectionInfo["state"]) => void) {
    let last = rt().connection.get().state;
    callback(last);
    return rt().connection.events.on("state", i => i.state !== last && callback((last = i.state)));
  },
  onReconnection: (callback: () => void) => rt().sync.events.on("completed", () => callback()),
  get isConnected() { return rt().connection.get().state === "connected"; },
  get isAuthenticated() { return rt().connection.get().state === "connected"; },
  get wasOffline() { return rt().connection.get().wasOffline; },
  get connectionQuality() { return rt().connection.get().quality; },
  get averageLatency() { return rt().connection.get().latencyMs; },
  get reconnectAttemptCount() { return rt().connection.get().attempts; },
  get socketId() { return rt().connection.get().sessionId ?? undefined; },
};

// A token of before may be asked for again; there is no newer one here.
function once(token: string): NonNullable<RealtimeOptions["getToken"]> {
  const configured = configuredToken();
  return token.split(".").length === 3 ? ({ refresh }) => (refresh ? configured({ refresh }) : token) : configured; // user:123 was for development
}

type Tracked = { clientMessageId: string; channelId: string; totalRecipients: number };
type DeliveryEvent = { "message:sent": { messageId: string; clientMessageId: string }; "message:delivered": Delivery; "message:read": Delivery; "message:failed": { clientMessageId: string; errorCode: string; errorMessage: string } };

const deliveryHandler = {
  initialize() {},
  /** The queue tracks what goes through it; this is for a message sent past it. */
  trackOutgoingMessage: (clientMessageId: string, channelId: string, totalRecipients = 1): Tracked => ({ clientMessageId, channelId, totalRecipients }),
  acknowledgeRead: (messageId: string, channelId: string) => rt().delivery.read(channelId, messageId),
  acknowledgeDelivered: (messageId: string, channelId: string) => rt().delivery.delivered(channelId, messageId),
  subscribe(listener: <K extends keyof DeliveryEvent>(event: K, data: DeliveryEvent[K]) => void): () => void {
    const client = rt(), offs = [
      client.queue.events.on("sent", m => listener("message:sent", { messageId: m.id, clientMessageId: m.clientMessageId! })),
      client.queue.events.on("failed", (q: Queued) => listener("message:failed", { clientMessageId: q.clientMessageId, errorCode: q.error!.code, errorMessage: q.error!.message })),
      client.on("delivery", d => { if (d.status !== "sent") listener(d.status === "read" ? "message:read" : "message:delivered", d); }),
    ];
    return () => offs.forEach(f => f());
  },
};
export const getDeliveryEventHandler = (c?: ServiceConfig) => (configure(c), deliveryHandler);

const watched = new Map<string, () => void>();
const presenceService = {
  initialize() {},
  /** The token says who it is. */
  setCurrentUserId(_userId: string) {},
  setStatus: (status: PresenceStatus) => quietly(rt().presence.setStatus(status)),
  setCustomStatus: (status: CustomStatus | null) => quietly(rt().presence.setCustomStatus(status)),
  subscribeToUsers: (ids: string[]) => ids.forEach(id => watched.has(id) || watched.set(id, rt().presence.watch(id))),
  unsubscribeFromUsers: (ids: string[]) => ids.forEach(id => { watched.get(id)?.(); watched.delete(id); }),
  /** Of those subscribed to. */
  onPresenceChange: (callback: (presence: UserPresence) => void): (() => void) => changed(rt().presence.all, p => p && callback(asUserPresence(p))),
  getPresence(id: string): UserPresence | undefined {
    const p = rt().presence.all.get().get(id);
    return p && asUserPresence(p);
  },
  updatePresenceSettings: (_own: string, input: PresenceSettingsInput): Promise<PresenceSettings> => rt().presence.updateSettings(input),
  setInvisibleMode: (enabled: boolean) => rt().presence.setInvisible(enabled).then(() => true),
  canViewPresence: (_viewer: string, target: string): Promise<PresenceVisibility | null> => rt().presence.visibility(target),
};
export const getPresenceService = (c?: ServiceConfig) => (configure(c), presenceService);

const thread = (channel: string, id?: string) => legacyRoom(channel, id ? "thread" : "channel", id);
const typingService = {
  initialize() {},
  setCurrentUserId(_userId: string) {},
  startTyping: (channel: string, threadId?: string) => rt().typing.start(thread(channel, threadId)),
  startTypingInThread: (channel: string, threadId: string) => rt().typing.start(thread(channel, threadId)),
  startTypingInDM: (dm: string, _recipientId?: string) => rt().typing.start(legacyRoom(dm, "dm")),
  stopTyping: (channel?: string, threadId?: string) => (channel ? rt().typing.stop(thread(channel, threadId)) : rt().typing.stopAll()),
  stopTypingInDM: (dm: string) => rt().typing.stop(legacyRoom(dm, "dm")),
  handleInputChange: (channel: string, value: string, threadId?: string) => rt().typing.input(thread(channel, threadId), value),
  getTypingUsers: (channel: string, threadId?: string): TypingUser[] => asTypingUsers(rt().typing.room(thread(channel, threadId)).get()),
  getTypingText: (channel: string, threadId?: string): string | null => rt().typing.room(thread(channel, threadId)).get()?.text ?? null,
  getTypingUsersInRoom: (name: string, type: "channel" | "thread" | "dm", threadId?: string): TypingUser[] => asTypingUsers(rt().typing.room(legacyRoom(name, type, threadId)).get()),
  /** Called at once with who types, and after each change; with the room's name and thread as they were given here. */
  onRoomTypingChange(name: string, type: "channel" | "thread" | "dm", callback: (roomName: string, users: TypingUser[], threadId?: string) => void, threadId?: string): () => void {
    const at = rt().typing.room(legacyRoom(name, type, threadId)), tell = () => callback(name, asTypingUsers(at.get()), threadId);
    tell();
    return at.subscribe(tell);
  },
  updatePrivacySettings: (s: { broadcastTyping?: boolean; typingVisibility?: Visibility }) => quietly(rt().presence.updateSettings(s)),
  clearAllTypingState: () => rt().typing.stopAll(),
};
export const getTypingService = (c?: ServiceConfig) => (configure(c), typingService);

const joined = new Map<string, () => void>();
const roomsService = {
  initialize() {},
  joinRoom: async (name: string) => { if (!joined.has(name)) joined.set(name, rt().rooms.join(name)); },
  leaveRoom: (name: string) => { joined.get(name)?.(); joined.delete(name); },
  isInRoom: (name: string) => rt().rooms.has(name),
  getJoinedRooms: () => rt().rooms.get(),
  sendMessage: (name: string, content: string, o?: SendMessageOptions) => sendLegacy(rt(), name, content, o),
};
export const getRoomsService = (c?: ServiceConfig) => (configure(c), roomsService);

type QueueEvent = "queue:queued" | "queue:sent" | "queue:failed" | "queue:flushing" | "queue:flushed" | "queue:cleared";
type QueueInput = { channelId: string; content: string; type?: "text" | "file" | "voice" | "video" | "embed" } & SendMessageOptions;
const queueService = {
  initialize() {},
  /** Queued at once; `stored` once it outlives the page. */
  queueMessage(m: QueueInput): { clientMessageId: string; stored: Promise<Queued> } {
    const clientMessageId = `q_${Date.now()}_${Math.random().toString(36).slice(2, 9)}`;
    const stored = rt().queue.send({ clientMessageId, channelId: m.channelId, content: m.content, type: m.type ?? "text", threadId: m.threadId ?? null, parentMessageId: m.replyTo ?? null, metadata: m.metadata ?? null });
    quietly(stored);
    return { clientMessageId, stored };
  },
  flushQueue: () => rt().queue.flush(),
  getQueue: () => rt().queue.get().items,
  subscribe(listener: (event: QueueEvent, data: { count: number } & Record<string, unknown>) => void): () => void {
    const { events } = rt().queue, tell = (e: QueueEvent) => (data: object) => listener(e, { count: 1, ...data });
    const offs = (["queued", "sent", "failed", "flushing", "flushed", "cleared"] as const).map(e => events.on(e, tell(`queue:${e}`)));
    return () => offs.forEach(f => f());
  },
};
export const getOfflineQueueService = (c?: ServiceConfig) => (configure(c), queueService);

type SyncEvent = "sync:started" | "sync:progress" | "sync:completed" | "sync:failed" | "sync:conflict";
const syncService = {
  initialize() {},
  syncOnReconnect: (): Promise<SyncResult> => rt().sync.run(),
  async syncMessages(channelId: string): Promise<{ messages: readonly Message[]; conflicts: number }> {
    return { messages: await rt().sync.channel(channelId), conflicts: rt().sync.get().result?.messages.conflicts ?? 0 };
  },
  subscribe(listener: (event: SyncEvent, data: unknown) => void): () => void {
    const offs = (["started", "progress", "completed", "failed", "conflict"] as const).map(e => rt().sync.events.on(e, d => listener(`sync:${e}`, d)));
    return () => offs.forEach(f => f());
  },
};
export const getSyncService = (c?: ServiceConfig) => (configure(c), syncService);
export { configureRealtime };
