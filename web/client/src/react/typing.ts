"use client";

import { useCallback, useEffect, useMemo, useRef } from "react";
import type { Visibility } from "../generated.js";
import { asTypingUsers, legacyRoom, type TypingUser } from "../legacy.js";
import { family } from "../store.js";
import type { RoomTyping } from "../types.js";
import { useHeld, useKeyed, useStore } from "./context.js";

export type TypingRoomType = "channel" | "thread" | "dm";
export interface TypingPrivacySettings { broadcastTyping: boolean; typingVisibility: Visibility }

export interface UseRealtimeTypingOptions {
  roomName: string;
  roomType?: TypingRoomType;
  threadId?: string;
  /** The server knows who is in a conversation. */
  recipientId?: string;
  enabled?: boolean;
  /** The server's timers count: these are taken, and change nothing. */
  typingTimeout?: number;
  debounceInterval?: number;
  privacySettings?: TypingPrivacySettings;
}

export interface UseRealtimeTypingReturn {
  typingUsers: TypingUser[];
  isTyping: boolean;
  typingText: string | null;
  typingCount: number;
  startTyping: () => void;
  stopTyping: () => void;
  handleInputChange: (value: string) => void;
  handleMessageSend: () => void;
  updatePrivacySettings: (settings: Partial<TypingPrivacySettings>) => void;
}

const nobody = family<RoomTyping>().of("");

/** Who types in a room, and that the caller does. By the channel's id, or by nchat's options. Of a room that is not known yet (""): nobody, and nothing is said. */
export function useRealtimeTyping(what: string | UseRealtimeTypingOptions): UseRealtimeTypingReturn {
  const o: UseRealtimeTypingOptions = typeof what === "string" ? { roomName: what } : what;
  const { client, typing: allowed } = useHeld(), { typing, presence } = client;
  const room = o.roomName && legacyRoom(o.roomName, o.threadId ? "thread" : o.roomType, o.threadId), enabled = (o.enabled ?? true) && allowed && room !== "";
  const now = useKeyed(() => (room ? typing.room(room) : nobody), [typing, room]), isTyping = useStore(typing.own).has(room), began = useRef(false);
  const stopTyping = useCallback(() => {
    began.current = false;
    if (room) typing.stop(room);
  }, [typing, room]);
  useEffect(() => () => { if (began.current) stopTyping(); }, [stopTyping]); // who leaves the room types there no more; who only showed it never did
  const startTyping = useCallback(() => {
    if (!enabled) return;
    began.current = true;
    typing.start(room);
  }, [typing, room, enabled]);
  const handleInputChange = useCallback((value: string) => {
    if (!enabled) return;
    began.current = value.trim() !== "";
    typing.input(room, value);
  }, [typing, room, enabled]);
  const updatePrivacySettings = useCallback((s: Partial<TypingPrivacySettings>) => void presence.updateSettings(s).catch(() => {}), [presence]);
  return useMemo(() => ({
    typingUsers: asTypingUsers(now), typingText: now?.text ?? null, typingCount: now?.totalCount ?? 0,
    isTyping, startTyping, stopTyping, handleInputChange, handleMessageSend: stopTyping, updatePrivacySettings,
  }), [now, isTyping, startTyping, stopTyping, handleInputChange, updatePrivacySettings]);
}

export function useTypingIndicatorDisplay(roomName: string, roomType: TypingRoomType = "channel", threadId?: string) {
  const { typingUsers, typingText, typingCount } = useRealtimeTyping({ roomName, roomType, ...(threadId && { threadId }) });
  return { typingUsers, typingText, typingCount, hasTyping: typingCount > 0 };
}

export const useDMTyping = (dmId: string, recipientId?: string) => useRealtimeTyping({ roomName: dmId, roomType: "dm", ...(recipientId && { recipientId }) });

export const useThreadTyping = (channelId: string, threadId: string) => useRealtimeTyping({ roomName: channelId, roomType: "thread", threadId });
