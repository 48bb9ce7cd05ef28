import { createActivity } from "./activity.js";
import type { Connection } from "./connection.js";
import type { Env } from "./env.js";
import { asError, lost, pause, type RealtimeError } from "./errors.js";
import {
  type CustomStatusInput, MyPresence as MyPresenceDoc, PresenceChanged, Presences, type PresenceSettingsInput, type PresenceStatus,
  PresenceWindow, SetCustomStatus, SetPresence, UpdateSettings, Visibility,
} from "./generated.js";
import { type Family, family, hold, type Readable, store, type Writable } from "./store.js";
import type { Conflict, MyPresence, Presence, PresenceCounts, PresenceSettings, PresenceVisibility } from "./types.js";
import { createWatch, type Watch } from "./watch.js";

export interface Members {
  presences: readonly Presence[];
  /** Over the whole channel, of which the list is the first page. */
  counts: PresenceCounts | null;
}

export interface PresenceService {
  /** A user, watched while somebody subscribes. */
  user(userId: string): Readable<Presence | undefined>;
  /** Everybody who is watched now. */
  all: Readable<ReadonlyMap<string, Presence>>;
  /** Watches a user until the answer is called. */
  watch(userId: string): () => void;
  fetch(userIds: string[]): Promise<Presence[]>;
  /** The first hundred members of a channel, and counts over all, watched while somebody subscribes. */
  members(channelId: string): Readable<Members | undefined>;
  /** The caller's own, on all devices; watched while somebody subscribes. */
  mine: Readable<MyPresence | null>;
  settings: Readable<PresenceSettings | null>;
  /** Whether this page is hidden, and whether there was no input for a while. */
  activity: Readable<{ hidden: boolean; idle: boolean }>;
  /** Input that no window hears. */
  active(): void;
  /** away and busy stay until changed; online is automatic. While not connected, or refused for now, the last wish is kept, and done then. */
  setStatus(status: PresenceStatus, expiresAt?: Date | string | null): Promise<void>;
  /** null, or neither text nor emoji: none. Kept as the status is. */
  setCustomStatus(status: { text?: string | null; emoji?: string | null; expiresAt?: Date | string | null } | null): Promise<void>;
  /** Changes some, once what was asked before is answered; where another device changed them meanwhile the stricter of each holds, and that is a conflict in sync's history. */
  updateSettings(input: PresenceSettingsInput): Promise<PresenceSettings>;
  setInvisible(enabled: boolean): Promise<PresenceSettings>;
  /** What the caller may see of a user. */
  visibility(userId: string): Promise<PresenceVisibility | null>;
}

const time = (t: Date | string | null | undefined) => (t instanceof Date ? t.toISOString() : t ?? null);

export function createPresence(connection: Connection, env: Env, enabled: boolean, limits: () => { maxIds: number; idleAfterMs: number }, settings: Writable<PresenceSettings | null>, conflict: (c: Conflict) => void) {
  const { random } = env;
  const watch: Watch = createWatch(connection, random, PresenceChanged, userIds => ({ userIds }), () => limits().maxIds, ({ presenceChanged: p }) => watch.has(p.userId) && users.set(p.userId, p), id => users.set(id, undefined));
  const users: Family<Presence> = family<Presence>(watch.hold);
  const mine = store<MyPresence | null>(null, () => connection.live(MyPresenceDoc, {}, d => mine.set(d.myPresenceChanged)));

  const holds = new Map<string, () => () => void>(), windows: Family<Members> = family<Members>(channelId => {
    let held = holds.get(channelId);
    if (!held) {
      holds.set(channelId, held = hold(() => {
        const people = new Map<string, Presence>();
        const stop = connection.live(PresenceWindow, { channelId, first: 100 }, ({ presenceWindow: w }) => {
          if (w.snapshot) people.clear();
          for (const p of w.presences) people.set(p.userId, p);
          windows.set(channelId, { presences: [...people.values()], counts: w.counts ?? windows.get(channelId)?.counts ?? null });
        }, () => windows.set(channelId, undefined));
        return () => {
          stop();
          holds.delete(channelId);
          windows.set(channelId, undefined);
        };
      }));
    }
    return held();
  });

  // What the user wishes to be, until the server has heard it: only the last wish counts.
  const wishes = new Map<string, () => Promise<unknown>>();
  let again: ReturnType<typeof setTimeout> | undefined, failures = 0;
  async function wish(what: string, fn: () => Promise<unknown>) {
    wishes.set(what, fn);
    try {
      await fn();
      failures = 0;
      if (wishes.get(what) === fn) wishes.delete(what);
    } catch (e) {
      const error = asError(e);
      if (error.retryable) { // done with the next connection, or on this one after a while
        clearTimeout(again);
        if (connection.get().state === "connected") again = setTimeout(wishAll, pause(error, failures++, random));
        return;
      }
      if (wishes.get(what) === fn) wishes.delete(what);
      throw e;
    }
  }
  function wishAll() {
    clearTimeout(again);
    for (const [what, fn] of [...wishes]) void wish(what, fn).catch(() => {});
  }
  connection.events.on("up", wishAll);
  connection.events.on("down", halt);
  connection.events.on("user", halt);
  connection.events.on("end", leave);

  // Changes of settings: the first is on its way, each other waits for its answer, ten seconds at most, to stand on what that made of them. None waits
  // past the connection or the user it was asked for. After disconnect, or for another user, the line is another: what the old one is answered is nobody's.
  let line: ((gone?: RealtimeError) => void)[] = [];
  async function change(input: PresenceSettingsInput) {
    const mine = line, base = settings.get();
    try {
      const { updatePresenceSettings: now } = await connection.request(UpdateSettings, { input, baseUpdatedAt: base?.updatedAt });
      if (mine !== line) throw lost();
      settings.set(now);
      const fields = (Object.keys(input) as (keyof PresenceSettingsInput)[]).filter(k => input[k] != null && input[k] !== now[k]);
      if (fields.length) conflict({ kind: "settings", at: Date.now(), resolution: "stricter", base, server: now, client: input, fields });
      return now;
    } finally {
      mine.shift();
      mine[0]?.();
    }
  }
  function halt() {
    clearTimeout(again);
    line.splice(1).forEach(turn => turn(lost()));
  }
  function leave() {
    halt();
    line = [];
  }
  const activity = enabled ? createActivity(connection, env, () => limits().idleAfterMs) : null;

  const service: PresenceService = {
    user: users.of, all: users.all, members: windows.of, mine, settings,
    watch: watch.hold,
    async fetch(userIds) {
      const { presences } = await connection.request(Presences, { userIds });
      for (const p of presences) if (watch.has(p.userId)) users.set(p.userId, p);
      return presences;
    },
    activity: activity ?? store({ hidden: false, idle: false }),
    active: () => activity?.active(),
    setStatus: (status, expiresAt) => wish("status", () => connection.request(SetPresence, { status, expiresAt: time(expiresAt) }, { socketOnly: true })),
    setCustomStatus: status => {
      const input: CustomStatusInput = { text: status?.text ?? null, emoji: status?.emoji ?? null, expiresAt: time(status?.expiresAt) };
      return wish("line", () => connection.request(SetCustomStatus, { input }));
    },
    updateSettings: input => new Promise((resolve, reject) => {
      const turn = (gone?: RealtimeError) => (gone ? reject(gone) : resolve(change(input)));
      if (line.push(turn) < 2) turn();
    }),
    setInvisible: enabled => service.updateSettings({ invisibleMode: enabled }),
    visibility: async userId => (await connection.request(Visibility, { userId })).presenceVisibility ?? null,
  };
  return {
    service,
    clear() {
      users.clear();
      windows.clear();
      mine.set(null);
      settings.set(null);
      wishes.clear();
      leave();
    },
  };
}
