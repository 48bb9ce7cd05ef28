import type { Connection } from "./connection.js";
import type { Env } from "./env.js";
import { asError, lost, pause, RealtimeError } from "./errors.js";
import { Edit, type EditMutation, Events, type EventKind, History, Remove, Sync } from "./generated.js";
import type { Keeper } from "./keeper.js";
import type { Messages } from "./messages.js";
import type { State } from "./state.js";
import { type Emitter, type Readable, store } from "./store.js";
import type { Conflict, Message, SyncResult } from "./types.js";

export interface SyncState {
  /** synchronized: everything that was missed is here, and what happens comes at once. */
  state: "idle" | "synchronizing" | "synchronized";
  /** 0 to 100: 10 the queue is sent, up to 90 what was missed, 100 live. */
  progress: number;
  /** Messages brought, and to bring as far as known. */
  done: number;
  total: number;
  result: SyncResult | null;
  error: RealtimeError | null;
  /** The last hundred, newest first. */
  conflicts: readonly Conflict[];
}

export interface SyncEvents {
  started: null;
  progress: { progress: number; done: number; total: number };
  completed: SyncResult;
  failed: RealtimeError;
  conflict: Conflict;
}

export interface SyncService extends Readable<SyncState> {
  /** Fetches now what was missed, as after each connection; resolves when live. */
  run(): Promise<SyncResult>;
  /** Fetches the newest of a channel anew. */
  channel(channelId: string): Promise<readonly Message[]>;
  /** Older messages of a channel, or of a thread of it, than were fetched so far; `more`: there are others. They stay until the page goes. */
  older(channelId: string, threadId?: string, first?: number): Promise<{ messages: readonly Message[]; more: boolean }>;
  /** Changes a message. Two edits at once: the answer tells both and which one holds. */
  edit(messageId: string, content: string, baseVersion?: number): Promise<EditMutation["editMessage"]>;
  remove(messageId: string): Promise<void>;
  events: Emitter<SyncEvents>;
}

const KINDS: EventKind[] = ["messages", "deliveries", "readStates", "channels", "members", "settings"];

export function createSync(connection: Connection, env: Env, state: State, messages: Messages, keeper: Keeper, flush: () => Promise<{ sent: number; failed: number }>, events: Emitter<SyncEvents>) {
  const info = store<SyncState>({ state: "idle", progress: 0, done: 0, total: 0, result: null, error: null, conflicts: [] });
  const say = (change: Partial<SyncState>) => info.set({ ...info.get(), ...change });
  let cursor: string | null = null, generation = 0, stop: (() => void) | undefined, failures = 0, count = { conflicts: 0 };
  let timer: ReturnType<typeof setTimeout> | undefined;
  // A cursor before what is missing of channels; until it is there, nothing begins or is stored after it. "": a fresh start that is not over: what it brings
  // is history, also after an interruption, and a page that goes before its end begins anew.
  let gap: string | null = null, filling = 0;
  const moved = (to: string) => {
    cursor = to;
    if (gap === null) keeper.kv("cursor", to);
  };

  async function run(): Promise<SyncResult> {
    const mine = ++generation, begun = Date.now();
    filling = 0;
    const stale = () => { if (mine !== generation) throw lost("Another began"); };
    clearTimeout(timer);
    stop?.();
    say({ state: "synchronizing", error: null });
    events.emit("started", null);
    count = { conflicts: 0 };
    const step = (progress: number, done = 0, total = 0) => {
      say({ progress, done, total });
      events.emit("progress", { progress, done, total });
    };
    step(0);
    try {
      // First what waits, so that it is in what comes; but not for ever.
      const queueFlushed = await Promise.race([flush(), new Promise<{ sent: number; failed: number }>(r => setTimeout(r, 5000, { sent: 0, failed: 0 }))]);
      stale();
      step(10);
      const got = await pages(stale, step);
      if (connection.get().state !== "connected") throw lost(); // over HTTP there is no stream
      follow(mine);
      const result: SyncResult = {
        messages: { synced: got.messages, conflicts: count.conflicts, errors: 0 }, channels: { synced: got.channels, errors: 0 }, presence: { synced: 0 },
        queueFlushed, timestamp: Date.now(), duration: Date.now() - begun,
      };
      say({ state: "synchronized", progress: 100, result });
      events.emit("progress", { progress: 100, done: got.messages, total: got.messages });
      events.emit("completed", result);
      return result;
    } catch (e) {
      const error = asError(e);
      if (mine === generation) {
        say({ state: "idle", error });
        events.emit("failed", error);
        again(error);
      }
      throw error;
    }
  }
  // After a loss the next connection begins anew; after anything else it is tried again here.
  function again(error: RealtimeError | null) {
    if (connection.get().state !== "connected" || (error && !error.retryable)) return;
    clearTimeout(timer);
    timer = setTimeout(() => void run().catch(() => {}), pause(error, failures++, env.random));
  }

  async function pages(stale: () => void, step: (p: number, done: number, total: number) => void) {
    const got = { messages: 0, channels: 0 };
    let done = 0, ratio = 0;
    if (gap) {
      cursor = gap;
      gap = null;
    }
    for (;;) {
      let page, since = messages.now();
      try {
        page = (await connection.request(Sync, { cursor, first: 200 })).sync;
      } catch (e) {
        stale();
        if (!cursor || asError(e).code !== "validation-failed") throw e;
        cursor = null; // not ours, or of another server: begin anew
        continue;
      }
      stale();
      if (!cursor || page.reset) {
        state.clear();
        since = messages.now();
        gap = "";
      }
      got.messages += state.page(page, gap === "", since);
      got.channels += page.channels.length;
      if (!page.hasMore) gap = null;
      moved(page.cursor);
      done += page.messages.length;
      const total = Math.max(done, page.progress.total);
      if (!page.hasMore) ratio = 1;
      else if (total > done) ratio = Math.max(ratio, done / total); // else there is more than was counted
      step(10 + Math.round(80 * ratio), done, total);
      await keeper.flush();
      stale();
      if (!page.hasMore) return got;
    }
  }

  function follow(mine: number) {
    stop = connection.once(Events, { cursor, kinds: KINDS }, {
      next({ data, errors }) {
        if (mine !== generation) return;
        if (!data) return end(errors[0] ?? null);
        failures = 0; // no sooner: pages may come from a server that refuses its stream
        const { payload, cursor: at } = data.events;
        if (payload.__typename === "StreamReset") {
          if (payload.reason === "started") return moved(payload.cursor);
          cursor = gap = null;
          return void run().catch(() => {});
        }
        if (payload.__typename === "StreamGap") void refill(payload.channelId, payload.cursor);
        else {
          const channelId = state.event(payload);
          if (channelId) void channel(channelId).catch(() => {});
        }
        moved(at);
      },
      end,
    });
    function end(error: RealtimeError | null) {
      if (mine !== generation || error?.code === "connection-lost") return;
      if (error?.code === "validation-failed") cursor = gap = null;
      generation++;
      const over = error && !error.retryable && error.code !== "validation-failed"; // until the next connection
      say(over ? { state: "idle", error } : { state: "synchronizing" });
      if (over) events.emit("failed", error);
      else again(error?.code === "validation-failed" ? null : error);
    }
  }

  // A channel of which older messages may be read now, or no longer.
  async function refill(channelId: string, from: string) {
    state.forget(channelId);
    gap ??= from; // of several the first is before the others
    keeper.kv("cursor", gap);
    filling++;
    const mine = generation;
    try {
      for (let at = from, more = true; more;) {
        const since = messages.now(), page = (await connection.request(Sync, { cursor: at, first: 200 })).sync;
        if (mine !== generation) return; // the sync that began meanwhile brings it, or the next
        state.page(page, true, since);
        [at, more] = [page.cursor, page.hasMore];
      }
      if (--filling) return;
      gap = null;
      moved(cursor!);
    } catch {
      if (mine === generation) void run().catch(() => {});
    }
  }
  async function channel(channelId: string) {
    const since = messages.now(), page = (await connection.request(Sync, { channelIds: [channelId], first: 200 })).sync;
    state.page({ ...page, leftChannelIds: [] }, true, since);
    return messages.get(channelId);
  }

  function conflict(c: Conflict) {
    count.conflicts++;
    const conflicts = [c, ...info.get().conflicts].slice(0, 100);
    say({ conflicts });
    keeper.kv("conflicts", conflicts);
    events.emit("conflict", c);
  }
  const service: SyncService = {
    get: info.get, subscribe: info.subscribe, run, channel, events,
    async older(channelId, threadId, first = 50) {
      const key = threadId ?? "", had = messages.get(channelId).length;
      for (;;) { // the first pages may hold what is here already
        const past = messages.past(channelId), before = past.get(key);
        if (before === null) return { messages: messages.get(channelId), more: false };
        const since = messages.now(), { messages: page } = await connection.request(History, { channelId, threadId: threadId ?? null, before: before ?? null, first });
        messages.put(messages.alive(page.messages, since));
        const { hasNextPage: more, endCursor } = page.pageInfo;
        past.set(key, more ? endCursor : null);
        if (messages.get(channelId).length > had || !more) return { messages: messages.get(channelId), more };
      }
    },
    async edit(messageId, content, baseVersion) {
      const base = baseVersion ?? messages.find(messageId)?.version;
      if (base === undefined) throw new RealtimeError("validation-failed", "baseVersion is not known");
      const { editMessage } = await connection.request(Edit, { messageId, content, baseVersion: base });
      state.took([editMessage.message]);
      const c = editMessage.conflict;
      if (c) conflict({ kind: "message", at: Date.now(), messageId, resolution: c.resolution, base: c.base, server: c.server, client: c.client });
      return editMessage;
    },
    async remove(messageId) {
      const { deleteMessage } = await connection.request(Remove, { messageId });
      state.event({ __typename: "MessageDeleted", messageId, channelId: deleteMessage.channelId });
    },
  };
  return {
    service, conflict,
    /** What of it is stored. */
    all: (): [string, unknown][] => [["cursor", gap ?? cursor ?? undefined], ["conflicts", info.get().conflicts]],
    /** What is stored of this user: whence to go on. */
    open: (at: string | null) => void (cursor = at),
    /** Conflicts that are stored, by this tab or another. */
    adopt(conflicts: readonly Conflict[]) {
      const both = new Map([...conflicts, ...info.get().conflicts].map(c => [JSON.stringify(c), c]));
      say({ conflicts: [...both.values()].sort((a, b) => b.at - a.at).slice(0, 100) });
    },
    halt(forget = false) {
      generation++;
      failures = 0;
      clearTimeout(timer);
      stop?.();
      say({ state: "idle", ...(forget && { result: null, conflicts: [] }) });
      if (forget) cursor = gap = null;
    },
  };
}
