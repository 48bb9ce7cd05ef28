"use client";

import { useCallback, useEffect, useMemo } from "react";
import { asMessageEvent, legacyRoom, type MessageEvent, sendLegacy, type SendMessageOptions, type SentMessage } from "../legacy.js";
import type { MemberChange, Queued, ReadState, TimelineMessage } from "../types.js";
import { membersOf, openRoom, type Room, type RoomMember, useHolds, useKeyed, useRealtimeClient, useRooms, useStore } from "./context.js";

export interface UseRealtimeRoomsOptions {
  initialRooms?: string[];
  autoJoin?: boolean;
  /** They always are. */
  autoRejoinOnReconnect?: boolean;
}

export interface UseRealtimeRoomsReturn {
  rooms: Room[];
  roomNames: string[];
  roomCount: number;
  joinRoom: (roomName: string) => Promise<Room>;
  joinRooms: (roomNames: string[]) => Promise<Map<string, Room>>;
  leaveRoom: (roomName: string) => void;
  leaveRooms: (roomNames: string[]) => void;
  leaveAllRooms: () => void;
  isInRoom: (roomName: string) => boolean;
  getRoom: (roomName: string) => Room | undefined;
  getRoomMembers: (roomName: string) => RoomMember[];
  sendMessage: (roomName: string, content: string, options?: SendMessageOptions) => Promise<SentMessage>;
  onRoomMessage: (roomName: string, callback: (message: MessageEvent) => void) => () => void;
  onMessage: (callback: (message: MessageEvent) => void) => () => void;
  onUserJoin: (callback: (roomName: string, member: RoomMember) => void) => () => void;
  onUserLeave: (callback: (roomName: string, userId: string) => void) => () => void;
}

/** Rooms this page has open. Those joined here are left with the component; another that has them open keeps them. */
export function useRealtimeRooms({ initialRooms = [], autoJoin = true }: UseRealtimeRoomsOptions = {}): UseRealtimeRoomsReturn {
  const client = useRealtimeClient(), rooms = useRooms(), names = autoJoin ? initialRooms.join("\n") : "";
  const held = useHolds(useCallback((name: string) => openRoom(client, name), [client]));
  useEffect(() => {
    const list = names ? names.split("\n").map(n => legacyRoom(n)) : [];
    list.forEach(held.add);
    return () => list.forEach(held.drop);
  }, [held.add, held.drop, names]);
  return useMemo((): UseRealtimeRoomsReturn => {
    const getRoom = (name: string) => rooms.find(r => r.name === legacyRoom(name));
    const joinRoom = async (name: string): Promise<Room> => {
      held.add(legacyRoom(name));
      const joined = client.rooms.get().find(r => r.name === legacyRoom(name))!;
      return { name: joined.name, type: joined.type, visibility: client.channels.get().get(joined.channelId)?.type === "public" ? "public" : "private" };
    };
    const leaveRoom = (name: string) => held.drop(legacyRoom(name));
    const member = (kind: MemberChange["kind"], tell: (m: MemberChange) => void) => client.on("member", m => m.kind === kind && tell(m));
    return {
      rooms, roomNames: rooms.map(r => r.name), roomCount: rooms.length, joinRoom, leaveRoom, getRoom,
      joinRooms: async list => new Map(await Promise.all(list.map(async n => [n, await joinRoom(n)] as const))),
      leaveRooms: list => list.forEach(leaveRoom),
      leaveAllRooms: () => [...held.all.current.keys()].forEach(held.drop),
      isInRoom: name => client.rooms.has(name),
      getRoomMembers: name => membersOf(client, name),
      sendMessage: (name, content, o) => sendLegacy(client, name, content, o),
      onRoomMessage: (name, callback) => client.on("message", m => legacyRoom(m.channelId, m.threadId ? "thread" : "channel", m.threadId ?? undefined) === legacyRoom(name).replace(/^dm:/, "channel:") && callback(asMessageEvent(m))),
      onMessage: callback => client.on("message", m => callback(asMessageEvent(m))),
      onUserJoin: callback => member("joined", m => callback(legacyRoom(m.channelId), { userId: m.userId, joinedAt: new Date() })),
      onUserLeave: callback => member("left", m => callback(legacyRoom(m.channelId), m.userId)),
    };
  }, [client, rooms, held.add, held.drop, held.all]);
}

/** A channel's messages, with those of the caller's that wait. */
export function useMessages(channelId: string): readonly TimelineMessage[] {
  const client = useRealtimeClient();
  return useKeyed(() => client.timeline(channelId), [client, channelId]);
}

/** How far the caller is in a channel, and what there is to read. */
export function useUnread(channelId: string): ReadState | undefined {
  const client = useRealtimeClient();
  return useKeyed(() => client.unread.channel(channelId), [client, channelId]);
}

/** Over all channels that are not muted; null: not told yet. */
export function useUnreadTotals() {
  return useStore(useRealtimeClient().unread.totals);
}

/** How far messages have come, and what waits or failed. */
export function useDelivery() {
  const client = useRealtimeClient(), queue = useStore(client.queue);
  return useMemo(() => ({
    ...queue,
    acknowledgeRead: client.delivery.read,
    acknowledgeDelivered: client.delivery.delivered,
    markUnread: client.delivery.markUnread,
    retry: client.queue.retry,
    discard: client.queue.discard,
    flush: client.queue.flush,
    /** What a message of the caller's is now; undefined: it is not here. */
    statusOf: (channelId: string, id: string): TimelineMessage["status"] | Queued["status"] | undefined =>
      client.timeline(channelId).get().find(m => m.id === id || m.clientMessageId === id)?.status ?? undefined,
  }), [client, queue]);
}

/** Whether everything is here, and how much of it. */
export function useSync() {
  const client = useRealtimeClient(), state = useStore(client.sync);
  return useMemo(() => ({
    ...state, isSyncing: state.state === "synchronizing", isSynchronized: state.state === "synchronized",
    sync: client.sync.run, older: client.sync.older, edit: client.sync.edit, remove: client.sync.remove,
  }), [client, state]);
}
