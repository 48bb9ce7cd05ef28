"use client";

import { useMessages, useRealtimeContext, useRealtimeTyping } from "@nchat/realtime/react";
import { type FormEvent, useState } from "react";

export function Chat({ channelId }: { channelId: string }) {
  const [text, setText] = useState("");
  const messages = useMessages(channelId), { sendMessage } = useRealtimeContext();
  const { typingText, handleInputChange, stopTyping } = useRealtimeTyping(channelId);

  function send(e: FormEvent) {
    e.preventDefault();
    void sendMessage(channelId, text); // in the queue at once, without a network too
    setText("");
  }
  return (
    <section>
      <ul aria-label="Messages" role="log">
        {messages.map(m => <li key={m.clientMessageId ?? m.id}>{m.content} <small>{m.status}</small></li>)}
      </ul>
      <p aria-live="polite">{typingText}</p>
      <form onSubmit={send}>
        <input aria-label="Message" value={text} onBlur={stopTyping} onChange={e => { setText(e.target.value); handleInputChange(e.target.value); }} />
        <button disabled={!text.trim()}>Send</button>
      </form>
    </section>
  );
}
