import { both, type Family, family, type Readable } from "./store.js";
import type { Delivery, Message, Queued, TimelineMessage } from "./types.js";

/** The messages of a channel that are here, in its order. */
export interface ChannelLog {
  messages: readonly Message[];
}

/** What sync and events brought, by channel. Applying the same again changes nothing, and nothing goes back to an older version. */
export interface Messages {
  get(channelId: string): readonly Message[];
  find(messageId: string): Message | undefined;
  /** Takes messages; answers those that were not here. */
  put(messages: readonly Message[]): Message[];
  /** How far back a channel was read, and each of its threads; null: to its beginning. It is forgotten with the channel. One that is asked for grows past what is held of others. */
  past(channelId: string): Map<string, string | null>;
  remove(messageId: string): Message | undefined;
  /** A moment, for `alive`. */
  now(): number;
  /** What of messages that were asked for at `since` is not deleted, and of no channel forgotten, meanwhile; without `since`, not deleted. */
  alive<T extends { id?: string; channelId: string }>(list: readonly T[], since?: number): T[];
  deliver(delivery: Delivery): void;
  forget(channelId: string): void;
  clear(): void;
  all: Family<ChannelLog>;
}

const none: readonly Message[] = [];
const by = (a: Message, b: Message) => Number(a.seq) - Number(b.seq);

export function createMessages(most: number): Messages {
  const logs = family<ChannelLog>();
  const pasts = new Map<string, Map<string, string | null>>();
  const gone = new Map<string, number>(); // of messages and channels, when; the last thousands
  let moment = 0, floor = 0;
  const bury = (id: string) => {
    gone.delete(id);
    gone.set(id, ++moment);
    if (gone.size > 5000) gone.delete(gone.keys().next().value!);
  };
  const places = new Map<string, string>(); // of each message its channel
  const get = (id: string) => logs.get(id)?.messages ?? none;
  const find = (id: string) => get(places.get(id) ?? "").find(m => m.id === id);
  function put(incoming: readonly Message[]) {
    const fresh: Message[] = [], changed = new Map<string, Map<string, Message>>();
    for (const m of incoming) {
      if (m.deletedAt) {
        remove(m.id);
        continue;
      }
      let log = changed.get(m.channelId);
      if (!log) changed.set(m.channelId, (log = new Map(get(m.channelId).map(x => [x.id, x]))));
      const old = log.get(m.id);
      if (!old) fresh.push(m);
      log.set(m.id, old ? { ...(m.version >= old.version ? m : old), delivery: further(old.delivery, m.delivery) } : m);
    }
    for (const [channelId, log] of changed) {
      const messages = [...log.values()].sort(by);
      for (const m of messages.splice(0, pasts.has(channelId) ? 0 : Math.max(0, messages.length - most))) places.delete(m.id);
      for (const m of messages) places.set(m.id, channelId);
      logs.set(channelId, { messages });
    }
    return fresh.filter(m => places.has(m.id));
  }
  function remove(id: string) {
    bury(id);
    const m = find(id);
    if (!m) return undefined;
    places.delete(id);
    logs.set(m.channelId, { messages: get(m.channelId).filter(x => x !== m) });
    return m;
  }
  return {
    get, find, put, remove,
    past(id) {
      const past = pasts.get(id) ?? new Map<string, string | null>();
      pasts.set(id, past);
      return past;
    },
    now: () => moment,
    alive: (list, since) => list.filter(m => !(gone.get(m.id!)! > (since ?? 0)) && !(since! < floor || gone.get(m.channelId)! > since!)),
    deliver(d) {
      const log = get(d.channelId), at = log.findIndex(m => m.id === d.messageId), m = log[at];
      if (!m) return;
      const delivery = further(m.delivery, d);
      if (delivery !== m.delivery) logs.set(d.channelId, { messages: log.map(x => (x === m ? { ...m, delivery } : x)) });
    },
    forget(channelId) {
      bury(channelId);
      for (const m of get(channelId)) places.delete(m.id);
      pasts.delete(channelId);
      logs.set(channelId, undefined);
    },
    clear() {
      floor = ++moment;
      places.clear();
      pasts.clear();
      logs.clear();
    },
    all: logs,
  };
}

const rank = { failed: 0, sent: 1, delivered: 2, read: 3 };

/** Receipts never go back: of two reports the one that has come further. */
function further(a: Delivery | null, b: Delivery | null): Delivery | null {
  if (!a || !b) return a ?? b;
  return rank[b.status] < rank[a.status] ? a : b;
}

/** A channel as people see it: what the server has, then what waits to be sent. */
export function timeline(channelId: string, messages: Messages, queue: Readable<{ items: readonly Queued[] }>, me: () => string | null): Readable<readonly TimelineMessage[]> {
  const log = messages.all.of(channelId);
  let from: unknown[] = [], value: readonly TimelineMessage[] = [];
  return {
    get() {
      const sent = messages.get(channelId), items = queue.get().items.filter(q => q.channelId === channelId), user = me();
      const now = [sent, user, ...items];
      if (now.length === from.length && now.every((x, i) => x === from[i])) return value;
      from = now;
      const here = new Set(sent.map(m => m.clientMessageId));
      value = [
        ...sent.map(m => ({ ...m, mine: m.senderId === user, status: m.senderId === user ? (m.delivery?.status ?? "sent" as const) : null, error: null })),
        ...items.filter(q => !here.has(q.clientMessageId)).map(q => waiting(q, user)),
      ];
      return value;
    },
    subscribe: listener => both(log.subscribe(listener), queue.subscribe(listener)),
  };
}

function waiting({ input, status, error, createdAt, clientMessageId }: Queued, senderId: string | null): TimelineMessage {
  return {
    id: clientMessageId, clientMessageId, channelId: input.channelId, threadId: input.threadId ?? null, parentMessageId: input.parentMessageId ?? null,
    senderId, content: input.content ?? null, type: input.type ?? "text", metadata: input.metadata ?? null, mentions: [...(input.mentions as string[] ?? [])],
    seq: null, version: 0, createdAt: new Date(createdAt).toISOString(), editedAt: null, editedBy: null, deletedAt: null, delivery: null, mine: true, status, error,
  };
}
