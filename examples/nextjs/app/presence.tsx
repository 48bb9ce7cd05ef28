"use client";

import { useRealtimePresence } from "@nchat/realtime/react";

export function Presence({ userId }: { userId: string }) {
  const { presence } = useRealtimePresence(userId);
  return <span>{presence?.status ?? "…"} {presence?.customStatus?.text}</span>;
}
