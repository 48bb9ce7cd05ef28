import type { PresenceStatus } from "./generated.js";
import type { Realtime } from "./realtime.js";
import { roomName as nameOf, roomChannel, roomInput } from "./rooms.js";
import type { Readable } from "./store.js";
import type { Message, Presence, Queued, RoomTyping } from "./types.js";

// What nchat's own services called things, made of what this client has.

export interface MessageEvent {
  roomName: string;
  messageId: string;
  userId: string;
  content: string;
  threadId?: string;
  replyTo?: string;
  metadata?: Record<string, unknown>;
  timestamp: string;
  channelId: string;
  clientMessageId?: string;
}
export interface CustomStatus { text?: string; emoji?: string; expiresAt?: Date | null }
export interface UserPresence {
  userId: string;
  status: PresenceStatus;
  customStatus?: CustomStatus;
  lastSeenAt?: Date;
  device?: string;
}
export interface TypingUser { userId: string; userName?: string; userAvatar?: string; startedAt: Date }
export interface SendMessageOptions { threadId?: string; replyTo?: string; metadata?: Record<string, unknown> }
export interface SentMessage {
  /** The server's id where it was there within moments, else the key it is queued under. */
  messageId: string;
  clientMessageId: string;
  status: "sent" | "pending";
}

export const asMessageEvent = (m: Message): MessageEvent => ({
  roomName: nameOf(m.channelId, m.threadId), messageId: m.id, userId: m.senderId ?? "", content: m.content ?? "", timestamp: m.createdAt, channelId: m.channelId,
  ...(m.threadId && { threadId: m.threadId }), ...(m.parentMessageId && { replyTo: m.parentMessageId }),
  ...(m.clientMessageId && { clientMessageId: m.clientMessageId }), ...(m.metadata ? { metadata: m.metadata as Record<string, unknown> } : {}),
});
export const asCustomStatus = (c: { text: string | null; emoji: string | null; expiresAt: string | null } | null | undefined): CustomStatus | undefined =>
  c && (c.text || c.emoji) ? { ...(c.text && { text: c.text }), ...(c.emoji && { emoji: c.emoji }), expiresAt: c.expiresAt ? new Date(c.expiresAt) : null } : undefined;
const presences = new WeakMap<Presence, UserPresence>();
/** The same object for the same state, so that nothing is drawn for nothing. */
export function asUserPresence(p: Presence): UserPresence {
  let u = presences.get(p);
  if (!u) {
    const customStatus = asCustomStatus(p.customStatus);
    u = { userId: p.userId, status: p.status, ...(customStatus && { customStatus }), ...(p.lastSeenAt && { lastSeenAt: new Date(p.lastSeenAt) }), ...(p.device && { device: p.device }) };
    presences.set(p, u);
  }
  return u;
}
export const asTypingUsers = (t: RoomTyping | undefined): TypingUser[] =>
  (t?.users ?? []).map(u => ({ userId: u.userId, startedAt: new Date(u.startedAt), ...(u.displayName && { userName: u.displayName }), ...(u.avatarUrl && { userAvatar: u.avatarUrl }) }));

/** Tells what changes in a map; undefined: it is there no more. Answers what ends that. */
export function changed<T>(all: Readable<ReadonlyMap<string, T>>, tell: (value: T | undefined, key: string) => void): () => void {
  let last = all.get();
  return all.subscribe(() => {
    const before = last, now = (last = all.get());
    for (const [key, value] of now) if (before.get(key) !== value) tell(value, key);
    for (const key of before.keys()) if (!now.has(key)) tell(undefined, key);
  });
}

/** The name of a room as nchat's hooks have it: a name, or an id with its kind. */
export function legacyRoom(roomName: string, type: "channel" | "thread" | "dm" = "channel", threadId?: string): string {
  return nameOf(/^(channel|dm):/.test(roomName) ? roomName : type === "dm" ? `dm:${roomName}` : roomName, type === "dm" ? undefined : threadId);
}

/** Queues a message, and waits a little for the server's id; never for a network that is not there. */
export async function sendLegacy(rt: Realtime, room: string, content: string, o: SendMessageOptions = {}): Promise<SentMessage> {
  const { clientMessageId } = await rt.send(room, content, { threadId: o.threadId ?? null, parentMessageId: o.replyTo ?? null, metadata: o.metadata ?? null });
  const waiting: SentMessage = { messageId: clientMessageId, clientMessageId, status: "pending" };
  const sent = rt.queue.settled(clientMessageId).then((m): SentMessage => ({ messageId: m.id, clientMessageId, status: "sent" }));
  if (rt.connection.get().state !== "connected") {
    sent.catch(() => {}); // shown by the queue
    return waiting;
  }
  return Promise.race([sent, new Promise<SentMessage>(r => setTimeout(r, 5000, waiting))]);
}

type Data = { channelId?: string; roomName?: string; threadId?: string; dmId?: string; content?: string; messageId?: string; status?: PresenceStatus } & SendMessageOptions;
const roomOf = (d: Data) => (d.dmId ? `dm:${d.dmId}` : nameOf(d.roomName ?? d.channelId ?? "", d.threadId));

/** The events of the Socket.IO client, by the names they had. */
export interface LegacyBus {
  on<T = unknown>(event: string, callback: (data: T) => void): () => void;
  once<T = unknown>(event: string, callback: (data: T) => void): () => void;
  off(event: string, callback: (data: never) => void): void;
  emit<T = unknown>(event: string, data?: T): void;
  emitAsync<T = unknown, R = unknown>(event: string, data?: T): Promise<R>;
}

export function legacyBus(rt: Realtime, debug = false): LegacyBus {
  const handlers = new Map<(data: never) => void, Map<string, () => void>>(), joined = new Map<string, () => void>();
  function listen(event: string, tell: (data: unknown) => void): () => void {
    switch (event) {
      case "message:new": return rt.on("message", m => tell(asMessageEvent(m)));
      case "message:update": return rt.on("message:updated", m => tell(asMessageEvent(m)));
      case "message:delete": return rt.on("message:deleted", tell);
      case "message:sent": return rt.queue.events.on("sent", m => tell({ clientMessageId: m.clientMessageId, serverMessageId: m.id, sentAt: m.createdAt, channelId: m.channelId }));
      case "message:delivered": case "message:read": return rt.on("delivery", d => d.status === event.slice(8) && tell(d));
      case "message:failed": return rt.queue.events.on("failed", (q: Queued) => tell({ clientMessageId: q.clientMessageId, errorCode: q.error?.code, errorMessage: q.error?.message, retryable: false }));
      case "presence:changed": return changed(rt.presence.all, p => p && tell(asUserPresence(p)));
      case "typing:changed": return changed(rt.typing.all, (t, roomName) => tell({ roomName, users: asTypingUsers(t), text: t?.text ?? null }));
      case "user:joined": return rt.on("member", m => m.kind === "joined" && tell({ roomName: nameOf(m.channelId), userId: m.userId }));
      case "user:left": return rt.on("member", m => m.kind === "left" && tell({ roomName: nameOf(m.channelId), userId: m.userId }));
      case "connection:state": return rt.connection.events.on("state", tell);
      case "sync:started": case "sync:progress": case "sync:completed": case "sync:failed": case "sync:conflict":
        return rt.sync.events.on(event.slice(5) as "started", tell);
      case "queue:queued": case "queue:sent": case "queue:failed": case "queue:flushing": case "queue:flushed": case "queue:cleared":
        return rt.queue.events.on(event.slice(6) as "queued", tell);
    }
    if (debug) console.warn(`nchat-realtime: there is no event ${event}`);
    return () => {};
  }
  async function emitAsync(event: string, d: Data = {}): Promise<unknown> {
    switch (event) {
      case "typing:start": return rt.typing.start(roomOf(d));
      case "typing:stop": return rt.typing.stop(roomOf(d));
      case "channel:join": case "room:join": {
        const name = roomOf(d);
        if (!joined.has(name)) joined.set(name, rt.rooms.join(name));
        const { threadId, dmId } = roomInput(name);
        return { roomName: name, type: dmId ? "dm" : threadId ? "thread" : "channel", channelId: roomChannel(name) };
      }
      case "channel:leave": case "room:leave":
        joined.get(roomOf(d))?.();
        return void joined.delete(roomOf(d));
      case "message:send": return sendLegacy(rt, roomOf(d), d.content ?? "", d);
      case "message:read": return rt.delivery.read(d.channelId!, d.messageId!);
      case "message:delivered": return rt.delivery.delivered(d.channelId!, d.messageId!);
      case "presence:update": return rt.presence.setStatus(d.status!);
    }
    throw new Error(`nchat-realtime: there is no event ${event}`);
  }
  const on: LegacyBus["on"] = (event, callback) => {
    const end = listen(event, callback as (d: unknown) => void), of = handlers.get(callback) ?? new Map<string, () => void>();
    const off = () => {
      end();
      if (of.get(event) === off) of.delete(event);
      if (!of.size && handlers.get(callback) === of) handlers.delete(callback);
    };
    handlers.set(callback, of.set(event, off));
    return off;
  };
  return {
    on,
    once(event, callback) {
      const off = on(event, (data: never) => {
        off();
        callback(data);
      });
      return off;
    },
    off: (event, callback) => handlers.get(callback)?.get(event)?.(),
    emit: (event, data) => void emitAsync(event, data as Data).catch(e => debug && console.warn(e)),
    emitAsync: async (event, data) => (await emitAsync(event, data as Data)) as never,
  };
}
