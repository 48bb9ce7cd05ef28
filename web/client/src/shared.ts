import { createRealtime, type Realtime, type RealtimeOptions } from "./realtime.js";
import type { GetToken } from "./token.js";

// Bundlers put in what these are, where they are written out like this; elsewhere there is no process.
declare const process: { env: Record<string, string | undefined> };
const read = (fn: () => string | undefined) => {
  try {
    return fn() || undefined;
  } catch {
    return undefined;
  }
};

export interface PublicEnv {
  url: string;
  wsUrl?: string;
  presence: boolean;
  typing: boolean;
}

/** NEXT_PUBLIC_REALTIME_URL, NEXT_PUBLIC_REALTIME_WS_URL, NEXT_PUBLIC_GRAPHQL_URL and the two feature flags. */
export function publicEnv(): PublicEnv {
  const own = read(() => process.env.NEXT_PUBLIC_REALTIME_URL), wsUrl = read(() => process.env.NEXT_PUBLIC_REALTIME_WS_URL);
  return {
    url: own ?? read(() => process.env.NEXT_PUBLIC_GRAPHQL_URL) ?? "http://realtime.localhost:3101",
    ...(wsUrl && { wsUrl }),
    presence: read(() => process.env.NEXT_PUBLIC_FEATURE_USER_PRESENCE) !== "false",
    typing: read(() => process.env.NEXT_PUBLIC_FEATURE_TYPING_INDICATORS) !== "false",
  };
}

let configured: Partial<RealtimeOptions> = {}, one: Realtime | undefined;

/** Says once, for the whole app, where tokens come from, and whatever else a provider or a service without options is to use. */
export function configureRealtime(options: Partial<RealtimeOptions>): void {
  configured = { ...configured, ...options };
}

/** Options for a client: those given, those configured, those of the environment. */
export function optionsOf(own: Partial<RealtimeOptions> = {}): RealtimeOptions {
  const { url, wsUrl, presence } = publicEnv();
  const getToken: GetToken = why => configured.getToken?.(why) ?? null; // asked each time: a service may be told later
  const { getToken: _, ...rest } = configured;
  const ours = own.url ?? configured.url;
  return { getToken, ...(!presence && { presence }), ...(ours ? { url: ours } : { url, ...(wsUrl && { wsUrl }) }), ...rest, ...Object.fromEntries(Object.entries(own).filter(([, v]) => v !== undefined)) };
}

/** Where tokens come from now, as it was said. */
export const configuredToken = (): GetToken => configured.getToken ?? (() => null);

/** The client of whoever asks without a provider: one for the page. */
export function sharedClient(own?: Partial<RealtimeOptions>): Realtime {
  return (one ??= createRealtime(optionsOf(own)));
}

/** Closes it; the next to ask gets another. */
export function resetShared(): void {
  one?.close();
  one = undefined;
}
