// A server of a few lines on the other end of a WebSocket that is none: it says what it is told to, and time is the test's.
import { afterEach, beforeEach, vi } from "vitest";
import { Browser, ALICE, type Tab } from "../browser.js";
import type { RealtimeOptions } from "../../src/index.js";
import "../../src/indexed.js"; // loaded when it is needed, which real time takes: here before time is fake

export interface Operation { id: string; name: string; variables: Record<string, never>; socket: FakeSocket; at: number }
type Reply = (op: Operation) => unknown;

const page = { cursor: "c1", hasMore: false, reset: false, progress: { done: 0, total: 0 }, leftChannelIds: [], deletedMessageIds: [], channels: [], members: [], messages: [], readStates: [], threadReadStates: [], deliveries: [], settings: null };
export const emptyPage = page;

class FakeSocket {
  static CONNECTING = 0; static OPEN = 1; static CLOSING = 2; static CLOSED = 3;
  readyState = 0;
  onopen?: () => void; onclose?: (e: unknown) => void; onmessage?: (e: { data: string }) => void; onerror?: ((e: unknown) => void) | null;
  pings = 0;
  init: Record<string, unknown> = {}; // what it said with connection_init
  constructor(readonly wire: Wire) {
    wire.sockets.push(this);
    queueMicrotask(() => {
      if (!wire.up) return this.end(1006, "");
      this.readyState = 1;
      this.onopen?.();
    });
  }
  send(text: string) {
    const m = JSON.parse(text);
    if (m.type === "connection_init") {
      this.init = m.payload;
      this.say({ type: "connection_ack", payload: this.wire.ack() });
    } else if (m.type === "ping") {
      this.pings++;
      if (this.wire.answers) setTimeout(() => this.say({ type: "pong" }), this.wire.latency);
    } else if (m.type === "subscribe") {
      const op: Operation = { id: m.id, name: /^\w+ ?(\w+)/.exec(m.payload.query)![1]!, variables: m.payload.variables, socket: this, at: Date.now() };
      this.wire.operations.push(op);
      const reply = this.wire.replies[op.name];
      if (!reply) return;
      void Promise.resolve(reply(op)).then(data => {
        if (data === undefined) return;
        if (data instanceof Error) this.say({ id: m.id, type: "error", payload: [{ message: data.message, extensions: data }] });
        else {
          this.next(m.id, data);
          this.say({ id: m.id, type: "complete" });
        }
      });
    }
  }
  next(id: string, data: unknown) { this.say({ id, type: "next", payload: { data } }); }
  say(m: unknown) { queueMicrotask(() => this.readyState === 1 && this.onmessage?.({ data: JSON.stringify(m) })); }
  close(code = 1000, reason = "") { this.end(code, reason); }
  end(code: number, reason: string) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

export const refusal = (code: string, retryable = false, more = {}) => Object.assign(new Error(code), { code, retryable, ...more });

export class Wire {
  sockets: FakeSocket[] = [];
  operations: Operation[] = [];
  up = true;
  answers = true;
  latency = 20;
  fetch: typeof fetch | undefined;
  replies: Record<string, Reply> = {
    Sync: () => ({ sync: page }), Config: () => refusal("unexpected"), Heartbeat: () => ({ heartbeat: { id: "s", idle: false } }),
    StartTyping: () => ({ startTyping: { accepted: true, expiresAt: null, nextAllowedAt: null } }), StopTyping: () => ({ stopTyping: { accepted: true } }),
    StopAllTyping: () => ({ stopAllTyping: true }), Acknowledge: () => ({ acknowledgeDelivered: [], acknowledgeRead: [] }),
  };
  ack = () => ({ sessionId: `s${this.sockets.length}`, userId: ALICE, role: "user", serverTime: new Date().toISOString(), heartbeatIntervalMs: 30_000, expiresAt: null as string | null });
  browser = new Browser();

  tab(options: Partial<RealtimeOptions> = {}): Tab {
    const wire = this;
    const WebSocket = Object.assign(function () { return wire.open(); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
    return this.browser.tab({ url: "http://server.test", userId: ALICE, getToken: () => "a.b.c", ...options }, { WebSocket, fetch: this.fetch, random: () => 0.5 });
  }
  open() { return new FakeSocket(this); }
  get socket() { return this.sockets.at(-1)!; }
  of(name: string) { return this.operations.filter(o => o.name === name); }
}

export function fakeTime() {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: new Date("2026-01-01T12:00:00Z") });
}
/** The wire of the test at hand, where `eachOnItsWire` was called. */
export let wire: Wire;
/** Every test of the file has a wire of its own, in fake time. */
export function eachOnItsWire() {
  beforeEach(() => {
    fakeTime();
    wire = new Wire();
  });
  afterEach(() => {
    wire.browser.close();
    vi.useRealTimers();
  });
}
const later = setTimeout;
// Digests are another thread's, and take what a full machine lets them.
const digests = new Set<Promise<unknown>>(), digest = crypto.subtle.digest.bind(crypto.subtle);
crypto.subtle.digest = (...what: Parameters<typeof digest>) => {
  const p = digest(...what), gone = () => digests.delete(p);
  digests.add(p);
  p.then(gone, gone);
  return p;
};
/** Lets time pass, and what is asynchronous but not timed: storage above all. */
export async function pass(ms: number) {
  await settle();
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
}
export async function settle() {
  for (let i = 0; i < 8; i++) {
    await new Promise(r => later(r, 1));
    await Promise.allSettled(digests);
    await vi.advanceTimersByTimeAsync(0);
  }
}
export async function connected(wire: Wire, options: Partial<RealtimeOptions> = {}) {
  const tab = wire.tab(options);
  tab.rt.connect();
  await pass(50);
  return tab;
}
