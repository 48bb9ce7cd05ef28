import { afterAll, expect, test } from "vitest";
import WebSocket from "ws";
import { createCore } from "../../src/core.js";
import { BOB, GENERAL, until } from "../browser.js";
import { calm, person, token } from "./control.js";

const clients: ReturnType<typeof createCore>[] = [];
afterAll(() => clients.forEach(c => c.close()));
function open(user: string) {
  const client = createCore({ url: calm, getToken: () => token(user), environment: { WebSocket } });
  clients.push(client);
  client.connect();
  return client;
}

// The part of the client for who wants no messages of it: all it has works without the others.
test("who is there, who types and how one is seen, without a queue or a sync", async () => {
  const id = await person("Heidi", GENERAL), bob = open(BOB), heidi = bob.presence.user(id), room = bob.typing.room(GENERAL), ends = [heidi.subscribe(() => {}), room.subscribe(() => {})];
  await until("not yet", () => heidi.get()?.status === "offline");
  const own = open(id);
  await until("online", () => heidi.get()?.status === "online");
  await until("limits", () => own.config.get()?.maxBatch === 100);
  expect(own.user.get()).toBe(id);
  own.typing.start(GENERAL);
  await until("types", () => room.get()?.users.some(u => u.userId === id));
  own.typing.stop(GENERAL);
  await until("types no more", () => room.get()?.users.every(u => u.userId !== id));
  await until("its settings", () => own.presence.settings.get()?.invisibleMode === false);
  await own.presence.setInvisible(true);
  await until("invisible", () => heidi.get()?.status === "offline");
  expect(own.presence.settings.get()?.invisibleMode).toBe(true);
  ends.forEach(end => end());
  own.close();
  expect(own.connection.get().state).toBe("closed");
});
