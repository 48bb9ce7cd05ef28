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

test("a WebSocket that cannot even be made is one that ended, at once", async () => {
  const thrown: unknown[] = [], note = (e: unknown) => thrown.push(e);
  process.on("unhandledRejection", note);
  const Refused = Object.assign(function () { throw new Error("not on this page"); }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
  const closed: unknown[] = [];
  openSocket("ws://127.0.0.1:1", {}, Refused, { ack() {}, frame() {}, pong() {}, closed: (code, why) => closed.push([code, why]) });
  await new Promise(r => setTimeout(r, 50));
  process.off("unhandledRejection", note);
  expect([closed, thrown]).toEqual([[[1006, "not on this page"]], []]);
});
