import type { Connection } from "./connection.js";
import { type Env, listen } from "./env.js";
import { Heartbeat } from "./generated.js";
import { type Readable, store } from "./store.js";

export interface Activity extends Readable<{ hidden: boolean; idle: boolean }> {
  /** There was input, for apps whose input no window hears. */
  active(): void;
}

/** After this long without input the user counts as idle here; when others see it, the server decides. */
const IDLE = 300_000, INPUT = "mousemove mousedown pointerdown keydown touchstart wheel scroll click";

/**
 * Tells the server what it cannot know: input, and whether the page is hidden. At the edges at once, between them at most once in an
 * interval, and nothing while there is nothing new: the server runs the timers, so that a page that is frozen is not online for ever.
 */
export function createActivity(connection: Connection, env: Env, idleAfter: () => number = () => IDLE): Activity {
  const hidden = () => env.document?.hidden ?? false;
  const state = store({ hidden: hidden(), idle: false });
  let lastInput = Date.now(), told = 0, fresh = false, every = 30_000, running = false, said = false; // fresh: there was input that was not told; said: that the page is hidden
  let beat: ReturnType<typeof setTimeout> | undefined, idle: ReturnType<typeof setTimeout> | undefined;

  /** What is told then. */
  const is = () => {
    fresh = false;
    return { hidden: (said = hidden()), lastActivityAgoMs: Math.min(Math.max(0, Date.now() - lastInput), 86_400_000) };
  };
  async function tell() {
    clearTimeout(beat);
    beat = undefined;
    if (!running || connection.get().state !== "connected") return;
    const active = fresh;
    told = Date.now();
    await connection.request(Heartbeat, { input: { active, ...is() } }, { socketOnly: true })
      .catch(() => {
        fresh ||= active;
        beat ??= setTimeout(tell, every); // also that the page is hidden, which nothing else says again
      });
  }
  function active() {
    const now = Date.now(), wasIdle = state.get().idle, since = now - told;
    lastInput = now;
    fresh = true;
    if (wasIdle) state.set({ ...state.get(), idle: false });
    idle ??= setTimeout(rest, idleAfter());
    if (wasIdle || since >= every || since < 0) void tell(); // below: the clock was set back
    else beat ??= setTimeout(tell, every - since);
  }
  function rest() {
    idle = undefined;
    const now = Date.now();
    lastInput = Math.min(lastInput, now);
    const left = lastInput + idleAfter() - now;
    if (left > 0) idle = setTimeout(rest, left);
    else state.set({ ...state.get(), idle: true });
  }
  let offs: (() => void)[] = [];
  const begin = () => {
    running = true;
    idle ??= setTimeout(rest, idleAfter());
    offs = [
      listen(env.window, INPUT, active),
      listen(env.document, "visibilitychange", () => {
        state.set({ ...state.get(), hidden: hidden() });
        if (!hidden()) { // who shows a page is there
          lastInput = Date.now();
          fresh = true;
        }
        void tell();
      }),
    ];
  };
  const end = () => {
    running = false;
    clearTimeout(beat);
    clearTimeout(idle);
    beat = idle = undefined;
    offs.forEach(f => f());
  };
  connection.events.on("begin", begin);
  connection.events.on("end", end);
  connection.events.on("opening", params => Object.assign(params, is()));
  connection.events.on("up", ack => {
    every = ack.heartbeatIntervalMs || every;
    told = Date.now();
    if (fresh || said !== hidden()) void tell(); // since it was dialled
  });
  return { get: state.get, subscribe: state.subscribe, active };
}
