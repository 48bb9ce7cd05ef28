import type { Env } from "./env.js";

/** Who of the tabs of one user sends the queue, and keeps what is synchronized. */
export interface Leadership {
  /** It is this tab, now. */
  leads(): boolean;
  /** Gives it up, or no longer asks for it. */
  resign(): void;
}

/**
 * By Web Locks, which the browser takes from a tab that dies, and from nobody else. Where there are none (a page
 * without TLS) each tab leads: the server takes each key once all the same; only the order among tabs is nobody's then.
 */
export function lead(name: string, shared: boolean, env: Env, elected: () => void): Leadership {
  let leads = false, resigned = false, release = () => {};
  const take = () => {
    leads = true;
    elected();
  };
  if (!shared || !env.locks) take();
  else {
    void env.locks.request(name, { mode: "exclusive" }, () => {
      if (resigned) return undefined;
      take();
      return new Promise<void>(resolve => { release = resolve; });
    });
  }
  return {
    leads: () => leads,
    resign() {
      resigned = true;
      leads = false;
      release();
    },
  };
}
