import { afterEach, expect, test, vi } from "vitest";
import { openDatabase } from "../../src/database.js";
import type { Env } from "../../src/env.js";

const asked = vi.hoisted(() => ({ times: 0 }));
vi.mock("../../src/indexed.js", () => {
  asked.times++;
  throw new Error("the network swallowed it");
});
afterEach(() => void vi.useRealTimers());

test("where the code of the storage does not come, the queue lives in memory and says so, and a sign-out still wipes what an earlier visit stored", async () => {
  vi.useFakeTimers();
  const wiped: string[] = [], indexedDB = { deleteDatabase: (name: string) => void wiped.push(name) };
  let db: Awaited<ReturnType<typeof openDatabase>> | undefined;
  void openDatabase("alice", 10, { indexedDB } as unknown as Env).then(opened => { db = opened; });
  await vi.waitUntil(async () => {
    await vi.advanceTimersByTimeAsync(500);
    return db;
  }, 20_000);
  expect(asked.times).toBeGreaterThan(1); // it was asked for again
  expect(db!.persistence).toBe("memory");
  await db!.add({ input: {} as never, checksum: null, createdAt: 0, attempts: 0, notBefore: 0, dead: null });
  expect(await db!.rows()).toHaveLength(1);
  expect(wiped).toEqual([]);
  await db!.wipe();
  expect(wiped).toEqual(["alice"]);
});
