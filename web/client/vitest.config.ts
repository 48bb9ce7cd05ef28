import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Those in test/server need a server: internal/e2e starts one, and says where.
    include: [process.env.NCHAT_TEST_SERVER ? "test/server/*.test.{ts,tsx}" : "test/unit/*.test.{ts,tsx}"],
    pool: "threads",
    maxWorkers: 6, // they wait, and hardly compute
    testTimeout: 30_000,
    reporters: [["default", { summary: false }]],
  },
});
