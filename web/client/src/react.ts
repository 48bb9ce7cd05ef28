"use client";

export {
  type Room, type RoomMember, RealtimeProvider, type RealtimeConnectionState, type RealtimeContextValue, type RealtimeProviderProps, useRealtime,
  useRealtimeClient, useRealtimeContext, type UseRealtimeOptions, type UseRealtimeReturn, useStore,
} from "./react/context.js";
export {
  type FilteredUserPresence, usePresenceSettings, useRealtimePresence, type UseRealtimePresenceOptions, type UseRealtimePresenceReturn, useUserOnlineStatus, useUserPresence,
} from "./react/presence.js";
export {
  useDelivery, useMessages, useRealtimeRooms, type UseRealtimeRoomsOptions, type UseRealtimeRoomsReturn, useSync, useUnread, useUnreadTotals,
} from "./react/rooms.js";
export {
  type TypingPrivacySettings, type TypingRoomType, useDMTyping, useRealtimeTyping, type UseRealtimeTypingOptions, type UseRealtimeTypingReturn, useThreadTyping,
  useTypingIndicatorDisplay,
} from "./react/typing.js";
export { configureRealtime } from "./shared.js";
export type { CustomStatus, MessageEvent, SendMessageOptions, TypingUser, UserPresence } from "./legacy.js";
