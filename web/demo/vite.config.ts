import react from "@vitejs/plugin-react";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const client = (file: string) => fileURLToPath(new URL(`../client/src/${file}`, import.meta.url));

// The package is taken from its source beside: no build of it comes first. What it needs is installed here.
export default defineConfig({
  plugins: [react()],
  resolve: {
    alias: [
      { find: /^@nchat\/realtime$/, replacement: client("index.ts") },
      { find: /^@nchat\/realtime\/react$/, replacement: client("react.ts") },
    ],
    dedupe: ["react", "react-dom", "graphql-ws", "idb"],
  },
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  server: { proxy: { "/graphql": { target: "http://127.0.0.1:3101", ws: true, changeOrigin: true }, "/demo/": "http://127.0.0.1:3101" } },
});
