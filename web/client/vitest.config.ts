import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // For examples/nextjs, which has no packages of its own here.
  resolve: {
    alias: [
      { find: "@nchat/realtime/react", replacement: fileURLToPath(new URL("src/react.ts", import.meta.url)) },
    ],
    dedupe: ["react", "react-dom"],
  },
  server: { fs: { allow: ["../.."] } },
  test: {
    // Those in test/server need a server: internal/e2e starts one, and says where.
    include: [process.env.NCHAT_TEST_SERVER ? "test/server/*.test.{ts,tsx}" : "test/unit/*.test.{ts,tsx}"],
    pool: "threads",
    maxWorkers: 6, // they wait, and hardly compute
    testTimeout: 180_000,
    reporters: [["default", { summary: false }]],
  },
});
