import type { DeliveryStatus, PresenceStatus } from "@nchat/realtime";
import { useUserPresence } from "@nchat/realtime/react";

export const statusWords: Record<PresenceStatus, string> = { online: "Online", away: "Away", busy: "Do not disturb", offline: "Offline" };

/** A status by shape, colour and word. */
export function Dot({ status }: { status: PresenceStatus }) {
  return <span className={`dot ${status}`} role="img" aria-label={statusWords[status]} title={statusWords[status]} />;
}

export function Avatar({ id, name }: { id: string; name: string }) {
  return <span className={`avatar hue${Number(id.slice(-1)) % 6}`} aria-hidden="true">{name.slice(0, 1)}</span>;
}

/** Somebody with the dot that is watched while this is shown. */
export function Face({ id, name }: { id: string; name: string }) {
  const presence = useUserPresence(id);
  return <span className="face"><Avatar id={id} name={name} /><Dot status={presence?.status ?? "offline"} /></span>;
}

type Progress = DeliveryStatus | "pending" | "sending";
const marks: Record<Progress, [string, string]> = {
  pending: ["◷", "Waits to be sent"], sending: ["◷", "Sending"], sent: ["✓", "Sent"], delivered: ["✓✓", "Delivered"], read: ["✓✓", "Read"], failed: ["!", "Not sent"],
};

/** How far a message has come: by mark, colour and word. */
export function Ticks({ status }: { status: Progress }) {
  const [mark, word] = marks[status];
  return <span className={`ticks ${status}`} role="img" aria-label={word} title={word}>{mark}</span>;
}
