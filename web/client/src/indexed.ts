import { type DBSchema, type IDBPDatabase, wrap } from "idb";
import type { Database } from "./database.js";
import type { Env } from "./env.js";
import type { Message, Row } from "./types.js";

interface Schema extends DBSchema {
  outbox: { key: number; value: Row };
  messages: { key: string; value: Message & { at: number }; indexes: { place: [string, number] } };
  kv: { key: string; value: unknown };
}

const OPEN = 5000, WIPE = 1000;

/** Rejects where it takes longer. */
const within = <T>(ms: number, work: Promise<T>) => Promise.race([work, new Promise<never>((_, reject) => { setTimeout(reject, ms); })]);

/** The database in IndexedDB. Rejects where the browser gives none. */
export async function indexed(name: string, keep: number, env: Env): Promise<Database> {
  let closed = false, opened: Promise<IDBPDatabase<Schema>> | undefined;
  const reopen = () => {
    void opened?.then(db => db.close(), () => {});
    opened = undefined;
  };
  const range = env.IDBKeyRange ?? IDBKeyRange;
  const factory = env.indexedDB!;
  const open = () => (opened ??= (async () => {
    const request = factory.open(name, 1);
    request.onupgradeneeded = () => {
      const db = request.result;
      db.createObjectStore("outbox", { keyPath: "n", autoIncrement: true });
      db.createObjectStore("messages", { keyPath: "id" }).createIndex("place", ["channelId", "at"]);
      db.createObjectStore("kv");
    };
    await wrap(request);
    const db = request.result;
    db.onclose = db.onversionchange = reopen; // another tab wipes it
    return wrap(db) as unknown as IDBPDatabase<Schema>;
  })().catch(e => {
    reopen();
    throw e;
  }));
  // Browsers close databases under a page that sleeps: once more on a new connection.
  async function run<T>(fn: (db: IDBPDatabase<Schema>) => Promise<T>): Promise<T> {
    if (closed) throw new Error("The database is closed");
    try {
      return await fn(await open());
    } catch (e) {
      if (!/^(InvalidState|Abort|Unknown)Error$/.test((e as Error).name) || closed) throw e;
      reopen();
      return fn(await open());
    }
  }
  const close = () => {
    closed = true;
    reopen();
  };
  await within(OPEN, run(db => db.count("outbox"))); // what opens later closes for whoever wipes it
  return {
    persistence: "indexeddb",
    rows: () => run(db => db.getAll("outbox")),
    add: row => run(async db => {
      const tx = db.transaction("outbox", "readwrite", { durability: "strict" });
      await Promise.all([tx.store.add(row as Row), tx.done]);
    }),
    settle: (remove, put = []) => run(async db => {
      const tx = db.transaction("outbox", "readwrite");
      await Promise.all([...remove.map(n => tx.store.delete(n)), ...put.map(async row => (await tx.store.getKey(row.n)) && tx.store.put(row)), tx.done]);
    }),
    load: () => run(async db => {
      const tx = db.transaction(["messages", "kv"]), kv = tx.objectStore("kv");
      const [messages, keys, values] = await Promise.all([tx.objectStore("messages").getAll(), kv.getAllKeys(), kv.getAll(), tx.done]);
      return { messages: messages.map(({ at: _, ...m }) => m), kv: new Map(keys.map((key, i) => [key, values[i]])) };
    }),
    save: change => run(async db => {
      const tx = db.transaction(["messages", "kv"], "readwrite"), messages = tx.objectStore("messages"), kv = tx.objectStore("kv");
      const place = messages.index("place"), whole = (id: string) => range.bound([id, -Infinity], [id, Infinity]);
      const { put = [] } = change, fresh = new Set(put.map(m => m.id)), work: Promise<unknown>[] = [tx.done];
      if (change.clear) work.push(messages.clear(), ...[range.upperBound("conflicts", true), range.bound("conflicts", "mark:", true, true), range.lowerBound("mark;")].map(r => kv.delete(r)));
      for (const id of change.forget ?? []) work.push(place.getAllKeys(whole(id)).then(ids => Promise.all(ids.filter(i => !fresh.has(i)).map(i => messages.delete(i)))));
      for (const m of put) work.push(messages.put({ ...m, at: Number(m.seq) }));
      for (const id of change.remove ?? []) work.push(messages.delete(id));
      for (const [key, value] of change.kv ?? []) work.push(value === undefined ? kv.delete(key) : kv.put(value, key));
      for (const id of new Set(put.map(m => m.channelId))) {
        work.push(place.count(whole(id)).then(async n => {
          if (n > keep * 1.5) await Promise.all((await place.getAllKeys(whole(id), n - keep)).map(i => messages.delete(i)));
        }));
      }
      await Promise.all(work);
    }),
    close,
    async wipe() {
      // First what is in it: another tab that sleeps keeps the database itself from going, until it wakes.
      await within(WIPE, run(db => Promise.all([...db.objectStoreNames].map(s => db.clear(s)))).catch(() => {}).then(() => {
        close();
        return wrap(factory.deleteDatabase(name));
      }));
    },
  };
}
