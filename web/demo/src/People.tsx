import { useRealtimeClient, useStore, useUserPresence } from "@nchat/realtime/react";
import { useMemo } from "react";
import { Face, statusWords } from "./parts";
import { ago, useNames } from "./world";

/** Who is in a channel, with what each shows. */
export function People({ channelId }: { channelId: string }) {
  const { presence } = useRealtimeClient(), members = useStore(useMemo(() => presence.members(channelId), [presence, channelId]));
  const here = members?.presences ?? [], counts = members?.counts;
  return (
    <>
      <h2>People</h2>
      {counts && <p className="aside">{counts.online} online, {counts.away + counts.busy} away or busy</p>}
      <ul>{here.map(p => <li key={p.userId}><Person id={p.userId} /></li>)}</ul>
    </>
  );
}

function Person({ id }: { id: string }) {
  const { name } = useNames(), p = useUserPresence(id), line = p?.customStatus;
  const seen = p?.status === "offline" && p.lastSeenAt ? `last seen ${ago(p.lastSeenAt)}` : statusWords[p?.status ?? "offline"];
  return (
    <div className="person">
      <Face id={id} name={name(id)} />
      <div>
        <span className="name">{name(id)}</span>
        <span className="aside">{line ? <>{line.emoji} {line.text}</> : seen}</span>
      </div>
    </div>
  );
}
