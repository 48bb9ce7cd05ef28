// @vitest-environment happy-dom
import { act, cleanup, render } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { StrictMode } from "react";
import { RealtimeProvider, useRealtimeContext, useRealtimePresence, useRealtimeRooms, useRealtimeTyping, type UseRealtimeTypingReturn, useTypingIndicatorDisplay } from "../../src/react.js";
import { until } from "../browser.js";
import { Wire } from "./wire.js";

afterEach(cleanup);
const page = () => {
  const wire = new Wire(), tab = wire.tab({ storage: "memory" });
  return { wire, tab, rt: tab.rt, said: () => wire.operations.filter(o => /Typing$/.test(o.name)).map(o => o.name) };
};

test("who only shows that others type takes back nothing when it goes; who types does", async () => {
  const { rt, said, wire } = page();
  let own!: UseRealtimeTypingReturn;
  const Composer = () => { own = useRealtimeTyping("c1"); return null; }, Shown = () => { useTypingIndicatorDisplay("c1"); return null; };
  const draw = (composer: boolean, shown: boolean) => <RealtimeProvider client={rt}>{composer && <Composer />}{shown && <Shown />}</RealtimeProvider>;
  const { rerender } = render(draw(true, true));
  await until("connected", () => rt.connection.get().state === "connected");
  act(() => own.handleInputChange("hel"));
  await until("said", () => said().length === 1);
  rerender(draw(true, false));
  expect(rt.typing.typing("c1")).toBe(true);
  rerender(draw(false, false));
  expect(rt.typing.typing("c1")).toBe(false);
  await until("taken back", () => said().length === 2);
  expect(said()).toEqual(["StartTyping", "StopTyping"]);
  rt.close();
  wire.browser.close();
});

test("isTyping ends with the typing, whatever ended it", async () => {
  const { rt, tab } = page(), seen: boolean[] = [];
  let own!: UseRealtimeTypingReturn;
  const Composer = () => {
    own = useRealtimeTyping("c1");
    if (seen.at(-1) !== own.isTyping) seen.push(own.isTyping);
    return null;
  };
  render(<RealtimeProvider client={rt}><Composer /></RealtimeProvider>);
  await until("connected", () => rt.connection.get().state === "connected");
  act(() => own.handleInputChange("h"));
  act(() => void tab.window.dispatchEvent(new Event("blur")));
  act(() => own.handleInputChange("he"));
  act(() => void rt.send("c1", "he").catch(() => {}));
  expect(seen).toEqual([false, true, false, true, false]);
  rt.close();
});

test("a room that was open from the beginning can be left", async () => {
  const { rt } = page();
  let rooms!: ReturnType<typeof useRealtimeRooms>;
  const Rooms = () => { rooms = useRealtimeRooms({ initialRooms: ["c1", "c2"] }); return null; };
  const { unmount } = render(<RealtimeProvider client={rt}><Rooms /></RealtimeProvider>);
  expect(rooms.roomNames).toEqual(["channel:c1", "channel:c2"]);
  act(() => rooms.leaveRoom("c1"));
  expect(rooms.roomNames).toEqual(["channel:c2"]);
  unmount();
  expect(rt.rooms.get()).toEqual([]);
  rt.close();
});

test("what is held is held on the client that is there now", async () => {
  const [one, two] = [page(), page()], watched = (p: ReturnType<typeof page>) => p.wire.of("PresenceChanged").map(o => o.variables.userIds as unknown as string[]);
  let context!: ReturnType<typeof useRealtimeContext>;
  const Page = () => { context = useRealtimeContext(); return null; };
  const { rerender, unmount } = render(<StrictMode><RealtimeProvider client={one.rt}><Page /></RealtimeProvider></StrictMode>);
  act(() => context.subscribeToPresence(["u1"]));
  await act(() => context.joinRoom("c1").then(() => {}));
  await until("watched", () => watched(one).length);
  rerender(<StrictMode><RealtimeProvider client={two.rt}><Page /></RealtimeProvider></StrictMode>);
  await until("watched on the other", () => watched(two).length);
  expect([one.rt.rooms.get().length, two.rt.rooms.get().map(r => r.name)]).toEqual([0, ["channel:c1"]]);
  act(() => context.leaveRoom("c1"));
  expect(two.rt.rooms.get()).toEqual([]);
  unmount();
  one.rt.close();
  two.rt.close();
});

test("of a room that is not known yet nobody is shown typing, and nothing is said", async () => {
  const { rt, said } = page();
  let own!: UseRealtimeTypingReturn;
  const Composer = ({ id }: { id: string }) => { own = useRealtimeTyping(id); useTypingIndicatorDisplay(id, "thread", "t1"); return null; };
  const draw = (id: string) => <RealtimeProvider client={rt}><Composer id={id} /></RealtimeProvider>, { rerender } = render(draw(""));
  await until("connected", () => rt.connection.get().state === "connected");
  act(() => { own.handleInputChange("h"); own.startTyping(); own.handleMessageSend(); });
  expect([own.typingUsers, own.typingText, own.typingCount, own.isTyping, said()]).toEqual([[], null, 0, false, []]);
  rerender(draw("c1"));
  act(() => own.startTyping());
  expect(own.isTyping).toBe(true);
  rt.close();
});

test("a status that is chosen is shown at once, also without a network; what the server says then counts", async () => {
  const { rt, tab, wire } = page(), seen: string[][] = [];
  let context!: ReturnType<typeof useRealtimeContext>;
  const Page = () => {
    context = useRealtimeContext();
    seen.push([context.presenceStatus, useRealtimePresence().status]);
    return null;
  };
  render(<RealtimeProvider client={rt}><Page /></RealtimeProvider>);
  const tell = async (status: string) => {
    const op = await until("watched", () => wire.of("MyPresence").findLast(o => o.socket.readyState === 1));
    await act(async () => { op.socket.next(op.id, { myPresenceChanged: { status, customStatus: null, invisible: false } }); });
  };
  await tell("online");
  await until("told", () => seen.at(-1)!.join() === "online,online");
  act(() => tab.network(false));
  act(() => context.setPresenceStatus("busy"));
  expect(seen.at(-1)).toEqual(["busy", "online"]);
  act(() => tab.network(true));
  await tell("away");
  await until("told", () => seen.at(-1)!.join() === "away,away");
  rt.close();
});

test("a room of the context is left by any of its names", async () => {
  const { rt } = page();
  let context!: ReturnType<typeof useRealtimeContext>;
  const Page = () => { context = useRealtimeContext(); return null; };
  render(<RealtimeProvider client={rt}><Page /></RealtimeProvider>);
  await act(() => context.joinRoom("c1").then(() => {}));
  act(() => context.leaveRoom("channel:c1"));
  expect(rt.rooms.get()).toEqual([]);
  rt.close();
});
