export { type Core, type CoreOptions, endpoints, type ServerConfig } from "./core.js";
export { createRealtime, type Realtime, type RealtimeEvents, type RealtimeOptions } from "./realtime.js";
export type { Connection, ConnectionEvents, ConnectionInfo, ConnectionState } from "./connection.js";
export type { DeliveryService, Unread } from "./delivery.js";
export type { Environment } from "./env.js";
export { RealtimeError } from "./errors.js";
export type {
  ConflictResolution, ConnectionQuality, DeliveryStatus, DeviceType, Doc, MessageType, PresenceSettingsInput, PresenceStatus, RoomInput, SendMessageInput, Visibility,
} from "./generated.js";
export type { Queue, QueueEvents, QueueState } from "./outbox.js";
export type { Members, PresenceService } from "./presence.js";
export { type JoinedRoom, roomChannel, roomInput, roomName, type RoomRef, type Rooms } from "./rooms.js";
export type { Answer, Sink } from "./socket.js";
export type { Emitter, Family, Readable, Writable } from "./store.js";
export type { SyncEvents, SyncService, SyncState } from "./sync.js";
export type { GetToken } from "./token.js";
export type * from "./types.js";
export type { TypingService } from "./typing.js";
