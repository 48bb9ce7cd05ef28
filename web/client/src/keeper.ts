import type { Change, Database } from "./database.js";
import type { Message } from "./types.js";

/** Writes what was synchronized to the database, in the order it came, together with the cursor after it. Only the tab that leads does. */
export interface Keeper {
  put(messages: readonly Message[]): void;
  remove(ids: readonly string[]): void;
  forget(channelIds: readonly string[]): void;
  kv(key: string, value: unknown): void;
  /** Another user: what waits to be written is nobody's any more. */
  discard(): void;
  /** Nothing of before is to stay. */
  clear(): void;
  /** Resolves once everything until now is stored. A failure is none of the reader's: it is fetched again. */
  flush(): Promise<void>;
}

export function createKeeper(target: () => Database | null, stored: () => void): Keeper {
  let put = new Map<string, Message>(), remove = new Set<string>(), forget = new Set<string>(), kv = new Map<string, unknown>(), clear = false;
  let timer: ReturnType<typeof setTimeout> | undefined, writing: Promise<void> = Promise.resolve();
  const plan = () => { timer ??= setTimeout(() => void flush(), 200); };
  async function write(db: Database, change: Change) {
    try {
      await db.save(change);
      stored();
    } catch { /* no cursor was stored either */ }
  }
  function discard() {
    clearTimeout(timer);
    timer = undefined;
    put = new Map();
    remove = new Set();
    forget = new Set();
    kv = new Map();
    clear = false;
  }
  function flush() {
    const db = target(), change = { put: put.values(), remove, forget, kv, clear };
    discard();
    if (db) writing = writing.then(() => write(db, change));
    return writing;
  }
  return {
    put(messages) {
      for (const m of messages) {
        remove.delete(m.id);
        put.set(m.id, m);
      }
      plan();
    },
    remove(ids) {
      for (const id of ids) {
        put.delete(id);
        remove.add(id);
      }
      plan();
    },
    forget(ids) {
      for (const id of ids) {
        for (const [key, m] of put) if (m.channelId === id) put.delete(key);
        forget.add(id);
      }
      plan();
    },
    kv(key, value) {
      kv.set(key, value);
      plan();
    },
    clear() {
      put.clear();
      remove.clear();
      forget.clear();
      kv.clear();
      clear = true;
      plan();
    },
    flush,
    discard,
  };
}
