import type { Channel } from "@nchat/realtime";
import { useUnread, useUnreadTotals } from "@nchat/realtime/react";
import { Face } from "./parts";
import { type User, useNames } from "./world";

/** Whom a direct channel is with, by the demo's names ("alice, bob"). */
export const partner = (c: Channel, me: User, users: User[]) =>
  c.type === "direct" ? users.find(u => u.id !== me.id && (c.name ?? "").split(", ").includes(u.name.toLowerCase())) : undefined;

export const titleOf = (c: Channel, me: User, users: User[]) => partner(c, me, users)?.name ?? c.name ?? "Channel";

export function Channels({ list, current, open }: { list: Channel[]; current: string | undefined; open: (id: string) => void }) {
  const totals = useUnreadTotals(), unread = totals?.messages ?? 0;
  return (
    <>
      <h2>Channels{unread > 0 && <span className="badge" aria-label={`${unread} unread in all`}>{unread}</span>}</h2>
      <ul>{list.map(c => <li key={c.channelId}><Entry channel={c} current={c.channelId === current} open={open} /></li>)}</ul>
      <p className="aside"><a href="/" target="_top">Be somebody else</a></p>
    </>
  );
}

function Entry({ channel, current, open }: { channel: Channel; current: boolean; open: (id: string) => void }) {
  const { me, users } = useNames(), other = partner(channel, me, users), read = useUnread(channel.channelId);
  const unread = read?.unreadCount ?? 0, mentions = read?.mentionCount ?? 0;
  return (
    <button type="button" className="entry" aria-current={current ? "page" : undefined} onClick={() => open(channel.channelId)}>
      {other ? <Face id={other.id} name={other.name} /> : <span className="hash" aria-hidden="true">{channel.type === "private" ? "◇" : "#"}</span>}
      <span className="name">{titleOf(channel, me, users)}</span>
      {unread > 0 && !current && <span className="badge">{mentions > 0 && "@"}{unread}<span className="hidden"> unread</span></span>}
    </button>
  );
}
