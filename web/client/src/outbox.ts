import type { Connection } from "./connection.js";
import type { Database } from "./database.js";
import { digest } from "./digest.js";
import { type Env, uuid } from "./env.js";
import { asError, pause, RealtimeError } from "./errors.js";
import { Send, type SendMessageInput } from "./generated.js";
import { type Emitter, type Readable, store } from "./store.js";
import type { Message, Outgoing, Queued, Row } from "./types.js";

// Half an emoji, where a text was cut: it arrives as this, and the digest is over what arrives.
const wellFormed = (_: string, v: unknown) => (typeof v === "string" ? v.replace(/\p{Surrogate}/gu, "\ufffd") : v);

export interface QueueState {
  /** What waits or failed, in the order it was queued. */
  items: readonly Queued[];
  /** How many wait or are on their way. */
  pending: number;
  failed: number;
  /** memory: what waits is lost with the page; warn before it is closed. null: not known yet whose queue it is. */
  persistence: "indexeddb" | "memory" | null;
}

export interface QueueEvents {
  queued: Queued;
  sent: Message;
  failed: Queued;
  flushing: { count: number };
  flushed: { sent: number; failed: number; count: number };
  /** Discarded in this tab or another, or gone from here with its user: signed out, or another now. */
  cleared: { count: number };
}

export interface Queue extends Readable<QueueState> {
  /** Queues a message; resolves once it is stored, long before it is sent. The same clientMessageId is one message. */
  send(message: Outgoing): Promise<Queued>;
  /** The message as the server has it, once it does; rejects when it is refused for good, discarded, or gone with its user (`closed`). */
  settled(clientMessageId: string): Promise<Message>;
  /** Sends what waits now, if this tab is the one that sends; resolves when there is nothing left that can be sent now. */
  flush(): Promise<{ sent: number; failed: number }>;
  /** Once more a message that failed. */
  retry(clientMessageId: string): Promise<void>;
  discard(clientMessageId: string): Promise<void>;
  /** Discards all of it; answers how many. */
  clear(): Promise<number>;
  events: Emitter<QueueEvents>;
}

/** Whose queue it is, once that is known. */
export interface Desk {
  db: Database;
  leads(): boolean;
  /** Tells the other tabs. */
  ring(news: { sent?: Message[]; failed?: string[]; discarded?: number }): void;
}

export interface OutboxOptions {
  maxQueued: number;
  maxAgeMs: number;
  maxBatch(): number;
  /** The largest frame the server reads, in bytes. */
  maxFrame(): number;
}

// A batch has this many bytes at most, or one row; around the rows of a frame there are no more than AROUND.
const BYTES = 96 << 10, SICK = 5000, AROUND = Send.length + 1024;
// By the clock it may seem longer, where that was set back; it is not.
const LONGEST = 60_000;
const left = (at: number) => {
  const ms = at - Date.now();
  return ms > LONGEST ? 0 : ms;
};
const LARGE = { code: "too-large", message: "It is larger than the server reads" };
const size = (row: Row) => new TextEncoder().encode(JSON.stringify(row.input)).length;

export function createOutbox(connection: Connection, env: Env, o: OutboxOptions, events: Emitter<QueueEvents>, took: (m: Message[]) => Promise<void>) {
  const state = store<QueueState>({ items: [], pending: 0, failed: 0, persistence: null });
  let drafts: Queued[] = [], rows: Row[] = [], flying = new Set<string>();
  let writing: Promise<unknown> = Promise.resolve(), draining: Promise<{ sent: number; failed: number }> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined, failures = 0, single = false, plain = false, more = false, epoch = 0, pausedUntil = 0, current: Desk | undefined;
  const waiting = new Set<() => void>(); // for what is to become of a message; called when its user goes
  const done = new Map<string, Message>(); // the last thousand: somebody may ask late

  // Whose it is is known when it is opened; a message may be queued before.
  let known!: (at: Desk) => void, desk!: Promise<Desk>;
  const renew = () => { desk = new Promise(r => { known = r; }); };
  renew();

  const view = ({ input, attempts, createdAt, dead }: Row): Queued => ({
    clientMessageId: input.clientMessageId, channelId: input.channelId, input, attempts, createdAt, error: dead,
    status: dead ? "failed" : flying.has(input.clientMessageId) ? "sending" : "pending",
  });
  function show() {
    const stored = rows.map(view), keys = new Set(stored.map(q => q.clientMessageId));
    const items = [...stored, ...drafts.filter(d => !keys.has(d.clientMessageId))];
    const failed = items.filter(i => i.status === "failed").length;
    state.set({ items, failed, pending: items.length - failed, persistence: current?.db.persistence ?? null });
  }
  async function reload(at: Desk) {
    const read = await at.db.rows();
    if (at !== current) return;
    rows = read;
    show();
  }

  function send({ clientMessageId = uuid(env), ...rest }: Outgoing): Promise<Queued> {
    const input = JSON.parse(JSON.stringify({ ...rest, clientMessageId }, wellFormed)) as SendMessageInput; // as it will arrive, and nobody's to change
    const same = state.get().items.find(q => q.clientMessageId === clientMessageId);
    if (same) return Promise.resolve(same);
    if (state.get().items.length >= o.maxQueued) {
      return Promise.reject(new RealtimeError("queue-full", `${o.maxQueued} messages wait already`, true));
    }
    const draft: Queued = { clientMessageId, channelId: input.channelId, input, status: "pending", attempts: 0, error: null, createdAt: Date.now() };
    drafts = [...drafts, draft];
    show();
    events.emit("queued", draft);
    const mine = epoch;
    const write = async () => {
      try {
        const at = await desk;
        if (mine !== epoch) throw new RealtimeError("closed", "Its user signed out");
        await at.db.add({ input, checksum: await digest([input], env), createdAt: draft.createdAt, attempts: 0, notBefore: 0, dead: null });
        drafts = drafts.filter(d => d !== draft);
        await reload(at).catch(show); // it is stored
        at.ring({});
        void flush();
        return draft;
      } catch (e) {
        drafts = drafts.filter(d => d !== draft);
        show();
        throw new RealtimeError("storage-failed", `Not stored, nor sent: ${asError(e).message}`, true);
      }
    };
    const written = writing.then(write); // one after another: the order of the calls is the order of the rows
    writing = written.catch(() => {});
    return written;
  }

  // The first rows of each channel, in their order, until one has to wait.
  function due(): Row[] {
    const waiting = new Set<string>(), batch: Row[] = [];
    let bytes = 0;
    for (const row of rows) {
      const channel = row.input.channelId;
      if (row.dead || waiting.has(channel)) continue;
      if (left(row.notBefore) > 0) {
        waiting.add(channel);
        continue;
      }
      bytes += size(row);
      if (batch.length && (single || bytes > Math.min(BYTES, o.maxFrame() - AROUND) || batch.length >= o.maxBatch())) break;
      batch.push(row);
    }
    return batch;
  }

  function flush(): Promise<{ sent: number; failed: number }> {
    if (draining) more = true; // perhaps it has looked already
    else {
      more = false;
      draining = drain().catch(() => { // the storage is sick
        timer = setTimeout(() => void flush(), SICK);
        return { sent: 0, failed: 0 };
      }).finally(() => {
        draining = undefined;
        if (more) void flush();
      });
    }
    return draining;
  }
  async function drain() {
    const total = { sent: 0, failed: 0 };
    let told = false;
    for (;;) {
      await writing;
      const at = current;
      clearTimeout(timer);
      if (!at?.leads() || connection.get().state !== "connected") break;
      if (left(pausedUntil) > 0) {
        timer = setTimeout(() => void flush(), left(pausedUntil));
        break;
      }
      await reload(at);
      const batch = due();
      if (await bury(at, batch)) continue;
      if (!batch.length) {
        single = false;
        const next = rows.filter(r => !r.dead).map(r => left(r.notBefore)).filter(ms => ms > 0);
        if (next.length) timer = setTimeout(() => void flush(), Math.max(50, Math.min(...next)));
        break;
      }
      if (!told) events.emit("flushing", { count: state.get().pending });
      told = true;
      const became = await attempt(at, batch);
      if (!became) break;
      total.sent += became.sent;
      total.failed += became.failed;
    }
    if (told) events.emit("flushed", { ...total, count: total.sent });
    return total;
  }

  // Rows that are too old or too large, or are not what was written, are not sent; they are shown.
  async function bury(at: Desk, batch: Row[]) {
    const dead: Row[] = [];
    for (const row of batch) {
      if (Date.now() - row.createdAt > o.maxAgeMs) dead.push({ ...row, dead: { code: "expired", message: "Too old to be sent" } });
      else if (size(row) > o.maxFrame() - AROUND) dead.push({ ...row, dead: LARGE });
      else if (row.checksum && row.checksum !== ((await digest([row.input], env)) ?? row.checksum)) {
        dead.push({ ...row, dead: { code: "corrupted", message: "It is not what was written" } });
      }
    }
    if (dead.length) await settle(at, [], [], dead);
    return dead.length;
  }

  async function attempt(at: Desk, batch: Row[]): Promise<{ sent: number; failed: number } | null> {
    const input = batch.map(r => r.input);
    flying = new Set(input.map(i => i.clientMessageId));
    show();
    let answered = false;
    try {
      const sum = plain ? null : await digest(input, env);
      if (at !== current) return null; // another user's turn: never under its name
      const { sendMessages } = await connection.request(Send, { input, digest: sum }, { socketOnly: true });
      const sent: Message[] = [], gone: number[] = [], put: Row[] = [];
      for (const result of sendMessages.results) {
        const row = batch.find(r => r.input.clientMessageId === result.clientMessageId);
        if (!row) continue; // an answer for another key deletes nothing
        if (result.message && result.status !== "failed") {
          gone.push(row.n);
          sent.push({ ...result.message, clientMessageId: row.input.clientMessageId });
        } else if (result.error?.retryable) {
          const wait = pause(result.error, row.attempts, env.random);
          put.push({ ...row, attempts: row.attempts + 1, notBefore: Date.now() + Math.min(wait, LONGEST) });
        } else put.push({ ...row, dead: result.error ?? { code: "unexpected", message: "Refused" } });
      }
      if (!gone.length && !put.length) throw new RealtimeError("unexpected", "No data", true);
      answered = true;
      failures = 0;
      plain = false;
      await settle(at, gone, sent, put);
      return { sent: sent.length, failed: put.filter(r => r.dead).length };
    } catch (e) {
      if (answered) throw e; // the storage's, and no refusal
      const error = asError(e);
      if (error.code === "connection-lost" && connection.get().error?.code === "1009") {
        // Too large for the server, or for something before it, says the close: of one row, sent alone, or sent twice. Not the client's end.
        connection.connect();
        if (!single) {
          single = true;
          return null;
        }
        await settle(at, [], [], [{ ...batch[0]!, dead: LARGE }]);
        return { sent: 0, failed: 1 };
      }
      if (error.retryable || ["needs-auth", "invalid-jwt", "access-denied"].includes(error.code)) {
        // Of the way, or of the session: the rows stay as they are. Once connected anew, or after a while.
        const wait = Math.min(pause(error, failures++, env.random), LONGEST);
        pausedUntil = Date.now() + wait;
        timer = setTimeout(() => void flush(), wait);
        return null;
      }
      // Refused as a whole: one row is the reason. Find it by sending them one by one; a digest is no reason to lose one.
      if (batch.length > 1) single = true;
      else if (!plain) plain = true;
      else {
        plain = single = false;
        await settle(at, [], [], [{ ...batch[0]!, dead: { code: error.code, message: error.message } }]);
        return { sent: 0, failed: 1 };
      }
      return { sent: 0, failed: 0 };
    } finally {
      flying = new Set();
      show();
    }
  }

  async function settle(at: Desk, gone: number[], sent: Message[], put: Row[]) {
    if (sent.length) await took(sent); // first: a message that leaves the queue is in its channel already, here and on the disk
    await at.db.settle(gone, put);
    await reload(at);
    const failed = put.filter(r => r.dead && rows.some(x => x.n === r.n));
    at.ring({ sent, failed: failed.map(r => r.input.clientMessageId) });
    announce(sent, failed);
  }
  function announce(sent: Message[], failed: Row[]) {
    for (const m of sent) {
      done.set(m.clientMessageId!, m);
      if (done.size > 1000) done.delete(done.keys().next().value!);
      events.emit("sent", m);
    }
    failed.forEach(r => events.emit("failed", view(r)));
  }

  async function change(clientMessageId: string | null, fn: (row: Row) => Row | null) {
    const at = await desk, mine = epoch;
    await writing;
    if (mine !== epoch) return 0;
    const remove: number[] = [], put: Row[] = [];
    for (const row of await at.db.rows()) {
      if (flying.has(row.input.clientMessageId) || (clientMessageId && row.input.clientMessageId !== clientMessageId)) continue;
      const next = fn(row);
      if (next) put.push(next);
      else remove.push(row.n);
    }
    await at.db.settle(remove, put);
    await reload(at);
    at.ring(remove.length ? { discarded: remove.length } : {});
    return remove.length;
  }

  const queue: Queue = {
    get: state.get,
    subscribe: state.subscribe,
    send,
    settled: key => new Promise((resolve, reject) => {
      const before = done.get(key);
      if (before) return resolve(before);
      const fail = (q: Queued | undefined) => finish(() => reject(new RealtimeError(q?.error?.code ?? "discarded", q?.error?.message ?? "Discarded")));
      const offs = [
        events.on("sent", m => m.clientMessageId === key && finish(() => resolve(m))),
        events.on("failed", q => q.clientMessageId === key && fail(q)),
        events.on("cleared", () => !state.get().items.some(i => i.clientMessageId === key) && fail(undefined)),
      ];
      const finish = (fn: () => void) => { offs.forEach(f => f()); waiting.delete(gone); fn(); };
      const gone = () => finish(() => reject(new RealtimeError("closed", "Its user signed out")));
      waiting.add(gone);
      const known = state.get().items.find(i => i.clientMessageId === key);
      if (known?.status === "failed") fail(known);
    }),
    flush,
    async retry(key) {
      await change(key, row => ({ ...row, dead: null, attempts: 0, notBefore: 0, createdAt: Date.now() }));
      void flush();
    },
    async discard(key) {
      if (await change(key, () => null)) events.emit("cleared", { count: 1 });
    },
    async clear() {
      const count = await change(null, () => null);
      events.emit("cleared", { count });
      return count;
    },
    events,
  };
  return {
    queue,
    /** The queue is this user's from now on. */
    async open(at: Desk) {
      current = at;
      known(at);
      await reload(at).catch(show);
      void flush();
    },
    /** Connected: what held it up may be over. */
    resume: () => void (failures = pausedUntil = 0),
    close() {
      if (current) renew();
      current = undefined;
      epoch++;
      clearTimeout(timer);
      const count = state.get().items.length;
      rows = [];
      drafts = [];
      done.clear();
      show();
      [...waiting].forEach(f => f());
      if (count) events.emit("cleared", { count });
    },
    /** Another tab changed it. */
    async heard({ sent = [], failed = [], discarded }: Parameters<Desk["ring"]>[0]) {
      const at = current;
      if (!at) return;
      void took(sent);
      await reload(at);
      announce(sent, rows.filter(r => failed.includes(r.input.clientMessageId)));
      if (discarded) events.emit("cleared", { count: discarded });
      void flush();
    },
  };
}
