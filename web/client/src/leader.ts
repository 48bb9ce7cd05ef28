import type { ConnectionState } from "./connection.js";
import type { Env } from "./env.js";

/** Who of the tabs of one user sends the queue, and keeps what is synchronized. */
export interface Leadership {
  /** It is this tab, now. */
  leads(): boolean;
  /** What the connection is now: a tab that cannot send is in nobody's way. */
  heed(state: ConnectionState): void;
  /** Takes it from a tab that is not heard any more. */
  take(): void;
  /** Gives it up, or no longer asks for it. */
  resign(): void;
}

/** This long without a connection, or without being heard, and a tab that waits for the lead has it. */
export const PATIENCE = 5000;

/**
 * By Web Locks, which the browser takes from a tab that dies, and from nobody else. Where there are none (a page
 * without TLS) each tab leads: the server takes each key once all the same; only the order among tabs is nobody's then.
 */
export function lead(name: string, shared: boolean, env: Env, elected: () => void): Leadership {
  const { locks } = env;
  if (!shared || !locks) {
    return { leads: () => true, heed() {}, take() {}, resign() {} };
  }
  let leads = false, off = true, asked: AbortController | undefined, release = () => {}, timer: ReturnType<typeof setTimeout> | undefined;
  function ask(steal = false) {
    if (asked && !steal) return;
    asked?.abort();
    const mine = asked = new AbortController();
    locks!.request(name, { mode: "exclusive", ...(steal ? { steal } : { signal: mine.signal }) }, () => {
      if (asked !== mine) return undefined;
      leads = true;
      elected();
      return new Promise<void>(resolve => { release = resolve; });
    }).catch(() => { // withdrawn, taken by another tab, or not to be had
      if (asked !== mine) return;
      asked = undefined;
      if (leads) ask();
      leads = false;
    });
  }
  function resign() {
    timer = void clearTimeout(timer);
    leads = false;
    asked?.abort();
    asked = undefined;
    release();
  }
  // Nobody waits: then it stays, for what the user reads offline.
  async function look() {
    const mine = timer, waiting = (await locks!.query?.().catch(() => null))?.pending;
    if (mine !== timer) return;
    if (leads && (waiting?.some(l => l.name === name) ?? true)) resign();
    else timer = setTimeout(look, PATIENCE);
  }
  return {
    leads: () => leads,
    heed(state) {
      const able = state === "connected";
      if (state === "closed" || state === "needs-auth" || state === "failed") {
        off = true;
        return resign();
      }
      if (off || able) ask();
      off = false;
      if (able) timer = void clearTimeout(timer);
      else if (asked) timer ??= setTimeout(look, PATIENCE);
    },
    take: () => leads || ask(true),
    resign,
  };
}
