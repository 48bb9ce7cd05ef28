import { type Connection, type ConnectionEvents, createConnection } from "./connection.js";
import { type Env, type Environment, environment } from "./env.js";
import { Config, type ConfigQuery, SettingsChanged } from "./generated.js";
import { createPresence, type PresenceService } from "./presence.js";
import { createRooms, type Rooms } from "./rooms.js";
import { emitter, type Readable, store, type Writable } from "./store.js";
import type { GetToken } from "./token.js";
import type { Conflict, PresenceSettings } from "./types.js";
import { createTyping, type TypingService } from "./typing.js";

export type { Connection, ConnectionEvents, ConnectionInfo, ConnectionState } from "./connection.js";
export type { Environment } from "./env.js";
export { RealtimeError } from "./errors.js";
export type { Members, PresenceService } from "./presence.js";
export { type JoinedRoom, type RoomRef, type Rooms } from "./rooms.js";
export type { Readable } from "./store.js";
export type { GetToken } from "./token.js";
export type { TypingService } from "./typing.js";

export interface CoreOptions {
  /** The GraphQL endpoint, as http://localhost:3101/graphql; without a path, /graphql of it. */
  url: string;
  /** The same for WebSocket; default: url with ws instead of http. */
  wsUrl?: string;
  getToken: GetToken;
  /** Whose tokens these are; default: what they tell, x-hasura-user-id, or sub. With it what is stored is there before a token can be had, and where tokens tell nothing, or another id than the server. */
  userId?: string;
  device?: { id?: string; type?: "web" | "ios" | "android" | "desktop"; name?: string };
  /** false: this client must not make its user appear online, and reports no activity. */
  presence?: boolean;
  environment?: Environment;
}

export type ServerConfig = ConfigQuery["realtimeConfig"];

/** Who is there and who types, without messages: no queue, no sync, nothing stored. Nothing happens before connect. */
export interface Core {
  connection: Connection;
  presence: PresenceService;
  typing: TypingService;
  rooms: Rooms;
  /** Whose client this is; null: not known, or nobody's. */
  user: Readable<string | null>;
  /** The server's limits and intervals, once it was asked. */
  config: Readable<ServerConfig | null>;
  connect(): void;
  disconnect(): void;
  /** The app has another token, or none: it is asked for anew. */
  authChanged(): void;
  /** Ends everything, and lets go of the storage; what is stored stays. connect begins anew. */
  close(): void;
}

/** http(s)://host[:port][/path] as it is dialed: with /graphql where it names no path. */
export function endpoints(url: string, wsUrl?: string): { url: string; wsUrl: string } {
  const at = (u: string) => {
    const parsed = new URL(u, globalThis.location?.href ?? "http://localhost");
    if (parsed.pathname === "/") parsed.pathname = "/graphql";
    return parsed.href;
  };
  return { url: at(url), wsUrl: at(wsUrl ?? url).replace(/^http/, "ws") };
}

/** What every client stands on. */
export function foundation(o: CoreOptions) {
  const env = environment(o.environment), { url, wsUrl } = endpoints(o.url, o.wsUrl);
  const user = store<string | null>(null), config = store<ServerConfig | null>(null);
  const connection = createConnection({ ...o, url, wsUrl, device: { type: "web", ...o.device } }, env, emitter<ConnectionEvents>());
  return {
    env, url, connection, user, config,
    /** Asks for the server's configuration, once. */
    ask() {
      if (!config.get()) void connection.request(Config, {}).then(c => config.set(c.realtimeConfig), () => {});
    },
  };
}

/** Presence, typing and rooms on a connection. */
export function people(o: CoreOptions, connection: Connection, env: Env, config: Readable<ServerConfig | null>, settings: Writable<PresenceSettings | null>, conflict: (c: Conflict) => void) {
  const presence = createPresence(connection, env, o.presence !== false, () => ({ maxIds: config.get()?.maxIds ?? 1000, idleAfterMs: config.get()?.idleAfterMs ?? 300_000 }),
    settings, conflict);
  const typing = createTyping(connection, env, () => config.get()?.maxRooms ?? 100);
  const rooms = createRooms(name => {
    const end = typing.service.watch(name);
    return () => {
      typing.service.stop(name);
      end();
    };
  });
  return { presence, typing, rooms };
}

export const reins = (connection: Connection) => ({
  connect: connection.connect,
  disconnect: connection.disconnect,
  authChanged() {
    connection.disconnect();
    connection.connect();
  },
});

export function createCore(o: CoreOptions): Core {
  const { env, connection, user, config, ask } = foundation(o), settings = store<PresenceSettings | null>(null);
  const { presence, typing, rooms } = people(o, connection, env, config, settings, () => {});
  let last: string | null = null;
  connection.events.on("user", id => {
    if (id === user.get()) return;
    if (user.get() || (id && last && id !== last)) { // what was wished before it is known who it is is the first one's
      presence.clear();
      typing.clear();
    }
    user.set(id);
    last = id ?? last;
  });
  connection.events.on("up", ask);
  connection.live(SettingsChanged, {}, d => settings.set(d.presenceSettingsChanged)); // where there is a sync, that brings them
  return { connection, presence: presence.service, typing: typing.service, rooms, user, config, ...reins(connection), close: connection.disconnect };
}
