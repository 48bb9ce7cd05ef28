// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterAll, afterEach, expect, test } from "vitest";
import WebSocket from "ws";
import { ALICE, BOB, Browser, CAROL, DM, GENERAL, TEAM, THREAD, until } from "../browser.js";
import { Chat, ChatApp, Small, UserList } from "../examples/call-sites.js";
import { MessageInput } from "../examples/message-input.js";
import { Providers } from "../examples/providers.js";
import * as services from "../examples/services.js";
import { UserPresenceIndicator } from "../examples/user-presence-indicator.js";
import { createRealtime } from "../../src/index.js";
import { configureRealtime, RealtimeProvider, useDelivery, useMessages, useRealtime, useSync } from "../../src/react.js";
import { realtimeClient } from "../../src/services.js";
import { calm, direct, person, token } from "./control.js";

const environment = { WebSocket, indexedDB: undefined, fetch: undefined }; // happy-dom's fetch asks for permission first
afterEach(cleanup);
afterAll(() => new Promise(r => setTimeout(r, 1500))); // providers let go a second after the last

test("the examples of the source document: provider, input, indicator", async () => {
  const id = await person("Heidi", TEAM), other = new Browser().tab({ url: calm, getToken: () => token(id) });
  other.rt.connect();
  const at = other.rt.typing.room(TEAM), stop = at.subscribe(() => {});
  configureRealtime({ url: calm, getToken: () => token(ALICE), environment });
  const { container } = render(<StrictMode><Providers><MessageInput channelId={TEAM} /><UserPresenceIndicator userId={id} /><ChatApp /></Providers></StrictMode>);
  await until("connected", () => container.textContent!.includes("Status: connected on"));
  await until("her presence", () => container.querySelector(".bg-green-500"));
  await act(() => other.rt.presence.setCustomStatus({ text: "Lunch", emoji: "🍜" }));
  await until("her line", () => container.textContent!.includes("🍜 Lunch"));
  const input = screen.getByLabelText("message") as HTMLInputElement;
  fireEvent.change(input, { target: { value: "typed in react" } });
  await until("alice types", () => at.get()?.users.some(u => u.userId === ALICE));
  fireEvent.submit(input.form!);
  await until("the message", () => other.rt.timeline(TEAM).get().some(m => m.content === "typed in react"));
  await until("no more typing", () => at.get()?.totalCount === 0);
  await act(() => other.rt.presence.setCustomStatus(null));
  stop();
  other.rt.close();
});

test("counted: two parts watch a user, one goes, the other still sees; StrictMode connects once", async () => {
  const dials: unknown[] = [];
  class Counted extends WebSocket { constructor(...args: ConstructorParameters<typeof WebSocket>) { super(...args); dials.push(args[0]); } }
  const client = createRealtime({ url: calm, getToken: () => token(BOB), environment: { ...environment, WebSocket: Counted } });
  const id = await person("Ivan"), ivan = new Browser().tab({ url: calm, getToken: () => token(id) });
  const Two = ({ second }: { second: boolean }) => <><UserPresenceIndicator userId={id} />{second && <div data-testid="b"><UserPresenceIndicator userId={id} /></div>}</>;
  const page = (second: boolean) => <StrictMode><RealtimeProvider client={client}><Two second={second} /><UserList userIds={[id]} /><Chat /><Small userId={id} dmId={DM} channelId={GENERAL} threadId={THREAD} /></RealtimeProvider></StrictMode>;
  const { rerender, container } = render(page(true));
  await until("he is offline", () => screen.queryByTestId("b")?.querySelector(".bg-gray-500"));
  expect(dials).toHaveLength(1);
  rerender(page(false));
  await new Promise(r => setTimeout(r, 1300)); // past the grace of what was let go
  ivan.rt.connect();
  await until("the other still sees", () => container.querySelector(".bg-green-500"));
  ivan.rt.close();
  client.close();
});

test("messages, delivery and sync as hooks", async () => {
  const client = createRealtime({ url: calm, getToken: () => token(BOB), environment });
  function Log() {
    const messages = useMessages(TEAM), { pending, failed } = useDelivery(), { isSynchronized, progress } = useSync(), { client: rt } = useRealtime();
    return <div><b>{isSynchronized ? `all ${progress}` : "…"}</b><i>{pending} {failed}</i><button onClick={() => void rt.send(TEAM, "by hook")}>send</button>
      <ul>{messages.filter(m => m.content === "by hook").map(m => <li key={m.clientMessageId}>{m.status}</li>)}</ul></div>;
  }
  const { container } = render(<RealtimeProvider client={client}><Log /></RealtimeProvider>);
  await until("synchronized", () => container.querySelector("b")!.textContent === "all 100");
  fireEvent.click(screen.getByText("send"));
  await until("sent", () => /sent|delivered/.test(container.querySelector("li")?.textContent ?? ""));
  expect(container.querySelectorAll("li")).toHaveLength(1);
  await until("nothing waits", () => container.querySelector("i")!.textContent === "0 0");
  client.close();
});

test("on the server it draws, and touches nothing", () => {
  const html = renderToString(<Providers><MessageInput channelId={TEAM} /><UserPresenceIndicator userId={CAROL} /><UserList userIds={[CAROL]} /><ChatApp /></Providers>);
  expect(html).toContain("Status: <!-- -->disconnected");
});

test("the examples of the source document: services", async () => {
  const logged: string[] = [], log = (...what: unknown[]) => void logged.push(what.map(String).join(" "));
  configureRealtime({ environment });
  const me = await person("Sybil", GENERAL), dm = await direct(me, BOB); // whose settings are nobody else's test's
  const { response, unsub } = await services.client(calm, await token(me), GENERAL, log);
  expect(response).toMatchObject({ roomName: `channel:${GENERAL}` });
  const bob = new Browser().tab({ url: calm, getToken: () => token(BOB) });
  bob.rt.connect();
  const seen = bob.rt.typing.room(GENERAL), stop = seen.subscribe(() => {});
  await until("types", () => seen.get()?.users.some(u => u.userId === me));
  const { queued, flushed, result, messages } = await services.queueAndSync(GENERAL, log);
  expect(flushed.failed).toBe(0);
  expect(result).toMatchObject({ messages: { conflicts: 0, errors: 0 }, queueFlushed: { failed: 0 } });
  await until("hello", () => bob.rt.timeline(GENERAL).get().some(m => m.content === "Hello!"));
  expect(queued.clientMessageId).toMatch(/^q_\d+_/);
  services.delivery(messages.at(-1)!.id, GENERAL, log);
  services.typing(me, GENERAL, THREAD, dm, log).stop();
  const { visibility } = await services.presence(me, BOB, log);
  expect(visibility).toMatchObject({ canViewPresence: true, isInvisible: false });
  await until("bob's presence and a delivery", () => logged.some(l => l === `${BOB} is now online`) && logged.some(l => l.startsWith("Flushed")));
  await bob.rt.send(GENERAL, "for her log");
  await until("an event of before", () => logged.some(l => l.startsWith("New message:")));
  unsub();
  stop();
  bob.rt.close();
  realtimeClient.disconnect();
});
