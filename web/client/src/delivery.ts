import type { Connection } from "./connection.js";
import { type Env, listen } from "./env.js";
import { Acknowledge, type MarkInput, UnreadTotals as UnreadTotalsDoc } from "./generated.js";
import type { Keeper } from "./keeper.js";
import type { Messages } from "./messages.js";
import { type Family, type Readable, store } from "./store.js";
import type { ReadState, UnreadTotals } from "./types.js";

export interface DeliveryService {
  /** The caller has read a channel up to a message. Gathered for a second, then said for all channels at once. */
  read(channelId: string, messageId: string): void;
  /** This device has a channel up to a message. The client says so by itself for what it stored. */
  delivered(channelId: string, messageId: string): void;
  /** Says now what is gathered. */
  flush(): Promise<void>;
}

export interface Unread {
  /** How far the caller is in a channel, and how much there is to read. */
  channel(channelId: string): Readable<ReadState | undefined>;
  all: Readable<ReadonlyMap<string, ReadState>>;
  /** Over all channels that are not muted; watched while somebody subscribes. */
  totals: Readable<UnreadTotals | null>;
}

interface Mark { read?: string; delivered?: string }

const BATCH = 1000, MOST = 500;

export function createDelivery(connection: Connection, env: Env, messages: Messages, keeper: Keeper, readStates: Family<ReadState>) {
  let marks = new Map<string, Mark>(), timer: ReturnType<typeof setTimeout> | undefined, flying: Promise<void> | undefined;
  const place = (id: string | null | undefined) => {
    const m = id ? messages.find(id) : undefined;
    return m && Number(m.seq);
  };
  // Only forwards, as far as that is known here; the server holds to it in any case.
  const behind = (id: string, than: string | null | undefined) => {
    const a = place(id), b = place(than);
    return id === than || (a !== undefined && b !== undefined && a <= b);
  };
  function mark(channelId: string, kind: keyof Mark, messageId: string) {
    const held = marks.get(channelId), state = readStates.get(channelId);
    if (behind(messageId, held?.[kind]) || behind(messageId, kind === "read" ? state?.lastReadMessageId : state?.lastDeliveredMessageId)) return;
    const next = { ...held, [kind]: messageId };
    marks.set(channelId, next);
    keeper.kv(`mark:${channelId}`, next);
    plan();
  }
  function plan() {
    if (!timer && connection.get().state === "connected") timer = setTimeout(() => void flush(), BATCH);
  }
  function flush(leaving = false): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    if (!marks.size) return Promise.resolve();
    flying ??= say(leaving).finally(() => {
      flying = undefined;
      if (marks.size) plan();
    });
    return flying;
  }
  async function say(keepalive: boolean) {
    const batch = [...marks].slice(0, MOST);
    const of = (kind: keyof Mark) => batch.flatMap(([channelId, m]): MarkInput[] => (m[kind] ? [{ channelId, messageId: m[kind] }] : []));
    try {
      const { errors } = await connection.ask(Acknowledge, { delivered: of("delivered"), read: of("read") }, { keepalive, overHttp: keepalive });
      if (errors.some(e => e.retryable)) return;
    } catch {
      return; // it waits for the next connection; to say it twice is harmless
    }
    for (const [channelId, m] of batch) {
      if (marks.get(channelId) !== m) continue; // moved on meanwhile
      marks.delete(channelId);
      keeper.kv(`mark:${channelId}`, undefined);
    }
  }
  const totals = store<UnreadTotals | null>(null);
  const held = store<null>(null, () => connection.live(UnreadTotalsDoc, {}, d => totals.set(d.unreadTotalsChanged)));
  let deaf = () => {};
  connection.events.on("up", () => void flush());
  connection.events.on("begin", () => { deaf = listen(env.window, "pagehide", () => void flush(true)); });
  connection.events.on("end", () => {
    clearTimeout(timer);
    timer = undefined;
    deaf();
  });
  const service: DeliveryService = {
    read: (channelId, messageId) => mark(channelId, "read", messageId),
    delivered: (channelId, messageId) => mark(channelId, "delivered", messageId),
    flush: () => flush(),
  };
  const unread: Unread = {
    channel: readStates.of,
    all: readStates.all,
    totals: {
      get: totals.get,
      subscribe(listener) {
        const offs = [totals.subscribe(listener), held.subscribe(() => {})];
        return () => offs.forEach(f => f());
      },
    },
  };
  return {
    service, unread,
    restore(kv: Map<string, unknown>) {
      for (const [key, value] of kv) if (key.startsWith("mark:")) marks.set(key.slice(5), value as Mark);
    },
    clear() {
      marks = new Map();
      totals.set(null);
    },
  };
}
