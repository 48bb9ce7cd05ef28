// @vitest-environment happy-dom
import { cleanup, render } from "@testing-library/react";
import { createElement as h } from "react";
import { expect, test } from "vitest";
import type { Environment, Realtime } from "../../src/index.js";
import { RealtimeProvider, useRealtimeClient } from "../../src/react.js";
import { until } from "../browser.js";
import { Wire } from "./wire.js";

test("a provider that goes lets go of the queue: another one, or the same mounted again, sends", async () => {
  const wire = new Wire(), { indexedDB, locks, BroadcastChannel } = wire.browser;
  let of!: Environment;
  const tab = wire.browser.tab.bind(wire.browser);
  wire.browser.tab = (o, more) => {
    of = { ...more, indexedDB, locks, BroadcastChannel };
    return tab(o, more);
  };
  wire.tab();
  const clients: Realtime[] = [];
  const Get = () => {
    const rt = useRealtimeClient();
    if (clients.at(-1) !== rt) clients.push(rt);
    return null;
  };
  const page = (debug: boolean, autoConnect = true) => h(RealtimeProvider, { serverUrl: "http://server.test", getToken: () => "a.b.c", debug, autoConnect, options: { userId: "a", environment: of }, children: h(Get) });
  const count = () => wire.of("Send").length;
  async function sends(rt: Realtime) {
    const before = count();
    await until("connected", () => rt.sync.get().state === "synchronized");
    await rt.send("c1", "x");
    await until("sent", () => count() > before);
    await rt.queue.clear();
  }
  const { rerender, unmount } = render(page(false));
  await sends(clients[0]!);
  rerender(page(true)); // another client; the first leads for a second
  await until("another client", () => clients.length === 2);
  await sends(clients[1]!);
  rerender(page(true, false));
  await until("let go", () => clients[1]!.connection.get().state === "closed");
  rerender(page(true));
  await sends(clients[1]!);
  unmount();
  render(page(false));
  await until("a third", () => clients.length === 3);
  await sends(clients[2]!);
  cleanup();
  await until("let go", () => clients[2]!.connection.get().state === "closed");
  expect((await locks.query()).held).toEqual([]);
});
