import type { Connection } from "./connection.js";
import { type Env, listen } from "./env.js";
import { asError, pause } from "./errors.js";
import { Acknowledge, type MarkInput, MarkUnread, UnreadTotals as UnreadTotalsDoc } from "./generated.js";
import type { Keeper } from "./keeper.js";
import type { Messages } from "./messages.js";
import type { State } from "./state.js";
import { both, type Readable, store } from "./store.js";
import type { ReadState, ThreadState, UnreadTotals } from "./types.js";

export interface DeliveryService {
  /** The caller has read a channel, or the thread the message is in, up to it. Gathered for a second, then said for all channels at once. */
  read(channelId: string, messageId: string): void;
  /** This device has a channel up to a message. The client says so by itself for what it stored. */
  delivered(channelId: string, messageId: string): void;
  /** From this message on there is something to read again, in its thread or its channel; nobody else learns of it. */
  markUnread(messageId: string): Promise<void>;
  /** Says now what is gathered. */
  flush(): Promise<void>;
}

export interface Unread {
  /** How far the caller is in a channel, and how much there is to read. */
  channel(channelId: string): Readable<ReadState | undefined>;
  all: Readable<ReadonlyMap<string, ReadState>>;
  /** The same of a thread, once something of it was told. */
  thread(threadId: string): Readable<ThreadState | undefined>;
  /** Over all channels that are not muted; watched while somebody subscribes. */
  totals: Readable<UnreadTotals | null>;
}

interface Mark { channelId: string; read?: string; delivered?: string }

// LEAVING: what a page says as it goes may have 64 KiB.
const BATCH = 1000, MOST = 500, LEAVING = 200;

export function createDelivery(connection: Connection, env: Env, messages: Messages, keeper: Keeper, state: Pick<State, "readStates" | "threads" | "read">) {
  const { readStates, threads } = state;
  let marks = new Map<string, Mark>(), timer: ReturnType<typeof setTimeout> | undefined, flying: Promise<void> | undefined, failures = 0;
  const place = (id: string | null | undefined) => {
    const m = id ? messages.find(id) : undefined;
    return m && Number(m.seq);
  };
  // Only forwards, as far as that is known here; the server holds to it in any case.
  const behind = (id: string, than: string | null | undefined) => {
    const a = place(id), b = place(than);
    return id === than || (a !== undefined && b !== undefined && a <= b);
  };
  function mark(channelId: string, kind: "read" | "delivered", messageId: string, where?: string) {
    const thread = kind === "read" ? messages.find(messageId)?.threadId : null, key = where ?? thread ?? channelId; // received is with the channel, read where it is
    const held = marks.get(key), now = thread ? threads.get(thread) : readStates.get(channelId);
    if (behind(messageId, held?.[kind]) || behind(messageId, kind === "read" ? now?.lastReadMessageId : readStates.get(channelId)?.lastDeliveredMessageId)) return;
    const next = { ...held, channelId, [kind]: messageId };
    marks.set(key, next);
    keeper.kv(`mark:${key}`, next);
    plan();
  }
  function plan(ms = BATCH) {
    if (!timer && !flying && connection.get().state === "connected") timer = setTimeout(() => void flush(), ms);
  }
  function flush(leaving = false): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    if (!marks.size) return Promise.resolve();
    flying ??= say(leaving).then(wait => {
      flying = undefined;
      if (marks.size) plan(wait);
    });
    return flying;
  }
  // Answers how long what waits then is to wait.
  async function say(keepalive: boolean) {
    const batch = [...marks].slice(0, keepalive ? LEAVING : MOST);
    const of = (kind: "read" | "delivered") => batch.flatMap(([, m]): MarkInput[] => (m[kind] ? [{ channelId: m.channelId, messageId: m[kind] }] : []));
    try {
      const { errors } = await connection.ask(Acknowledge, { delivered: of("delivered"), read: of("read") }, { keepalive, overHttp: keepalive });
      const refused = errors.filter(e => e.retryable).sort((a, b) => b.retryAfterMs! - a.retryAfterMs!);
      if (refused[0]) throw refused[0];
    } catch (e) {
      return pause(asError(e), failures++, env.random); // or for the next connection; to say it twice is harmless
    }
    failures = 0;
    for (const [key, m] of batch) {
      if (marks.get(key) !== m) continue; // moved on meanwhile
      marks.delete(key);
      keeper.kv(`mark:${key}`, undefined);
    }
    return BATCH;
  }
  const totals = store<UnreadTotals | null>(null);
  const held = store<null>(null, () => connection.live(UnreadTotalsDoc, {}, d => totals.set(d.unreadTotalsChanged)));
  let deaf = () => {};
  connection.events.on("up", () => {
    failures = 0;
    void flush();
  });
  connection.events.on("begin", () => { deaf = listen(env.window, "pagehide", () => void flush(true)); });
  connection.events.on("end", () => {
    clearTimeout(timer);
    timer = undefined;
    deaf();
  });
  const service: DeliveryService = {
    read: (channelId, messageId) => mark(channelId, "read", messageId),
    delivered: (channelId, messageId) => mark(channelId, "delivered", messageId),
    async markUnread(messageId) {
      const { channelId, threadId } = messages.find(messageId) ?? {}, key = threadId ?? channelId;
      if (key && marks.delete(key)) keeper.kv(`mark:${key}`, undefined); // a mark that waits is older than this wish
      await flush();
      state.read([(await connection.request(MarkUnread, { messageId })).markUnread]);
    },
    flush: () => flush(),
  };
  const unread: Unread = {
    channel: readStates.of,
    all: readStates.all,
    thread: threads.of,
    totals: {
      get: totals.get,
      subscribe: listener => both(totals.subscribe(listener), held.subscribe(() => {})),
    },
  };
  return {
    service, unread,
    /** What was stored and not said, by this tab or another. */
    restore(kv: Map<string, unknown>) {
      for (const [key, value] of kv) {
        if (!key.startsWith("mark:")) continue;
        const stored = value as Mark;
        for (const kind of ["read", "delivered"] as const) if (stored[kind]) mark(stored.channelId, kind, stored[kind], key.slice(5));
      }
    },
    all: () => [...marks].map(([key, m]): [string, unknown] => [`mark:${key}`, m]),
    clear() {
      marks = new Map();
      totals.set(null);
    },
  };
}
