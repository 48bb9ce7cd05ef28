// How nchat's own code calls its hooks: it compiles with the path of the import changed.
import { useEffect, useState } from "react";
import {
  type MessageEvent, RealtimeProvider, useDMTyping, usePresenceSettings, useRealtime, useRealtimeContext, useRealtimePresence, useRealtimeRooms, useRealtimeTyping,
  useThreadTyping, useTypingIndicatorDisplay, useUserOnlineStatus, useUserPresence,
} from "../../src/react.js";

export function ChatApp() {
  const { isConnected, connectionState, reconnectAttempts, connect, disconnect, reconnect, on, emit, emitAsync, error, socketId } = useRealtime({ autoConnect: true });
  useEffect(() => {
    if (!isConnected) return;
    const unsub = on("message:new", (message) => { void message; });
    return unsub;
  }, [isConnected, on]);
  void [connect, disconnect, reconnect, emit, emitAsync, socketId];
  const label: string = connectionState === "authenticated" || connectionState === "connected" ? "on" : connectionState === "disconnected" || connectionState === "error" ? "off" : "…";
  return <div>Status: {connectionState} {label} {reconnectAttempts} {error?.message} {error?.code}</div>;
}

export function MessageInputOfHooks({ channelId }: { channelId: string }) {
  const [message, setMessage] = useState("");
  const { typingUsers, typingText, handleInputChange, handleMessageSend, isTyping, typingCount, updatePrivacySettings } = useRealtimeTyping({ roomName: channelId, roomType: "channel", enabled: true, typingTimeout: 5000 });
  void updatePrivacySettings;
  return (
    <div data-count={typingCount} data-typing={isTyping}>
      {typingText && <span>{typingText}</span>}
      {typingUsers.map(u => <i key={u.userId}>{u.userName}{u.startedAt.getTime()}</i>)}
      <input value={message} onChange={e => { setMessage(e.target.value); handleInputChange(e.target.value); }} />
      <button onClick={() => { setMessage(""); handleMessageSend(); }}>Send</button>
    </div>
  );
}

export function UserList({ userIds }: { userIds: string[] }) {
  const { status, setStatus, presences, subscribeToUsers, unsubscribeFromUsers, customStatus, isIdle, filteredPresences, getFilteredPresence, fetchFilteredPresence,
    presenceSettings, updatePresenceSettings, isInvisible, setInvisibleMode, clearCustomStatus, setCustomStatus } = useRealtimePresence({ userIds, enableIdleDetection: true, idleTimeout: 300_000 });
  useEffect(() => {
    subscribeToUsers(userIds);
    return () => unsubscribeFromUsers(userIds);
  }, [userIds, subscribeToUsers, unsubscribeFromUsers]);
  void [filteredPresences, getFilteredPresence, fetchFilteredPresence, updatePresenceSettings, setInvisibleMode, clearCustomStatus, setCustomStatus, presenceSettings?.visibility];
  return (
    <ul data-status={status} data-idle={isIdle} data-invisible={isInvisible} title={customStatus?.text}>
      {userIds.map(id => <li key={id} onClick={() => setStatus("busy")}>{presences.get(id)?.status} {presences.get(id)?.lastSeenAt?.toLocaleString()}</li>)}
    </ul>
  );
}

export function Chat() {
  const { rooms, joinRoom, leaveRoom, sendMessage, onRoomMessage, roomNames, getRoomMembers, isInRoom } = useRealtimeRooms({ initialRooms: ["00000000-0000-4000-9000-000000000001"] });
  const [messages, setMessages] = useState<MessageEvent[]>([]);
  useEffect(() => onRoomMessage("00000000-0000-4000-9000-000000000001", (message) => setMessages((prev) => [...prev, message])), [onRoomMessage]);
  void [joinRoom, leaveRoom, roomNames, getRoomMembers, isInRoom];
  const handleSend = async (content: string) => { const { messageId } = await sendMessage("00000000-0000-4000-9000-000000000001", content); return messageId; };
  return <div onClick={() => void handleSend("x")}>Rooms: {rooms.map(r => r.name).join(", ")}{messages.map(m => <div key={m.messageId}>{m.content}</div>)}</div>;
}

export function Small({ userId, dmId, channelId, threadId }: Record<"userId" | "dmId" | "channelId" | "threadId", string>) {
  const presence = useUserPresence(userId), online = useUserOnlineStatus(userId), settings = usePresenceSettings();
  const dm = useDMTyping(dmId, userId), thread = useThreadTyping(channelId, threadId), { hasTyping } = useTypingIndicatorDisplay(channelId);
  const { presenceStatus, startTyping, joinRoom, sendMessage, isInRoom, getTypingText } = useRealtimeContext();
  void [settings.setShowLastSeen, startTyping, joinRoom, sendMessage, isInRoom];
  return <p data-online={online}>{presence?.status} {dm.typingText} {thread.typingText} {String(hasTyping)} {presenceStatus} {getTypingText(channelId, threadId)} {settings.isLoading ? "…" : settings.settings?.visibility}</p>;
}

export const App = () => (
  <RealtimeProvider autoConnect enablePresence enableTyping debug={false} serverUrl="http://realtime.localhost:3101">
    <Chat />
  </RealtimeProvider>
);
