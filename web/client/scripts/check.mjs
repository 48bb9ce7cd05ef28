// What the package promises, checked: types that are current, a build that every bundler and resolver takes, and its size.
import { execFileSync } from "node:child_process";
import { sizes } from "./size.mjs";

// Bytes, minified and gzipped. core: the connection with graphql-ws (2,900), presence, typing and rooms. whole: what a page loads for all of it.
// later: what comes when a user's queue is opened, IndexedDB with idb.
const MOST = { core: 11_900, whole: 22_500, later: 2_260 };
const run = (name, ...args) => execFileSync(process.execPath, [name, ...args], { stdio: "inherit" });
const whole = await sizes("index"), are = { core: (await sizes("core")).first, whole: whole.first, later: whole.later };
console.log(`gzipped: ${JSON.stringify(are)}`);
for (const [name, most] of Object.entries(MOST)) {
  if (are[name] > most) {
    console.error(`${name} is past ${most} bytes`);
    process.exitCode = 1;
  }
}
run("scripts/codegen.mjs", "--check");
run("node_modules/typescript/bin/tsc", "--noEmit");
run("node_modules/typescript/bin/tsc", "-p", "test/nextjs.tsconfig.json");
run("node_modules/publint/src/cli.js", "--strict");
run("node_modules/@arethetypeswrong/cli/dist/index.js", "--pack", ".", "--profile", "esm-only", "--quiet");
