// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { resolve } from "node:path";
import type { ComponentType, ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import WebSocket from "ws";
import { ALICE, BOB, Browser, GENERAL, until } from "../browser.js";
import { configureRealtime } from "../../src/react.js";
import { calm, token } from "./control.js";

afterEach(cleanup);

// Its types are checked on their own, by test/nextjs.tsconfig.json.
const app = resolve("../../examples/nextjs/app");
const load = (file: string) => import(/* @vite-ignore */ `${app}/${file}`);

test("the page of examples/nextjs: drawn on the server, then live", async () => {
  vi.stubEnv("NEXT_PUBLIC_REALTIME_URL", calm);
  vi.stubEnv("TOKEN", await token(BOB));
  const { GET } = await load("api/token/route.ts") as { GET(): Response };
  vi.stubGlobal("fetch", async (path: string) => (path === "/api/token" ? GET() : Promise.reject(new Error(path))));
  const { default: Layout } = await load("layout.tsx") as { default: ComponentType<{ children: ReactNode }> };
  const { default: Page } = await load("page.tsx") as { default: ComponentType };
  const { Providers } = await load("providers.tsx") as { Providers: ComponentType<{ children: ReactNode }> };
  expect(renderToString(<Layout><Page /></Layout>)).toContain("<h1>general</h1>");

  const alice = new Browser().tab({ url: calm, getToken: () => token(ALICE) });
  alice.rt.connect();
  configureRealtime({ environment: { WebSocket, indexedDB: undefined, fetch: undefined } });
  const { container } = render(<Providers><Page /></Providers>);
  await until("alice is online", () => container.textContent!.includes("Alice is online"));
  await alice.rt.send(GENERAL, "to the page");
  await until("her message", () => screen.getByRole("log").textContent!.includes("to the page"));
  fireEvent.change(screen.getByLabelText("Message"), { target: { value: "from the page" } });
  fireEvent.click(screen.getByText("Send"));
  await until("his message", () => alice.rt.timeline(GENERAL).get().some(m => m.content === "from the page"));
  alice.rt.close();
});
