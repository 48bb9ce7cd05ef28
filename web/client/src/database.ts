import type { Env } from "./env.js";
import type { Message, Row } from "./types.js";

/** What is kept between visits: what waits to be sent, and what was synchronized. One database for each user of each server. */
export interface Database {
  /** memory: nothing outlives this page, because the browser gives no storage. */
  persistence: "indexeddb" | "memory";
  rows(): Promise<Row[]>;
  add(row: Omit<Row, "n">): Promise<void>;
  /** All or nothing. */
  settle(remove: number[], put?: Row[]): Promise<void>;
  load(): Promise<{ messages: Message[]; kv: Map<string, unknown> }>;
  /** All or nothing. A value undefined is removed; clear: what was there goes first, but for the outbox. */
  save(change: Change): Promise<void>;
  close(): void;
  /** Removes the database. */
  wipe(): Promise<void>;
}

export interface Change {
  clear?: boolean;
  put?: Iterable<Message>;
  remove?: Iterable<string>;
  /** Channels of which nothing is to be kept. */
  forget?: Iterable<string>;
  kv?: Iterable<readonly [string, unknown]>;
}

/** How long to wait before the code for it is asked for again, should the network have swallowed it. */
const AGAIN = [1000, 4000];

export async function openDatabase(name: string, keep: number, env: Env): Promise<Database> {
  if (!env.indexedDB) return memory();
  for (let tried = 0; ; tried++) {
    const loaded = await import("./indexed.js").catch(() => null); // idb comes with it: not before it is needed
    if (loaded) return loaded.indexed(name, keep, env).catch(() => memory()); // private mode, or a disk that is full
    if (tried >= AGAIN.length) break;
    await new Promise(r => setTimeout(r, AGAIN[tried]));
  }
  return memory(() => void env.indexedDB?.deleteDatabase(name)); // what an earlier visit stored goes with a sign-out all the same
}

function memory(wiped = () => {}): Database {
  const rows = new Map<number, Row>(), kv = new Map<string, unknown>();
  let last = 0;
  return {
    persistence: "memory",
    rows: async () => [...rows.values()].sort((a, b) => a.n - b.n),
    async add(row) {
      rows.set(++last, { ...row, n: last });
    },
    async settle(remove, put = []) {
      remove.forEach(n => rows.delete(n));
      put.forEach(row => rows.set(row.n, row));
    },
    load: async () => ({ messages: [], kv: new Map(kv) }),
    save: async () => {},
    close() {},
    async wipe() {
      rows.clear();
      wiped();
    },
  };
}
