import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import WebSocket from "ws";
import { openSocket } from "../../src/socket.js";

// What is thrown at nobody ends a process of Node; here it fails the run.
test("one that is ended while it is being dialled, abruptly or not, throws nothing at anybody", async () => {
  const server = createServer(() => {}).listen(0, "127.0.0.1"); // takes connections, and says nothing
  await once(server, "listening");
  const thrown: unknown[] = [], note = (e: unknown) => thrown.push(e);
  process.on("uncaughtException", note);
  for (const abrupt of [true, false]) {
    const met = once(server, "connection");
    const socket = openSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, {}, WebSocket, { ack() {}, frame() {}, pong() {}, closed() {} });
    await met;
    socket.close(abrupt);
    await new Promise(r => setTimeout(r, 50));
  }
  process.off("uncaughtException", note);
  expect(thrown).toEqual([]);
  server.close();
});
