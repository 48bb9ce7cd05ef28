// A browser of a test: its storage, locks and channels are its own, its tabs share them.
import "fake-indexeddb/auto"; // the classes that idb knows its objects by
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import WebSocket from "ws";
import { createRealtime, type Environment, type Realtime, type RealtimeOptions } from "../src/index.js";

interface Job { name: string; lock: Lock; granted: boolean; withdrawn: boolean; run(): Promise<void>; stolen(): void }

/** Web Locks as the browser has them: exclusive, first come first served, held until the promise settles, and granted some milliseconds after they are asked for. */
class Locks {
  private queues = new Map<string, Job[]>();
  request = ((name: string, { signal, steal }: LockOptions, callback: (lock: Lock) => unknown) => new Promise<unknown>((resolve, reject) => {
    const queue = this.queues.get(name) ?? [], lock = { name, mode: "exclusive" } as Lock;
    this.queues.set(name, queue);
    let stolen!: () => void;
    const lost = new Promise<void>(r => { stolen = r; }).then(() => reject(new DOMException("stolen", "AbortError")));
    const job: Job = { name, lock, granted: false, withdrawn: false, stolen, run: async () => { await Promise.race([Promise.resolve(callback(lock)).then(resolve, reject), lost]); } };
    signal?.addEventListener("abort", () => {
      if (job.granted) return;
      job.withdrawn = true;
      reject(signal.reason);
    });
    if (steal) {
      queue.splice(1, 0, job);
      if (queue[0] !== job) queue[0]!.stolen();
    } else queue.push(job);
    if (queue.length === 1) void this.next(queue);
  })) as unknown as LockManager["request"];
  query = (() => {
    const all = [...this.queues.values()].flat().filter(j => !j.withdrawn);
    return Promise.resolve({ held: all.filter(j => j.granted), pending: all.filter(j => !j.granted) });
  }) as unknown as LockManager["query"];
  private async next(queue: Job[]) {
    for (let job; (job = queue[0]); queue.shift()) {
      await new Promise(r => setTimeout(r, 3));
      if (job.withdrawn) continue;
      job.granted = true;
      await job.run();
    }
  }
}

export class Browser {
  indexedDB = new IDBFactory();
  locks = new Locks();
  channels = new Set<{ name: string; onmessage: ((e: MessageEvent) => void) | null }>();
  BroadcastChannel: typeof BroadcastChannel;
  tabs: Tab[] = [];

  constructor() {
    const channels = this.channels;
    this.BroadcastChannel = class {
      onmessage: ((e: MessageEvent) => void) | null = null;
      constructor(readonly name: string) {
        channels.add(this);
      }
      postMessage(data: unknown) {
        const copy = structuredClone(data);
        for (const c of channels) if (c !== (this as never) && c.name === this.name) queueMicrotask(() => c.onmessage?.({ data: copy } as MessageEvent));
      }
      close() {
        channels.delete(this);
      }
    } as unknown as typeof BroadcastChannel;
  }

  tab(options: Omit<RealtimeOptions, "environment">, more: Environment = {}): Tab {
    const tab = new Tab(this, options, more);
    this.tabs.push(tab);
    return tab;
  }
  close() {
    this.tabs.forEach(t => t.rt.close());
  }
}

export class Tab {
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { hidden: false });
  navigator = { onLine: true };
  rt: Realtime;
  constructor(browser: Browser, options: Omit<RealtimeOptions, "environment">, more: Environment) {
    const { indexedDB, locks, BroadcastChannel } = browser;
    this.rt = createRealtime({
      ...options,
      environment: { WebSocket, indexedDB, IDBKeyRange, locks, BroadcastChannel, window: this.window, document: this.document, navigator: this.navigator, ...more },
    });
  }
  hide(hidden: boolean) {
    this.document.hidden = hidden;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
  network(onLine: boolean) {
    this.navigator.onLine = onLine;
    this.window.dispatchEvent(new Event(onLine ? "online" : "offline"));
  }
}

/** Waits until something is so: looked at after each change of the stores given, and every 20 ms. */
export async function until<T>(what: string, fn: () => T | Promise<T>, ms = 60_000): Promise<NonNullable<T>> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await fn();
    if (value) return value;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise(r => setTimeout(r, 20));
  }
}

export const ALICE = "00000000-0000-4000-8000-000000000001", BOB = "00000000-0000-4000-8000-000000000002", CAROL = "00000000-0000-4000-8000-000000000003";
export const DAVE = "00000000-0000-4000-8000-000000000004", FRANK = "00000000-0000-4000-8000-000000000006";
export const GENERAL = "00000000-0000-4000-9000-000000000001", TEAM = "00000000-0000-4000-9000-000000000002", DM = "00000000-0000-4000-9000-000000000003";
export const THREAD = "00000000-0000-4000-a000-000000000001";
