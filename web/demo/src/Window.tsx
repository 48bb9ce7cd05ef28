import { createRealtime } from "@nchat/realtime";
import { RealtimeProvider, useRealtimeClient, useStore } from "@nchat/realtime/react";
import { useEffect, useMemo, useState } from "react";
import { Banner } from "./Banner";
import { Channels, titleOf } from "./Channels";
import { type Network, network } from "./network";
import { People } from "./People";
import { Room } from "./Room";
import { Self } from "./Self";
import { token, type User, useNames, World } from "./world";

/** One user's window. */
export function Window({ me, users }: { me: User; users: User[] }) {
  const [made, setMade] = useState<{ client: ReturnType<typeof createRealtime>; net: Network } | null>(null);
  useEffect(() => {
    const net = network();
    let kept: Promise<string> | undefined;
    const client = createRealtime({
      url: "/v1/graphql", environment: net.environment, device: { type: "web", name: browserName() },
      getToken: ({ refresh }) => {
        if (refresh) kept = undefined;
        return (kept ??= token(me).catch(e => { kept = undefined; throw e; }));
      },
    });
    setMade({ client, net });
    document.title = `${me.name} · nchat-realtime demo`;
    return () => client.close();
  }, [me]);
  const world = useMemo(() => ({ me, users }), [me, users]);
  if (!made) return null;
  return (
    <World.Provider value={world}>
      <RealtimeProvider client={made.client}><Chat net={made.net} /></RealtimeProvider>
    </World.Provider>
  );
}

function browserName() {
  const of = /(Firefox|Edg|Chrome|Safari)/.exec(navigator.userAgent)?.[1] ?? "Browser";
  return `${of === "Edg" ? "Edge" : of}, demo page`;
}

function Chat({ net }: { net: Network }) {
  const client = useRealtimeClient(), channels = useStore(client.channels), { me, users } = useNames();
  const [chosen, choose] = useState<string | null>(null), [thread, setThread] = useState<string | null>(null);
  const list = useMemo(() => [...channels.values()].sort((a, b) => rank(a.type) - rank(b.type) || a.channelId.localeCompare(b.channelId)), [channels]);
  const current = channels.get(chosen ?? "") ?? list[0];
  const open = (id: string) => {
    choose(id);
    setThread(null);
  };
  return (
    <div className="window">
      <header className="top"><Self net={net} /></header>
      <Banner net={net} />
      <nav className="side" aria-label="Channels"><Channels list={list} current={current?.channelId} open={open} /></nav>
      <main className="room">
        {current
          ? <Room key={current.channelId + (thread ?? "")} channel={current} title={titleOf(current, me, users)} threadId={thread} openThread={setThread} />
          : <p className="empty">Fetching your channels…</p>}
      </main>
      {current && <aside className="members" aria-label="People here"><People channelId={current.channelId} /></aside>}
    </div>
  );
}

const rank = (type: string) => ["public", "private", "group", "direct"].indexOf(type);
