// What is on the disk of a browser of a test, and what may be put there.
import { BOB } from "../browser.js";
import type { Channel, Message } from "../../src/index.js";
import type { Wire } from "./wire.js";

export const message = (id: string, seq = "1", channelId = "c1") => ({
  id, clientMessageId: null, channelId, threadId: null, parentMessageId: null, senderId: BOB, content: id, type: "text", metadata: null, mentions: [], seq, version: 1,
  createdAt: "2026-01-01T00:00:00Z", editedAt: null, editedBy: null, deletedAt: null, delivery: null,
}) as unknown as Message;
export const channel = (channelId: string) => ({ channelId, name: channelId, type: "public", isArchived: false, isReadonly: false, role: "member", canWrite: true, lastSeq: "1" }) as unknown as Channel;

export interface Disk { outbox: string[]; messages: string[]; kv: Record<string, unknown> }

/** What is stored of a user; null: no database. */
export async function disk(wire: Wire, user = ""): Promise<Disk | null> {
  const name = (await wire.browser.indexedDB.databases()).map(d => d.name!).find(n => n.endsWith(user));
  if (!name) return null;
  const open = wire.browser.indexedDB.open(name);
  await new Promise((resolve, reject) => Object.assign(open, { onsuccess: resolve, onerror: reject }));
  const tx = open.result.transaction(["outbox", "messages", "kv"]), of = (s: string) => tx.objectStore(s);
  const [rows, messages, keys, values] = [of("outbox").getAll(), of("messages").getAllKeys(), of("kv").getAllKeys(), of("kv").getAll()];
  await new Promise(resolve => { tx.oncomplete = resolve; });
  open.result.close();
  return {
    outbox: rows.result.map((r: { input: { content: string } }) => r.input.content), messages: messages.result as string[],
    kv: Object.fromEntries(keys.result.map((k, i) => [k as string, values.result[i]])),
  };
}

/** Says something on the newest stream of events. */
export function tell(wire: Wire, cursor: string, payload: object) {
  const stream = wire.of("Events").at(-1)!;
  stream.socket.next(stream.id, { events: { cursor, payload } });
}
export const created = (m: Message) => ({ __typename: "MessageCreated", message: m });

/** The objects of IndexedDB that every browser of a test has: to make them fail. Answers what mends it. */
export async function spoil(method: "add" | "put" | "getAll" | "getAllKeys", name: string, of: (store: IDBObjectStore, value: unknown) => boolean = () => true) {
  const proto = ((await import("fake-indexeddb")).IDBObjectStore as unknown as { prototype: Record<string, (...a: unknown[]) => unknown> }).prototype, real = proto[method]!;
  proto[method] = function (this: IDBObjectStore, ...args: unknown[]) {
    if (of(this, args[0])) throw new DOMException("of this test", name);
    return real.apply(this, args);
  };
  return () => { proto[method] = real; };
}
