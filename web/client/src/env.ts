/** What of its surroundings the client touches. A test, or another runtime, brings its own. */
export interface Environment {
  fetch?: typeof fetch;
  WebSocket?: unknown;
  indexedDB?: IDBFactory;
  IDBKeyRange?: typeof IDBKeyRange;
  /** navigator.locks: one of several tabs sends the queue. Without `query` a tab that is not connected gives that up even if no other waits. */
  locks?: Pick<LockManager, "request"> & Partial<Pick<LockManager, "query">>;
  BroadcastChannel?: typeof BroadcastChannel;
  /** Where input, online, offline, focus, pageshow and pagehide are heard. */
  window?: EventTarget;
  /** Where visibilitychange, freeze and resume are heard; `hidden` is read. */
  document?: EventTarget & { hidden?: boolean };
  /** `onLine` is read. */
  navigator?: { onLine?: boolean };
  crypto?: { subtle?: Pick<SubtleCrypto, "digest">; getRandomValues?: Crypto["getRandomValues"] };
  random?: () => number;
}

/** The environment with what the runtime has, looked up now: nothing is touched when the module is loaded. */
export function environment(own: Environment = {}): Environment & { random: () => number } {
  const g = globalThis as unknown as Environment & { Math: Math };
  const browser = typeof document !== "undefined";
  return {
    fetch: g.fetch?.bind(globalThis),
    WebSocket: g.WebSocket,
    indexedDB: g.indexedDB,
    IDBKeyRange: g.IDBKeyRange,
    locks: browser ? navigator.locks : undefined,
    BroadcastChannel: browser ? g.BroadcastChannel : undefined,
    window: browser ? window : undefined,
    document: browser ? document : undefined,
    navigator: browser ? navigator : undefined,
    crypto: g.crypto as Environment["crypto"],
    ...own,
    random: own.random ?? Math.random,
  };
}

export type Env = ReturnType<typeof environment>;

/** Listens, if there is somebody to listen to; answers what ends it. */
export function listen(target: EventTarget | undefined, events: string, handler: (e: Event) => void): () => void {
  const names = events.split(" ");
  for (const name of names) target?.addEventListener(name, handler, { passive: true });
  return () => {
    for (const name of names) target?.removeEventListener(name, handler);
  };
}

/** A version 4 UUID, also where crypto.randomUUID is not: on a page without TLS. */
export function uuid(env: Env): string {
  const bytes = new Uint8Array(16);
  if (env.crypto?.getRandomValues) env.crypto.getRandomValues(bytes);
  else for (let i = 0; i < 16; i++) bytes[i] = env.random() * 256;
  bytes[6] = (bytes[6]! & 15) | 64;
  bytes[8] = (bytes[8]! & 63) | 128;
  return [...bytes].map((b, i) => (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "") + b.toString(16).padStart(2, "0")).join("");
}
