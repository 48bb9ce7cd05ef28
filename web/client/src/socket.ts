import { createClient } from "graphql-ws/client";
import { asError, lost, RealtimeError, fromWire, type WireError } from "./errors.js";
import type { Doc } from "./generated.js";
import { guarded } from "./store.js";

export interface Ack {
  sessionId: string;
  userId: string | null;
  role: string;
  serverTime: string;
  expiresAt: string | null;
  heartbeatIntervalMs: number;
}

export interface Answer<R> {
  data: R | null;
  errors: RealtimeError[];
}

export interface Sink<R> {
  next(answer: Answer<R>): void;
  /** Ended: refused, lost with the socket (code connection-lost), or complete (null). Called once. */
  end(error: RealtimeError | null): void;
}

export interface Handlers {
  ack(ack: Ack): void;
  /** Anything came. */
  frame(): void;
  pong(): void;
  closed(code: number, reason: string): void;
}

/** One socket, from its dialing to its end: it never dials again. */
export interface Socket {
  ping(): void;
  subscribe<R, V>(doc: Doc<R, V>, variables: V, sink: Sink<R>): () => void;
  /** Ends it. Abrupt: it is believed dead, and nobody waits for its goodbye. */
  close(abrupt?: boolean): void;
}

type Impl = new (url: string, protocols?: string | string[]) => WebSocket;

// Node's `ws` throws at nobody where it fails and no listener is left: of one that is ended while it is being dialled
// graphql-ws leaves none. Of one that cannot even be made (a page's policy, an address) it tells nobody at all.
const heard = (impl: Impl, failed: (e: unknown) => void) => class extends impl {
  constructor(url: string, protocols?: string | string[]) {
    try {
      super(url, protocols);
    } catch (e) {
      failed(e);
      return new EventTarget() as never;
    }
    this.addEventListener?.("error", () => {});
  }
};

export function openSocket(url: string, params: Record<string, unknown>, impl: unknown, on: Handlers): Socket {
  let alive = true, raw: WebSocket | undefined, ids = 0;
  const end = (code: number, reason: string) => {
    if (!alive) return;
    alive = false;
    dispose();
    on.closed(code, reason);
  };
  const client = createClient({
    url, connectionParams: params, webSocketImpl: impl && heard(impl as Impl, e => queueMicrotask(() => end(1006, asError(e).message))),
    lazy: false, retryAttempts: 0, onNonLazyError: () => {}, connectionAckWaitTimeout: 10_000,
    generateID: () => `${++ids}`,
    on: {
      opened: socket => { raw = socket as WebSocket; },
      connected: (_, ack) => { if (alive) on.ack(ack as unknown as Ack); },
      message: () => { if (alive) on.frame(); },
      pong: received => { if (alive && received) on.pong(); },
      closed: e => end((e as CloseEvent).code ?? 1006, (e as CloseEvent).reason ?? ""),
    },
  });
  const dispose = () => void Promise.resolve(client.dispose()).catch(() => {}); // of one that never opened it says so
  return {
    ping() {
      if (raw?.readyState === 1) raw.send('{"type":"ping"}');
    },
    subscribe<R, V>(doc: Doc<R, V>, variables: V, sink: Sink<R>) {
      let done = false;
      const finish = (error: RealtimeError | null) => {
        if (done) return;
        done = true;
        guarded(e => sink.end(e), error);
      };
      if (!alive) {
        queueMicrotask(() => finish(lost()));
        return () => { done = true; };
      }
      const stop = client.subscribe<R>({ query: doc, variables: variables as Record<string, unknown> }, {
        next: r => {
          // graphql-ws takes what is thrown here for a server that talks nonsense, and ends the socket
          if (!done) guarded(a => sink.next(a), { data: (r.data as R | null | undefined) ?? null, errors: ((r.errors ?? []) as unknown as WireError[]).map(fromWire) });
        },
        error: e => finish(Array.isArray(e) ? fromWire(e[0] as WireError) : lost()),
        complete: () => finish(alive ? null : lost()), // a client that is disposed of completes what is open
      });
      return () => {
        done = true;
        stop();
      };
    },
    close(abrupt) {
      if (!alive) return;
      if (abrupt) return client.terminate();
      alive = false;
      dispose();
      raw?.close(1000); // also one that is not acknowledged yet
    },
  };
}
