"use client";

import { RealtimeProvider } from "@nchat/realtime/react";
import type { ReactNode } from "react";

// Asked for each connection, so that no token is ever a stale one; null: nobody is signed in.
async function getToken() {
  const res = await fetch("/api/token");
  return res.ok ? res.text() : null;
}

// Where the server is says NEXT_PUBLIC_REALTIME_URL. On Next's server this draws, and connects to nothing.
export function Providers({ children }: { children: ReactNode }) {
  return <RealtimeProvider getToken={getToken}>{children}</RealtimeProvider>;
}
