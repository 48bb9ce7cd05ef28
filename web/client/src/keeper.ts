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
  /** Nothing of before is to stay, but for marks and conflicts. */
  clear(): void;
  /** Resolves once everything until now is stored. A failure is none of the reader's: it is fetched again. */
  flush(): Promise<void>;
}

/** After a write that failed, how long nothing is tried. */
const REST = 30_000;

/**
 * `target`: where to, while this tab leads. `all`: everything there is; null while what is stored was not read yet. It is written
 * in place of a change once one before was not: a cursor never passes what is missing.
 */
export function createKeeper(target: () => Database | null, all: () => Change | null, stored: () => void): Keeper {
  let put = new Map<string, Message>(), remove = new Set<string>(), forget = new Set<string>(), kv = new Map<string, unknown>(), clear = false;
  let timer: ReturnType<typeof setTimeout> | undefined, rest: typeof timer, writing: Promise<void> = Promise.resolve();
  let missed = false, epoch = 0; // missed: something was not written
  const plan = () => { timer ??= setTimeout(() => void flush(), 200); };
  function begin() {
    timer = void clearTimeout(timer);
    put = new Map();
    remove = new Set();
    forget = new Set();
    kv = new Map();
    clear = false;
  }
  function discard() {
    begin();
    rest = void clearTimeout(rest);
    missed = false;
    epoch++;
  }
  async function write(db: Database, change: Change, mine: number) {
    const now = missed ? all() : change;
    if (mine !== epoch || !now) return;
    missed = false;
    try {
      await db.save(now);
      if (mine === epoch) stored();
    } catch {
      if (mine !== epoch) return;
      missed = true;
      rest ??= setTimeout(() => {
        rest = undefined;
        void flush();
      }, REST);
    }
  }
  function flush() {
    const change = { put: [...put.values()], remove, forget, kv, clear }, news = clear || put.size + remove.size + forget.size + kv.size > 0, db = target();
    begin();
    if (!db || rest) missed ||= news;
    else if (news || missed) {
      const mine = epoch;
      writing = writing.then(() => write(db, change, mine));
    }
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
      for (const key of kv.keys()) if (!/^(mark:|conflicts$)/.test(key)) kv.delete(key); // the server does not say those again
      clear = true;
      plan();
    },
    flush,
    discard,
  };
}
