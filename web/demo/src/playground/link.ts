import type { FormattedExecutionResult } from "graphql";
import { type Client, createClient } from "graphql-ws";

type Params = { query: string; operationName?: string | null; variables?: unknown };

/** What the playground asks the server with: one socket for all that is run, as an app has it, and HTTP for the schema. */
export interface Link {
  fetch(params: Params): Promise<FormattedExecutionResult> | AsyncIterableIterator<FormattedExecutionResult>;
  close(): void;
}

const HEARTBEAT = "mutation Heartbeat($active: Boolean!, $hidden: Boolean!) { heartbeat(input: { active: $active, hidden: $hidden }) { __typename } }";

/** say is told who the socket runs as, or why it ended. */
export function link(token: string, say: (state: string) => void): Link {
  const headers = { Authorization: `Bearer ${token}` };
  let open = false;
  const client: Client = createClient({
    url: location.origin.replace(/^http/, "ws") + "/graphql", lazyCloseTimeout: 2 ** 31 - 1, retryAttempts: 3,
    connectionParams: { headers, device: { type: "web", name: "playground" } },
    on: {
      connected: (_, ack) => {
        const is = ack as { userId?: string; role?: string } | undefined;
        open = true;
        say(`connected as ${is?.userId ?? is?.role ?? "nobody"}`);
      },
      closed: e => {
        open = false;
        say(e instanceof CloseEvent && e.reason ? `closed: ${e.code} ${e.reason}` : "not connected");
      },
    },
  });
  // While the page is open its user's activity is told, as any client does.
  let active = true;
  const noted = new AbortController(), note = () => { active = true; };
  for (const kind of ["pointermove", "keydown", "pointerdown", "wheel"]) addEventListener(kind, note, { passive: true, signal: noted.signal });
  const beat = () => {
    if (!open) return;
    const end = client.subscribe({ query: HEARTBEAT, variables: { active, hidden: document.hidden } }, { next: () => {}, error: () => {}, complete: () => end() });
    active = false;
  };
  const every = setInterval(beat, 30_000);
  document.addEventListener("visibilitychange", beat, { signal: noted.signal });

  return {
    fetch(params) {
      if (params.operationName === "IntrospectionQuery")
        return fetch("/graphql", { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(params) }).then(r => r.json());
      return client.iterate({ query: params.query, operationName: params.operationName, variables: params.variables as Record<string, unknown> }) as AsyncIterableIterator<FormattedExecutionResult>;
    },
    close() {
      clearInterval(every);
      noted.abort();
      void client.dispose();
    },
  };
}
