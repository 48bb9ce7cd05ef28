import type { Environment } from "@nchat/realtime";

/** A network with a plug: pulled, this window's sockets drop and nothing is reached, as in a tunnel. */
export function network() {
  const open = new Set<WebSocket>(), listeners = new Set<() => void>(), ears = new EventTarget();
  let up = true;
  for (const event of ["online", "offline"]) {
    window.addEventListener(event, () => {
      if (up) ears.dispatchEvent(new Event(event));
    });
  }
  class Socket extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      if (!up) throw new Error("unplugged");
      super(url, protocols);
      open.add(this);
      this.addEventListener("close", () => open.delete(this));
    }
  }
  // What the client hears of the window, but online and offline by the plug.
  const heard = {
    addEventListener: (...a: Parameters<EventTarget["addEventListener"]>) => (/^(on|off)line$/.test(a[0]) ? ears : window).addEventListener(...a),
    removeEventListener: (...a: Parameters<EventTarget["removeEventListener"]>) => (/^(on|off)line$/.test(a[0]) ? ears : window).removeEventListener(...a),
    dispatchEvent: (e: Event) => window.dispatchEvent(e),
  };
  const environment: Environment = {
    WebSocket: Socket,
    fetch: (...a) => (up ? fetch(...a) : Promise.reject(new TypeError("unplugged"))),
    navigator: { get onLine() { return up && navigator.onLine; } },
    window: heard as EventTarget,
  };
  return {
    environment,
    get: () => up,
    subscribe(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    plug(in_: boolean) {
      up = in_;
      ears.dispatchEvent(new Event(up ? "online" : "offline"));
      if (!up) open.forEach(s => s.close());
      listeners.forEach(l => l());
    },
  };
}

export type Network = ReturnType<typeof network>;
