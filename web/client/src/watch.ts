import type { Connection } from "./connection.js";
import { pause, type RealtimeError } from "./errors.js";
import type { Doc } from "./generated.js";

/** Subscriptions over a set of keys that changes: what is added comes by a small one of its own, and many small ones become one. */
export interface Watch {
  /** Watches a key while held, and a second longer. */
  hold(key: string): () => void;
  /** It is held, and watched already. */
  has(key: string): boolean;
}

interface Part {
  keys: Set<string>;
  stop(): void;
}

const PARTS = 6;

export function createWatch<R, V>(connection: Connection, random: () => number, doc: Doc<R, V>, variables: (keys: string[]) => V, most: () => number, next: (data: R) => void, released?: (key: string) => void, denied?: (key: string, error: RealtimeError) => void): Watch {
  const held = new Map<string, number>(), refused = new Set<string>(), parts = new Set<Part>();
  const resting = new Map<string, object>(); // keys that failed for now: they wait, and nobody else with them
  let timer: ReturnType<typeof setTimeout> | undefined, failures = 0;
  const soon = () => { timer ??= setTimeout(update, 10); };
  function rest(keys: string[], ms: number) {
    const mine = {};
    keys.forEach(k => resting.set(k, mine));
    setTimeout(() => {
      keys.forEach(k => resting.get(k) === mine && resting.delete(k));
      soon();
    }, ms);
  }

  function begin(keys: string[]) {
    const part: Part = { keys: new Set(keys), stop: () => {} };
    const end = (error: RealtimeError | null) => {
      if (!parts.delete(part) || error?.code === "connection-lost") return;
      if (error && !error.retryable) {
        // One key of several may be the reason: halves find it.
        if (keys.length > 1) {
          const half = keys.length >> 1;
          begin(keys.slice(0, half));
          begin(keys.slice(half));
        } else {
          refused.add(keys[0]!);
          denied?.(keys[0]!, error);
        }
      } else rest(keys, pause(error, failures++, random));
    };
    parts.add(part);
    part.stop = connection.once(doc, variables(keys), {
      next({ data, errors }) {
        if (!parts.has(part)) return;
        if (!data) return end(errors[0] ?? null);
        failures = 0;
        next(data);
      },
      end,
    });
  }
  function drop(part: Part) {
    parts.delete(part);
    part.stop();
  }
  function update() {
    timer = undefined;
    if (connection.get().state !== "connected") return;
    const watched = new Set([...parts].flatMap(p => [...p.keys]));
    const wanted = [...held.keys()].filter(k => !refused.has(k) && !resting.has(k));
    let missing = wanted.filter(k => !watched.has(k));
    const idle = [...watched].filter(k => !held.has(k)).length;
    for (const part of parts) if (![...part.keys].some(k => held.has(k))) drop(part);
    if ((missing.length && parts.size >= PARTS) || idle * 2 > watched.size) {
      parts.forEach(drop);
      missing = wanted;
    }
    for (let i = 0; i < missing.length; i += most()) begin(missing.slice(i, i + most()));
  }
  connection.events.on("up", () => {
    refused.clear();
    resting.clear();
    failures = 0;
    soon();
  });
  connection.events.on("down", () => parts.forEach(drop));
  return {
    has: key => held.has(key) && [...parts].some(p => p.keys.has(key)),
    hold(key) {
      held.set(key, (held.get(key) ?? 0) + 1);
      soon();
      let mine = true;
      return () => {
        if (!mine) return;
        mine = false;
        setTimeout(() => {
          const n = held.get(key)! - 1;
          if (n) held.set(key, n);
          else {
            held.delete(key);
            refused.delete(key);
            released?.(key);
            soon();
          }
        }, 1000);
      };
    },
  };
}
