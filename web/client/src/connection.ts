import { type Env, listen } from "./env.js";
import { asError, backoff, fromWire, lost, pause, RealtimeError, type WireError } from "./errors.js";
import { type ConnectionQuality, type Doc, Refresh } from "./generated.js";
import { type Ack, type Answer, openSocket, type Sink, type Socket } from "./socket.js";
import { type Emitter, type Readable, store } from "./store.js";
import { type GetToken, userOf } from "./token.js";

/**
 * idle: never asked to connect. connecting: the first time. reconnecting: it was there, or is tried again.
 * offline: the browser says there is no network. needs-auth: there is no token that is accepted; `connect` tries again.
 * failed: the server does not want this client, and never will. closed: by `disconnect`.
 */
export type ConnectionState = "idle" | "connecting" | "connected" | "reconnecting" | "offline" | "needs-auth" | "failed" | "closed";

export interface ConnectionInfo {
  state: ConnectionState;
  /** By the average of the last five round trips; unknown while not connected. */
  quality: ConnectionQuality;
  /** That average, in milliseconds. */
  latencyMs: number | null;
  /** Attempts since the last success. */
  attempts: number;
  /** When the next one is made, as Date.now() counts. */
  retryAt: number | null;
  /** Gone for five seconds or more: time to show it. A blip of a second is not worth a flicker. */
  interrupted: boolean;
  /** It was lost at some time since connect. */
  wasOffline: boolean;
  error: RealtimeError | null;
  sessionId: string | null;
}

export interface ConnectionOptions {
  url: string;
  wsUrl: string;
  getToken: GetToken;
  userId?: string;
  device?: { id?: string; type?: string; name?: string };
  presence?: boolean;
  autoDeliver?: boolean;
}

export interface ConnectionEvents {
  /** The socket is acknowledged. */
  /** What connection_init is to say, which listeners may add to. */
  opening: Record<string, unknown>;
  up: Ack;
  /** It is gone, for whatever reason. */
  down: null;
  /** From connect to disconnect the page is listened to; each disconnect says `end`. */
  begin: null;
  end: null;
  /** The token is somebody's; null: nobody's any more. */
  user: string | null;
  state: ConnectionInfo;
}

interface How { overHttp?: boolean; socketOnly?: boolean; keepalive?: boolean }

export interface Connection extends Readable<ConnectionInfo> {
  connect(): void;
  disconnect(): void;
  /** Looks whether the socket still lives, or dials at once instead of waiting. After a sleep, for one. */
  check(): void;
  /** Runs a query or mutation: over the socket while there is one, else over HTTP. Throws a RealtimeError. */
  request<R, V>(doc: Doc<R, V>, variables: V, how?: How & { partial?: boolean }): Promise<R>;
  /** As request, with what is wrong beside what is right. */
  ask<R, V>(doc: Doc<R, V>, variables: V, how?: How): Promise<Answer<R>>;
  /** A subscription of this socket alone: it ends with it. */
  once<R, V>(doc: Doc<R, V>, variables: V, sink: Sink<R>): () => void;
  /** A subscription that is made again on the next socket, and after an error that may pass; after one that may not, which `refused` is told, with the next socket alone. */
  live<R, V>(doc: Doc<R, V>, variables: V, next: (data: R) => void, refused?: (error: RealtimeError) => void): () => void;
  events: Emitter<ConnectionEvents>;
}

const PING = 10_000, DEADLINE = 3000, REQUEST = 10_000, DIAL = 15_000, SHOW = 5000, SLOW = 30_000, LONGEST = 2 ** 31 - 1;
/** The server does not want what this client says: dialing again would say the same. */
const FATAL = [1002, 1009, 4400, 4401, 4004, 4005, 4406, 4409, 4429];

export function createConnection(o: ConnectionOptions, env: Env, events: Emitter<ConnectionEvents>): Connection {
  const nothing: ConnectionInfo = {
    state: "idle", quality: "unknown", latencyMs: null, attempts: 0, retryAt: null, interrupted: false, wasOffline: false, error: null, sessionId: null,
  };
  const info = store(nothing), own = o.userId?.toLowerCase();
  let wanted = false, socket: Socket | undefined, generation = 0, era = 0, attempt = 0, dialedAt = 0, upAt = 0, ackAt = 0;
  let user: string | null | undefined, says: string | null, stale = false, refreshed = false, ack: Ack | undefined, refreshAt = 0;
  let latencies: number[] = [], pingAt = 0, heard = false;
  const timers: Partial<Record<"dial" | "retry" | "ping" | "pong" | "refresh" | "show", ReturnType<typeof setTimeout>>> = {};
  const cancel = (...names: (keyof typeof timers)[]) => names.forEach(n => { clearTimeout(timers[n]); delete timers[n]; });
  const after = (name: keyof typeof timers, ms: number, fn: () => void) => {
    clearTimeout(timers[name]);
    timers[name] = setTimeout(fn, Math.min(ms, LONGEST));
  };
  const say = (change: Partial<ConnectionInfo>) => {
    info.set({ ...info.get(), ...change });
    events.emit("state", info.get());
  };
  const online = () => env.navigator?.onLine !== false;
  const is = (...states: ConnectionState[]) => states.includes(info.get().state);

  const be = (id: string | null) => { if (user !== id) events.emit("user", (user = id)); };
  // A token may say another id than the server knows its user by, or none. One that says what that of the last dial did is the same user's.
  const said = (token: string) => own ?? userOf(token);
  const whoseIs = (token: string) => (said(token) === says && user) || said(token);

  // stale: the token was refused. Until one is accepted each dial wants a new one, and only a new one that is refused too is the end.
  async function dial() {
    const mine = ++generation, refresh = stale;
    cancel("retry");
    dialedAt = Date.now();
    say({ state: !online() ? "offline" : ack || attempt ? "reconnecting" : "connecting", retryAt: null });
    after("dial", DIAL, () => mine === generation && drop(1006, "nothing answers"));
    let token: string | null;
    try {
      token = (await o.getToken({ refresh })) ?? null;
    } catch (e) {
      return mine === generation ? again(asError(e)) : undefined;
    }
    if (mine !== generation) return;
    refreshed = refresh;
    be(token ? whoseIs(token) : null);
    says = token && said(token);
    if (!token) return unauthorized("No token");
    const headers = { Authorization: `Bearer ${token}` };
    const params = { headers, device: o.device, ...(o.presence === false && { presence: false }), ...(o.autoDeliver && { autoDeliver: true }) };
    events.emit("opening", params);
    socket = openSocket(o.wsUrl, params, env.WebSocket, {
      ack: a => mine === generation && opened(a),
      frame: () => { heard = true; },
      pong,
      closed: (code, reason) => mine === generation && drop(code, reason),
    });
  }

  function opened(a: Ack) {
    ack = a;
    upAt = ackAt = Date.now();
    stale = refreshed = false;
    cancel("dial", "show");
    say({ state: "connected", error: null, sessionId: a.sessionId, attempts: 0, interrupted: false });
    if (a.userId) be(a.userId);
    planRefresh(a.expiresAt);
    ping();
    events.emit("up", a);
  }

  // The end of the socket that is there, or of the attempt at one.
  function drop(code: number, reason: string) {
    const had = is("connected");
    generation++;
    const old = socket;
    socket = undefined;
    old?.close(true);
    cancel("dial", "ping", "pong", "refresh");
    latencies = [];
    if (had) {
      say({ wasOffline: true });
      events.emit("down", null);
    }
    if (!wanted) return;
    const short = had && Date.now() - upAt < PING;
    if (had && !short) attempt = 0;
    const error = lost(reason || `Closed (${code})`);
    if (code === 4403) {
      if (refreshed && !had) return unauthorized(reason);
      stale = true;
      return short ? again(error) : void dial();
    }
    if (FATAL.includes(code)) {
      cancel("show");
      return say({ ...nothing, wasOffline: info.get().wasOffline, state: "failed", error: new RealtimeError(`${code}`, reason) });
    }
    let wait = 0;
    try {
      wait = Number(JSON.parse(reason).retryAfterMs) || 0;
    } catch { /* a reason for people */ }
    if (code === 1013 || code === 4408) attempt = Math.max(attempt, 2);
    again(error, wait);
  }

  function again(error: RealtimeError, wait = 0) {
    generation++;
    cancel("dial");
    if (own && user === undefined) be(own); // no token can be had now: what is stored is there all the same
    if (!online()) attempt = Math.max(attempt, 5); // no network, says the browser; it has been wrong before
    wait = Math.min(SLOW * 2, wait + backoff(attempt++, env.random));
    say({ state: online() ? "reconnecting" : "offline", quality: "unknown", latencyMs: null, sessionId: null, attempts: attempt, error, retryAt: Date.now() + wait });
    timers.show ??= setTimeout(() => is("reconnecting", "offline", "connecting") && say({ interrupted: true }), SHOW);
    after("retry", wait, () => void dial());
  }

  function unauthorized(message: string) {
    generation++;
    cancel("dial", "retry", "show");
    say({ ...nothing, wasOffline: info.get().wasOffline, state: "needs-auth", interrupted: true, error: new RealtimeError("needs-auth", message) });
  }

  // Liveness. Anything that comes shows life; a timer that is late shows only that the page slept.
  function ping() {
    after("ping", PING, ping);
    if (!socket || timers.pong) return;
    heard = false;
    pingAt = Date.now();
    socket.ping();
    after("pong", PING, judge);
  }
  function pong() {
    cancel("pong");
    if (!pingAt) return;
    latencies = [...latencies.slice(-4), Math.max(0, Date.now() - pingAt)];
    pingAt = 0;
    const ms = Math.round(latencies.reduce((a, b) => a + b) / latencies.length);
    say({ latencyMs: ms, quality: ms < 100 ? "excellent" : ms < 300 ? "good" : ms < 600 ? "fair" : "poor" });
  }
  function judge() {
    cancel("pong");
    if (heard) return;
    if (Date.now() - pingAt > PING + DEADLINE) return check(); // frozen meanwhile: ask again
    drop(1006, "nothing answers");
  }
  function check() {
    if (!wanted) return;
    if (is("connected")) {
      heard = false;
      pingAt = Date.now();
      socket?.ping();
      after("pong", DEADLINE, judge);
      if (refreshAt && Date.now() >= refreshAt) void refreshToken();
    } else if (timers.retry) {
      attempt = Math.min(attempt, 1);
      after("retry", Math.min(250, Math.max(0, dialedAt + 250 - Date.now())), () => void dial()); // at once, but for a network that flaps
    } else if (timers.dial && Date.now() - dialedAt > DEADLINE) {
      drop(1006, "nothing answers");
      void dial();
    }
  }

  // The token: a new one 60 s before the end, or at half of what is left.
  function planRefresh(expiresAt: string | null) {
    cancel("refresh");
    refreshAt = 0;
    if (!expiresAt || !ack) return;
    const serverNow = Date.parse(ack.serverTime) + Date.now() - ackAt, left = Date.parse(expiresAt) - serverNow;
    const wait = Math.max(1000, left > 120_000 ? left - 60_000 : left / 2);
    refreshAt = Date.now() + wait;
    after("refresh", wait, () => (wait > LONGEST ? planRefresh(expiresAt) : void refreshToken()));
  }
  async function refreshToken() {
    const mine = generation, sessionId = ack?.sessionId ?? null;
    refreshAt = 0;
    try {
      const token = await o.getToken({ refresh: true });
      if (!token || mine !== generation) return;
      const whose = whoseIs(token);
      if (whose && whose !== user) return drop(4403, "The token is another user's"); // dials anew, as that user
      const { refreshSession } = await request(Refresh, { token, sessionId }, { socketOnly: true });
      if (mine === generation) planRefresh(refreshSession.expiresAt);
    } catch (e) {
      if (mine !== generation) return;
      say({ error: asError(e) }); // the old one holds a while; at its end the server closes with 4403
      refreshAt = Date.now() + 5000;
      after("refresh", 5000, () => void refreshToken());
    }
  }

  // Whichever way it goes, and whatever hangs there, a token too: its time is up after ten seconds.
  function ask<R, V>(doc: Doc<R, V>, variables: V, how: How = {}): Promise<Answer<R>> {
    return new Promise((resolve, reject) => {
      let answer: Answer<R> | undefined;
      const over = !how.overHttp && is("connected") && socket, abort = new AbortController();
      let stop = () => {};
      const late = setTimeout(() => {
        reject(new RealtimeError("timeout", "No answer within 10 s", true));
        stop();
      }, REQUEST);
      stop = over ? over.subscribe(doc, variables, {
        next: a => { answer = a; },
        end(error) {
          clearTimeout(late);
          if (error || !answer) reject(error ?? lost());
          else resolve(answer);
        },
      }) : () => abort.abort();
      if (!over) void post<R, V>(doc, variables, how, abort.signal).then(resolve, reject).then(() => clearTimeout(late));
    });
  }
  async function post<R, V>(doc: Doc<R, V>, variables: V, how: How, signal: AbortSignal): Promise<Answer<R>> {
    if (how.socketOnly || !env.fetch) throw new RealtimeError(online() ? "connection-lost" : "offline", "Not connected", true);
    const before = user, of = era, token = await o.getToken({ refresh: false });
    if (user !== before || of !== era || signal.aborted) throw lost(); // signed in as another meanwhile, or given up
    if (!token) throw new RealtimeError("needs-auth", "No token");
    const whose = whoseIs(token);
    if (user && whose && whose !== user) throw new RealtimeError("needs-auth", "The token is another user's");
    try {
      const res = await env.fetch(o.url, {
        method: "POST", signal, keepalive: how.keepalive ?? false, body: JSON.stringify({ query: doc, variables }),
        headers: { "content-type": "application/json", accept: "application/json", authorization: `Bearer ${token}` },
      });
      const body = (await res.json()) as { data?: R; errors?: WireError[] };
      if ((user !== before || of !== era) && !(user && user === whose)) throw lost(); // it may be another's page now, who must not see it
      return { data: body.data ?? null, errors: (body.errors ?? []).map(fromWire) };
    } catch (e) {
      throw lost(asError(e).message);
    }
  }
  async function request<R, V>(doc: Doc<R, V>, variables: V, how?: How & { partial?: boolean }): Promise<R> {
    const { data, errors } = await ask(doc, variables, how);
    if (errors[0] && !(how?.partial && data)) throw errors[0];
    if (!data) throw new RealtimeError("unexpected", "No data", true);
    return data;
  }

  function once<R, V>(doc: Doc<R, V>, variables: V, sink: Sink<R>) {
    if (socket && is("connected")) return socket.subscribe(doc, variables, sink);
    queueMicrotask(() => sink.end(lost()));
    return () => {};
  }
  function live<R, V>(doc: Doc<R, V>, variables: V, next: (data: R) => void, refused?: (error: RealtimeError) => void) {
    let stop: (() => void) | undefined, timer: ReturnType<typeof setTimeout>, failures = 0, ended = false;
    const begin = () => {
      clearTimeout(timer);
      stop?.();
      if (!is("connected") || ended) return;
      let over = false;
      const fail = (error: RealtimeError | null) => {
        if (ended || over || error?.code === "connection-lost") return; // up begins it anew
        over = true;
        if (error && !error.retryable) return refused?.(error);
        timer = setTimeout(begin, pause(error, failures++, env.random));
      };
      stop = once(doc, variables, {
        next({ data, errors }) {
          if (errors[0] || !data) return fail(errors[0] ?? null);
          failures = 0;
          next(data);
        },
        end: fail,
      });
    };
    const off = events.on("up", begin);
    begin();
    return () => {
      ended = true;
      clearTimeout(timer);
      off();
      stop?.();
    };
  }

  let deaf: (() => void)[] = [];
  function connect() {
    if (wanted && !is("needs-auth", "failed")) return;
    wanted = true;
    attempt = 0;
    stale = refreshed = false;
    deaf.forEach(f => f());
    if (!deaf.length) events.emit("begin", null);
    deaf = [
      listen(env.window, "online focus pageshow", check),
      listen(env.window, "offline", () => {
        if (!is("connected", "reconnecting", "connecting")) return;
        cancel("retry", "dial");
        drop(1006, "The browser is offline");
      }),
      listen(env.document, "visibilitychange resume", () => !env.document?.hidden && check()),
    ];
    void dial();
  }
  function disconnect() {
    wanted = false;
    generation++;
    era++;
    events.emit("end", null);
    deaf.forEach(f => f());
    deaf = [];
    cancel("dial", "retry", "ping", "pong", "refresh", "show");
    const had = is("connected");
    const old = socket;
    socket = undefined;
    say({ ...nothing, state: "closed" });
    if (had) events.emit("down", null);
    old?.close();
    ack = user = undefined;
  }

  return { get: info.get, subscribe: info.subscribe, connect, disconnect, check, request, ask, once, live, events };
}

