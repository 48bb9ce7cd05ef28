import { useDelivery, useRealtime, useSync } from "@nchat/realtime/react";
import { useEffect, useState } from "react";
import { Button, ProgressBar } from "react-aria-components";
import type { Network } from "./network";

/** What is wrong with the way to the server, and what waits for it. Quiet while all is well. */
export function Banner({ net }: { net: Network }) {
  const { connectionState, isConnected, wasOffline, interrupted, error, client } = useRealtime({ autoConnect: false });
  const queue = useDelivery(), sync = useSync();
  const waiting = queue.pending ? `${queue.pending} ${queue.pending === 1 ? "message waits" : "messages wait"} to be sent` : "";
  const kept = queue.pending && queue.persistence === "memory" ? "; keep this page open" : "";
  let text = "", kind = "";
  if (connectionState === "offline") [text, kind] = ["You are offline", "bad"];
  else if (connectionState === "needs-auth" || connectionState === "failed") [text, kind] = [error?.message ?? "The server does not let this page in", "bad"];
  else if (!isConnected && (interrupted || wasOffline)) [text, kind] = ["The server cannot be reached; trying again", "bad"];
  else if (sync.isSyncing && wasOffline) [text, kind] = ["Catching up", "busy"];
  const shown = [text, waiting && waiting + kept].filter(Boolean).join(" · ");
  const failed = queue.items.filter(i => i.status === "failed").length;
  return (
    <div className="banners">
      <div role="status" aria-live="polite" className={`banner ${kind} ${text || failed ? "" : "quiet"}`}>
        {text ? shown : failed ? `${failed} not sent; see the message` : ""}
      </div>
      {text && kind === "bad" && net.get() && <Button className="link" onPress={() => client.connection.check()}>Try now</Button>}
      {sync.isSyncing && <Progress value={sync.progress} />}
    </div>
  );
}

// A sync that is over at once is not worth a flicker.
function Progress({ value }: { value: number }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const t = setTimeout(() => setLate(true), 300);
    return () => clearTimeout(t);
  }, []);
  if (!late) return null;
  return (
    <ProgressBar className="progress" aria-label="Synchronizing" value={value}>
      <span style={{ inlineSize: `${value}%` }} />
    </ProgressBar>
  );
}
