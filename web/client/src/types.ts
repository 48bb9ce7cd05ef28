import type {
  DeliveryStatus, EditMutation, MyPresenceSubscription, PresenceChangedSubscription, PresenceWindowSubscription, SendMessageInput,
  SettingsChangedSubscription, SyncQuery, TypingChangedSubscription, UnreadTotalsSubscription, VisibilityQuery,
} from "./generated.js";

/** A message as the caller sees it. */
export type Message = SyncQuery["sync"]["messages"][number];
/** How far one of the caller's messages has come. */
export type Delivery = SyncQuery["sync"]["deliveries"][number];
export type Channel = SyncQuery["sync"]["channels"][number];
export type ReadState = SyncQuery["sync"]["readStates"][number];
export type ThreadState = SyncQuery["sync"]["threadReadStates"][number];
export type MemberChange = SyncQuery["sync"]["members"][number];
export type Presence = PresenceChangedSubscription["presenceChanged"];
export type MyPresence = MyPresenceSubscription["myPresenceChanged"];
export type PresenceCounts = NonNullable<PresenceWindowSubscription["presenceWindow"]["counts"]>;
export type PresenceSettings = SettingsChangedSubscription["presenceSettingsChanged"];
export type PresenceVisibility = NonNullable<VisibilityQuery["presenceVisibility"]>;
export type RoomTyping = TypingChangedSubscription["typingChanged"][number];
export type TypingUser = RoomTyping["users"][number];
export type UnreadTotals = UnreadTotalsSubscription["unreadTotalsChanged"];

/** What is to be sent; the key is made once, when it is queued, unless the app has its own. */
export type Outgoing = Omit<SendMessageInput, "clientMessageId"> & { clientMessageId?: string };

/** A message that waits to be sent, or that cannot be. */
export interface Queued {
  clientMessageId: string;
  channelId: string;
  input: SendMessageInput;
  /** pending: it waits. sending: it is on its way. failed: the server refused it for good; see error. */
  status: "pending" | "sending" | "failed";
  /** How often the server asked to try again. */
  attempts: number;
  error: { code: string; message: string } | null;
  createdAt: number;
}

/** A row of the outbox, as it is stored. */
export interface Row {
  n: number;
  input: SendMessageInput;
  /** SHA-256 of the input as it was written; null where the page may not compute it. */
  checksum: string | null;
  createdAt: number;
  attempts: number;
  /** Not sent before; as Date.now() counts. */
  notBefore: number;
  dead: { code: string; message: string } | null;
}

/** A message in a channel's list: one the server has, or after those one that waits. */
export interface TimelineMessage extends Omit<Message, "id" | "seq"> {
  id: string;
  seq: string | null;
  mine: boolean;
  /** Of the caller's own; null for those of others. */
  status: DeliveryStatus | "pending" | "sending" | null;
  error: { code: string; message: string } | null;
}

/** Two changes of the same thing, and how that ended. */
export interface Conflict {
  kind: "message" | "settings";
  at: number;
  /** The message's id. */
  messageId?: string;
  resolution: NonNullable<EditMutation["editMessage"]["conflict"]>["resolution"] | "stricter";
  base: unknown;
  server: unknown;
  client: unknown;
  /** Of settings: those that were not set as asked. */
  fields?: string[];
}

export interface SyncResult {
  messages: { synced: number; conflicts: number; errors: number };
  channels: { synced: number; errors: number };
  presence: { synced: number };
  queueFlushed: { sent: number; failed: number };
  timestamp: number;
  /** In milliseconds. */
  duration: number;
}
