// The message input of the source document, with the path of the import changed and its state written out.
'use client'

import { useState } from "react";
import { useRealtimeContext, useRealtimeTyping } from "../../src/react.js";

export function MessageInput({ channelId }: { channelId: string }) {
  const [content, setContent] = useState("");
  const { sendMessage } = useRealtimeContext()
  const { startTyping, stopTyping, handleInputChange } = useRealtimeTyping(channelId)

  const handleChange = (e: React.ChangeEvent<HTMLInputElement>) => {
    setContent(e.target.value)
    handleInputChange(e.target.value)
  }

  const handleSubmit = async () => {
    stopTyping()
    await sendMessage(channelId, content)
  }

  return (
    <form onSubmit={e => { e.preventDefault(); void handleSubmit(); }}>
      <input aria-label="message" value={content} onFocus={() => void startTyping} onChange={handleChange} onBlur={stopTyping} />
    </form>
  )
}
