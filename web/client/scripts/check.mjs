// What the package promises, checked: types that are current, a build that every bundler and resolver takes, and its size.
import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT = 22_200; // bytes of the core, minified and gzipped, with graphql-ws (3,300) and idb (1,400) in it
const run = (name, ...args) => execFileSync(process.execPath, [name, ...args], { stdio: "inherit" });
const { outputFiles } = await build({ entryPoints: ["dist/index.js"], bundle: true, minify: true, format: "esm", target: "es2022", write: false });
const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`the core is ${size} bytes, gzipped`);
if (size > LIMIT) {
  console.error(`past ${LIMIT} bytes`);
  process.exitCode = 1;
}
run("scripts/codegen.mjs", "--check");
run("node_modules/typescript/bin/tsc", "--noEmit");
run("node_modules/typescript/bin/tsc", "-p", "test/nextjs.tsconfig.json");
run("node_modules/publint/src/cli.js", "--strict");
run("node_modules/@arethetypeswrong/cli/dist/index.js", "--pack", ".", "--profile", "esm-only", "--quiet");
