import type { Channel, TimelineMessage } from "@nchat/realtime";
import { useDelivery, useMessages, useSync, useTypingIndicatorDisplay } from "@nchat/realtime/react";
import { useEffect, useMemo, useRef, useState } from "react";
import { Button } from "react-aria-components";
import { Composer } from "./Composer";
import { Avatar, Ticks } from "./parts";
import { clock, useNames } from "./world";

interface Props { channel: Channel; title: string; threadId: string | null; openThread: (id: string | null) => void }

/** A channel, or one of its threads. */
export function Room({ channel, title, threadId, openThread }: Props) {
  const all = useMessages(channel.channelId);
  const shown = useMemo(() => all.filter(m => (m.threadId ?? null) === threadId || (threadId !== null && all.some(r => r.threadId === threadId && r.parentMessageId === m.id))), [all, threadId]);
  const replies = useMemo(() => repliesOf(all), [all]);
  useRead(channel.channelId, shown);
  return (
    <>
      <header className="head">
        {threadId && <Button className="link" onPress={() => openThread(null)}>← {title}</Button>}
        <h1>{threadId ? "Thread" : title}</h1>
      </header>
      <Log messages={shown} replies={threadId ? undefined : replies} openThread={openThread} />
      <Typing channel={channel} threadId={threadId} />
      {channel.canWrite ? <Composer channel={channel} threadId={threadId} title={title} /> : <p className="aside">You may read here.</p>}
    </>
  );
}

function repliesOf(all: readonly TimelineMessage[]) {
  const map = new Map<string, { threadId: string; count: number }>();
  for (const m of all) {
    if (!m.threadId || !m.parentMessageId) continue;
    const at = map.get(m.parentMessageId);
    map.set(m.parentMessageId, { threadId: m.threadId, count: (at?.count ?? 0) + 1 });
  }
  return map;
}

/** What is shown in a page that is seen has been read: of a channel not its threads. */
function useRead(channelId: string, shown: readonly TimelineMessage[]) {
  const { acknowledgeRead } = useDelivery(), last = shown.findLast(m => m.seq !== null && !m.mine)?.id;
  useEffect(() => {
    if (!last) return;
    const look = () => { if (!document.hidden) acknowledgeRead(channelId, last); };
    look();
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, [channelId, last, acknowledgeRead]);
}

interface LogProps { messages: readonly TimelineMessage[]; replies: ReturnType<typeof repliesOf> | undefined; openThread: Props["openThread"] }

function Log({ messages, replies, openThread }: LogProps) {
  const box = useRef<HTMLDivElement>(null), atEnd = useRef(true), { isSynchronized } = useSync();
  const [settled, setSettled] = useState(isSynchronized); // what is there already is not read out
  useEffect(() => { if (isSynchronized) setSettled(true); }, [isSynchronized]);
  useEffect(() => { if (atEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight }); }, [messages]);
  return (
    <div
      className="log" ref={box} role="log" aria-label="Messages" aria-live={settled ? "polite" : "off"} tabIndex={0}
      onScroll={e => { atEnd.current = e.currentTarget.scrollHeight - e.currentTarget.scrollTop - e.currentTarget.clientHeight < 40; }}
    >
      {messages.map((m, i) => (
        <Message key={m.clientMessageId ?? m.id} message={m} follows={messages[i - 1]?.senderId === m.senderId} reply={replies?.get(m.id)} openThread={openThread} />
      ))}
      {!messages.length && <p className="empty">Nothing was said here yet.</p>}
    </div>
  );
}

interface MessageProps { message: TimelineMessage; follows: boolean; reply: { threadId: string; count: number } | undefined; openThread: Props["openThread"] }

function Message({ message: m, follows, reply, openThread }: MessageProps) {
  const { name } = useNames(), who = name(m.senderId);
  return (
    <article className={`message ${m.mine ? "mine" : ""} ${follows ? "follows" : ""}`} aria-label={`${who}, ${clock(m.createdAt)}`}>
      {!m.mine && (follows ? <span className="avatar none" /> : <Avatar id={m.senderId ?? ""} name={who} />)}
      <div className="bubble">
        {!m.mine && !follows && <span className="who">{who}</span>}
        <p>{m.content}</p>
        <footer>
          <time dateTime={m.createdAt}>{clock(m.createdAt)}</time>
          {m.editedAt && <span>edited</span>}
          {m.status && <Ticks status={m.status} />}
        </footer>
        {m.error && <Failed message={m} />}
        {reply && <Button className="link" onPress={() => openThread(reply.threadId)}>{reply.count} {reply.count === 1 ? "reply" : "replies"}</Button>}
      </div>
    </article>
  );
}

function Failed({ message }: { message: TimelineMessage }) {
  const { retry, discard } = useDelivery(), key = message.clientMessageId ?? message.id;
  return (
    <div className="failed">
      <span>{message.error?.message}</span>
      <Button className="link" onPress={() => void retry(key)}>Try again</Button>
      <Button className="link" onPress={() => void discard(key)}>Discard</Button>
    </div>
  );
}

// Its own region, apart from the messages; said a moment late, so that one who starts and stops is no noise.
function Typing({ channel, threadId }: { channel: Channel; threadId: string | null }) {
  const direct = channel.type === "direct" && !threadId;
  const { typingText } = useTypingIndicatorDisplay(channel.channelId, direct ? "dm" : threadId ? "thread" : "channel", threadId ?? undefined);
  const [said, setSaid] = useState("");
  useEffect(() => {
    const t = setTimeout(() => setSaid(typingText ?? ""), typingText ? 1000 : 0);
    return () => clearTimeout(t);
  }, [typingText]);
  return (
    <div className="typing">
      <span aria-hidden="true">{typingText && <><i className="dots"><b /><b /><b /></i> {typingText}</>}</span>
      <span className="hidden" role="status">{said}</span>
    </div>
  );
}
