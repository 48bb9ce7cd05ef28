import type { Channel } from "@nchat/realtime";
import { useRealtimeClient, useRealtimeTyping } from "@nchat/realtime/react";
import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { Button } from "react-aria-components";

export function Composer({ channel, threadId, title }: { channel: Channel; threadId: string | null; title: string }) {
  const client = useRealtimeClient(), [text, setText] = useState(""), [error, setError] = useState(""), hint = useId(), field = useRef<HTMLTextAreaElement>(null);
  const direct = channel.type === "direct" && !threadId;
  const typing = useRealtimeTyping({ roomName: channel.channelId, roomType: direct ? "dm" : threadId ? "thread" : "channel", ...(threadId && { threadId }) });
  useEffect(() => {
    if (window === window.top) field.current?.focus(); // of two side by side neither takes it
  }, []);
  const change = (value: string) => {
    setText(value);
    typing.handleInputChange(value);
  };
  const send = () => {
    const content = text.trim();
    if (!content) return;
    setText("");
    setError("");
    const room = direct ? { dmId: channel.channelId } : { channelId: channel.channelId, ...(threadId && { threadId }) };
    client.send(room, content).catch((e: Error) => {
      setText(now => now || content);
      setError(e.message);
    });
    typing.handleMessageSend();
    field.current?.focus();
  };
  const keys = (e: KeyboardEvent) => {
    if (e.key !== "Enter" || e.shiftKey || e.nativeEvent.isComposing) return;
    e.preventDefault();
    send();
  };
  return (
    <form className="composer" onSubmit={e => { e.preventDefault(); send(); }}>
      <textarea
        ref={field} rows={1} value={text} placeholder={`Message ${title}`} aria-label={`Message ${title}`} aria-describedby={hint}
        onChange={e => change(e.target.value)} onKeyDown={keys}
      />
      <span id={hint} className="hidden">Enter sends, Shift and Enter begins a line.</span>
      <Button type="submit" className="button primary" isDisabled={!text.trim()}>Send</Button>
      {error && <p role="alert" className="wrong">{error}</p>}
    </form>
  );
}
