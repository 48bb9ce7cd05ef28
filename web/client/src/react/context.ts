"use client";

import { createContext, createElement, type ReactNode, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { asCustomStatus, asTypingUsers, asUserPresence, type CustomStatus, legacyBus, legacyRoom, type LegacyBus, sendLegacy, type SendMessageOptions, type SentMessage, type TypingUser, type UserPresence } from "../legacy.js";
import type { ConnectionInfo, ConnectionState } from "../connection.js";
import type { RealtimeError } from "../errors.js";
import type { ConnectionQuality, PresenceStatus } from "../generated.js";
import type { PresenceService } from "../presence.js";
import { createRealtime, type Realtime, type RealtimeOptions } from "../realtime.js";
import { optionsOf, publicEnv, sharedClient } from "../shared.js";
import { hold, type Readable } from "../store.js";
import type { GetToken } from "../token.js";
import type { MyPresence } from "../types.js";

/** As nchat's client had them, and ours. `authenticated` and `error` are there to be compared with: connected is authenticated. */
export type RealtimeConnectionState = Exclude<ConnectionState, "idle" | "closed"> | "disconnected" | "authenticated" | "error";

export interface RealtimeProviderProps {
  children?: ReactNode;
  /** A client of the app's own; else one is made, and closed with the provider. */
  client?: Realtime;
  /** Where tokens come from; default: what configureRealtime was told. */
  getToken?: GetToken;
  autoConnect?: boolean;
  /** false: nobody sees by this page that its user is there. Default: NEXT_PUBLIC_FEATURE_USER_PRESENCE. */
  enablePresence?: boolean;
  /** false: nothing is said of what the user types. Default: NEXT_PUBLIC_FEATURE_TYPING_INDICATORS. */
  enableTyping?: boolean;
  debug?: boolean;
  /** Default: NEXT_PUBLIC_REALTIME_URL. */
  serverUrl?: string;
  options?: Partial<RealtimeOptions>;
}

interface Held { client: Realtime; bus: LegacyBus; typing: boolean; retain(): () => void }

const Context = createContext<Held | null>(null);

// Connects with the first who holds it. StrictMode mounts twice, and a route may change: it is let go a second after the last.
function held(client: Realtime, typing: boolean, end: () => void, debug: boolean): Held {
  return {
    client, typing, bus: legacyBus(client, debug),
    retain: hold(() => {
      client.connect();
      return end;
    }),
  };
}

export function RealtimeProvider({ children, client, getToken, autoConnect = true, enablePresence, enableTyping, debug = false, serverUrl, options }: RealtimeProviderProps) {
  const token = useRef(getToken);
  useEffect(() => { token.current = getToken; });
  const presence = enablePresence ?? publicEnv().presence, typing = enableTyping ?? publicEnv().typing, hasToken = !!getToken;
  const first = useRef(options);
  const value = useMemo(() => {
    const own = { ...first.current, url: serverUrl ?? first.current?.url, presence, ...(hasToken && { getToken: (why => token.current?.(why) ?? null) as GetToken }) };
    if (client) return held(client, typing, () => {}, debug);
    const made = createRealtime(optionsOf(own as Partial<RealtimeOptions>));
    return held(made, typing, made.close, debug);
  }, [client, serverUrl, presence, typing, hasToken, debug]);
  useEffect(() => (autoConnect ? value.retain() : undefined), [value, autoConnect]);
  return createElement(Context.Provider, { value }, children);
}

let fallback: Held | undefined;
export function useHeld(): Held {
  const given = useContext(Context);
  if (given) return given;
  const client = sharedClient();
  if (fallback?.client !== client) fallback = held(client, true, client.disconnect, false);
  return fallback;
}

/** The client itself. */
export const useRealtimeClient = (): Realtime => useHeld().client;

/** A store's value, followed. On the server, and in the first drawing of a page it drew: what it is now. */
export function useStore<T>(store: Readable<T>): T {
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/** The caller's status: what was chosen here, until the server's word of it comes. */
export function useChosen(presence: PresenceService, mine: MyPresence | null, connected: boolean) {
  const [chosen, choose] = useState<PresenceStatus | null>(null);
  useEffect(() => choose(null), [mine]);
  const setStatus = useCallback((s: PresenceStatus) => {
    choose(s);
    void presence.setStatus(s).catch(() => choose(now => (now === s ? null : now))); // refused
  }, [presence]);
  return [chosen ?? mine?.status ?? (connected ? "online" : "offline"), setStatus] as const;
}

/** Follows a store that is made anew for each key. */
export function useKeyed<T>(make: () => Readable<T>, deps: unknown[]): T {
  // eslint-disable-next-line react-hooks/exhaustive-deps -- made anew when these change, and only then
  const store = useMemo(make, deps);
  return useStore(store);
}

export const legacyState = ({ state }: ConnectionInfo): RealtimeConnectionState => (state === "idle" || state === "closed" ? "disconnected" : state);

/** Resolves once connected; rejects where that needs somebody. */
export function connected(rt: Realtime): Promise<void> {
  rt.connect();
  return new Promise((resolve, reject) => {
    const look = () => {
      const { state, error } = rt.connection.get();
      if (state === "connected") resolve();
      else if (state === "needs-auth" || state === "failed" || state === "closed") reject(error ?? new Error(state));
      else return;
      queueMicrotask(() => off());
    };
    const off = rt.connection.subscribe(look);
    look();
  });
}

export interface UseRealtimeOptions {
  autoConnect?: boolean;
  enablePresence?: boolean;
  enableTyping?: boolean;
  debug?: boolean;
  config?: Record<string, unknown>;
}

export interface UseRealtimeReturn extends Omit<LegacyBus, "once" | "off"> {
  isConnected: boolean;
  isAuthenticated: boolean;
  connectionState: RealtimeConnectionState;
  error: RealtimeError | null;
  reconnectAttempts: number;
  socketId: string | undefined;
  connectionQuality: ConnectionQuality;
  averageLatency: number | null;
  wasOffline: boolean;
  /** Away for five seconds: time to show it. */
  interrupted: boolean;
  connect: () => Promise<void>;
  disconnect: () => void;
  reconnect: () => Promise<void>;
  client: Realtime;
}

/** The connection. */
export function useRealtime({ autoConnect = true }: UseRealtimeOptions = {}): UseRealtimeReturn {
  const { client, bus, retain } = useHeld(), given = useContext(Context), info = useStore(client.connection);
  useEffect(() => (autoConnect && !given ? retain() : undefined), [autoConnect, given, retain]); // a provider's connection is the provider's
  return useMemo(() => ({
    ...stateOf(info), client, on: bus.on, emit: bus.emit, emitAsync: bus.emitAsync,
    connect: () => connected(client),
    disconnect: client.disconnect,
    reconnect: () => {
      client.disconnect();
      return connected(client);
    },
  }), [client, bus, info]);
}

const stateOf = (info: ConnectionInfo) => ({
  isConnected: info.state === "connected", isAuthenticated: info.state === "connected", connectionState: legacyState(info), error: info.error,
  reconnectAttempts: info.attempts, socketId: info.sessionId ?? undefined, connectionQuality: info.quality, averageLatency: info.latencyMs,
  wasOffline: info.wasOffline, interrupted: info.interrupted,
});

export interface Room { name: string; type: "channel" | "thread" | "dm"; visibility: "public" | "private"; memberCount?: number }
export interface RoomMember { userId: string; userName?: string; userAvatar?: string; joinedAt?: Date; status?: PresenceStatus }

/** Rooms as nchat has them. */
export function useRooms() {
  const client = useRealtimeClient(), joined = useStore(client.rooms), channels = useStore(client.channels);
  return useMemo(() => joined.map((r): Room => {
    const memberCount = channels.get(r.channelId)?.memberCount;
    return {
      name: r.name, type: r.type, visibility: channels.get(r.channelId)?.type === "public" ? "public" : "private",
      ...(memberCount !== undefined && { memberCount }),
    };
  }), [client, joined, channels]);
}

/** What this page holds open: rooms and users by name, each let go when it is said, or with the component. */
export function useHolds(open: (name: string) => () => void) {
  const all = useRef(new Map<string, (() => void) | null>());
  useEffect(() => { // again where the client is another now, and where StrictMode mounts twice
    const map = all.current;
    for (const [name, end] of map) if (!end) map.set(name, open(name));
    return () => {
      for (const [name, end] of map) {
        end?.();
        map.set(name, null);
      }
    };
  }, [open]);
  const add = useCallback((name: string) => { if (!all.current.get(name)) all.current.set(name, open(name)); }, [open]);
  const drop = useCallback((name: string) => {
    all.current.get(name)?.();
    all.current.delete(name);
  }, []);
  return { add, drop, all };
}

export interface RealtimeContextValue extends Omit<UseRealtimeReturn, never> {
  presenceStatus: PresenceStatus;
  customStatus: CustomStatus | null;
  setPresenceStatus: (status: PresenceStatus) => void;
  setCustomStatus: (status: CustomStatus | null) => void;
  subscribeToPresence: (userIds: string[]) => void;
  unsubscribeFromPresence: (userIds: string[]) => void;
  getPresence: (userId: string) => UserPresence | undefined;
  startTyping: (roomName: string, threadId?: string) => void;
  stopTyping: (roomName?: string, threadId?: string) => void;
  handleTypingInput: (roomName: string, value: string, threadId?: string) => void;
  getTypingUsers: (roomName: string, threadId?: string) => TypingUser[];
  getTypingText: (roomName: string, threadId?: string) => string | null;
  rooms: Room[];
  joinRoom: (roomName: string) => Promise<Room>;
  leaveRoom: (roomName: string) => void;
  /** Queued at once, sent when that is possible; resolves without a network too. */
  sendMessage: (roomName: string, content: string, options?: SendMessageOptions) => Promise<SentMessage>;
  isInRoom: (roomName: string) => boolean;
  getRoomMembers: (roomName: string) => RoomMember[];
}

/** A room with its members, held. */
export function openRoom(rt: Realtime, name: string): () => void {
  const offs = [rt.rooms.join(name), rt.presence.members(legacyRoom(name).split(":")[1]!).subscribe(() => {})];
  return () => offs.forEach(f => f());
}

export function membersOf(rt: Realtime, name: string): RoomMember[] {
  const of = rt.presence.members(legacyRoom(name).split(":")[1]!).get();
  return (of?.presences ?? []).map(p => ({ userId: p.userId, status: p.status }));
}

/** Everything at once, as nchat's provider gave it. Parts that show one thing are better served by the hook for it. */
export function useRealtimeContext(): RealtimeContextValue {
  const base = useRealtime({ autoConnect: false }), { client, typing } = useHeld(), rooms = useRooms();
  const mine = useStore(client.presence.mine), [status, setPresenceStatus] = useChosen(client.presence, mine, base.isConnected);
  const held = useHolds(useCallback((name: string) => openRoom(client, name), [client]));
  const watched = useHolds(useCallback((id: string) => client.presence.watch(id), [client]));
  return useMemo(() => {
    const room = (name: string, threadId?: string) => legacyRoom(name, threadId ? "thread" : "channel", threadId);
    return {
      ...base, rooms, presenceStatus: status, customStatus: asCustomStatus(mine?.customStatus) ?? null, setPresenceStatus,
      setCustomStatus: s => void client.presence.setCustomStatus(s).catch(() => {}),
      subscribeToPresence: ids => ids.forEach(watched.add),
      unsubscribeFromPresence: ids => ids.forEach(watched.drop),
      getPresence: id => { const p = client.presence.all.get().get(id); return p && asUserPresence(p); },
      startTyping: (name, thread) => { if (typing) client.typing.start(room(name, thread)); },
      stopTyping: (name, thread) => (name ? client.typing.stop(room(name, thread)) : client.typing.stopAll()),
      handleTypingInput: (name, value, thread) => { if (typing) client.typing.input(room(name, thread), value); },
      getTypingUsers: (name, thread) => asTypingUsers(client.typing.room(room(name, thread)).get()),
      getTypingText: (name, thread) => client.typing.room(room(name, thread)).get()?.text ?? null,
      joinRoom: async name => {
        held.add(legacyRoom(name));
        return { name: legacyRoom(name), type: name.startsWith("dm:") ? "dm" as const : "channel" as const, visibility: "private" as const };
      },
      leaveRoom: name => name && held.drop(legacyRoom(name)),
      sendMessage: (name, content, o) => sendLegacy(client, name, content, o),
      isInRoom: name => client.rooms.has(name),
      getRoomMembers: name => membersOf(client, name),
    };
  }, [base, rooms, status, setPresenceStatus, mine, client, typing, held.add, held.drop, watched.add, watched.drop]);
}
