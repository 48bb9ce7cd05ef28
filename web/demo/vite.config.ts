import react from "@vitejs/plugin-react";
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig } from "vite";

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const client = (file: string) => here(`../client/src/${file}`);
const MOST = 2_500_000; // bytes of all that is embedded: GraphiQL 5 with Monaco and its workers is nine tenths of it

/** Leaves of each asset its gzip alone: that is what the program embeds, and what is sent. */
const pack = {
  name: "pack",
  closeBundle() {
    const dir = here("dist/assets/");
    let size = 0;
    for (const name of readdirSync(dir)) {
      const packed = gzipSync(readFileSync(dir + name), { level: 9 });
      writeFileSync(`${dir}${name}.gz`, packed);
      rmSync(dir + name);
      size += packed.length;
    }
    console.error(`the pages are ${size} bytes, packed`);
    if (size > MOST) throw new Error(`past ${MOST} bytes`);
  },
};

// The package is taken from its source beside: no build of it comes first. What it needs is installed here.
export default defineConfig({
  plugins: [react(), pack],
  resolve: {
    alias: [
      { find: /^@nchat\/realtime$/, replacement: client("index.ts") },
      { find: /^@nchat\/realtime\/react$/, replacement: client("react.ts") },
    ],
    dedupe: ["react", "react-dom", "graphql-ws", "idb", "graphql"],
  },
  build: {
    target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 4000,
    rollupOptions: {
      input: [here("index.html"), here("playground.html")],
      onwarn: (w, next) => { if (!/directive/i.test(`${w.code} ${w.message}`)) next(w); }, // GraphiQL's, for a compiler that has run
    },
  },
  server: { proxy: { "/graphql": { target: "http://127.0.0.1:3101", ws: true, changeOrigin: true }, "/v1/": { target: "http://127.0.0.1:3101", ws: true, changeOrigin: true }, "/demo/": "http://127.0.0.1:3101" } },
});
