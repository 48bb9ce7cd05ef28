// Drives the demo in the system's Chromium; each test is a line of JSON, and "kill" and "start" are asked of whoever runs this.
// What the main states look like is left in screens/.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { checklist } from "./checklist.mjs";
import { flaky } from "./flaky.mjs";

const [base, executablePath, operators, operatorsToken] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const say = line => process.stdout.write(JSON.stringify(line) + "\n");
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async what => {
  say({ do: what });
  await answers.next();
};
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const contexts = [];

async function someone(user, size = { width: 1100, height: 700 }, before = async () => {}) {
  const context = await browser.newContext({ viewport: size });
  context.setDefaultTimeout(60_000);
  contexts.push(context);
  await before(context);
  return tab(context, user);
}
async function tab(context, user) {
  const page = await context.newPage();
  page.wrong = [];
  page.on("pageerror", e => page.wrong.push(e.message));
  await page.goto(`${base}/?user=${user}`);
  await page.getByRole("log").getByText("Welcome to general").waitFor();
  return page;
}
const box = page => page.getByRole("textbox", { name: /^Message / });
async function write(page, ...texts) {
  for (const text of texts) {
    await box(page).fill(text);
    await box(page).press("Enter");
  }
}
const message = (page, text) => page.locator(".message", { hasText: text });
const ticks = (page, text, word) => message(page, text).getByRole("img", { name: word, exact: true }).waitFor();
/** Typing is seen for five seconds, which on a busy machine may be over before it is looked for: whoever types goes on until it is. */
async function seenTyping(page, seen) {
  for (const end = Date.now() + 60_000; !(await seen.isVisible());) {
    check(Date.now() < end, "never seen typing");
    await seen.waitFor({ timeout: 2_000 }).catch(() => box(page).press("."));
  }
}
/** What waits is written down, a moment after it is shown: a page that is closed before has lost it. */
const stored = (page, texts) => page.waitForFunction(async texts => {
  let all = "";
  const of = r => new Promise((ok, no) => Object.assign(r, { onsuccess: () => ok(r.result), onerror: () => no(r.error) }));
  for (const { name } of await indexedDB.databases()) {
    const db = await of(indexedDB.open(name));
    for (const s of db.objectStoreNames) all += JSON.stringify(await of(db.transaction(s).objectStore(s).getAll()));
    db.close();
  }
  return texts.every(t => all.includes(t));
}, texts);
const shot = (page, name) => page.screenshot({ path: `screens/${name}.png`, animations: "disabled", caret: "hide" });
const check = (ok, why) => {
  if (!ok) throw new Error(why);
};
/** The texts are there, in this order, each once. */
async function inOrder(page, texts) {
  for (const t of texts) await message(page, t).first().waitFor();
  const all = (await page.locator(".message .bubble > p").allTextContents()).filter(t => texts.includes(t));
  check(all.join() === texts.join(), `${all} instead of ${texts}`);
}
async function audit(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  check(!violations.length, `${where}: ${violations.map(v => `${v.id} ${v.nodes.map(n => n.html.slice(0, 120))}`).join("; ")}`);
}

const tests = {
  async "two side by side see each other"() { // first, for the picture: in a world as it was loaded
    const page = await (await browser.newContext({ viewport: { width: 1440, height: 720 } })).newPage();
    contexts.push(page.context());
    page.setDefaultTimeout(60_000);
    await page.goto(`${base}/?users=alice,bob`);
    const [alice, bob] = ["Alice", "Bob"].map(name => page.frameLocator(`iframe[title=${name}]`));
    for (const window of [alice, bob]) await window.getByRole("log").getByText("Welcome to general").waitFor();
    await write(alice, "The numbers look good. Shall we ship it today?");
    await ticks(alice, "Shall we ship", "Read");
    await box(bob).pressSequentially("Yes, give me five minutes");
    await seenTyping(bob, alice.locator(".typing", { hasText: "Bob is typing" }));
    await shot(page, "pair");
  },
  async "two users chat, typing shows, ticks go to read"() {
    const alice = await someone("alice"), bob = await someone("bob");
    await alice.getByRole("button", { name: "Bob" }).getByRole("img", { name: "Online" }).waitFor();
    await box(alice).pressSequentially("Hello", { delay: 40 });
    await seenTyping(alice, bob.locator(".typing", { hasText: "Alice is typing" }));
    await shot(bob, "typing");
    await write(alice, "Hello Bob");
    await message(bob, "Hello Bob").waitFor();
    await bob.locator(".typing i").waitFor({ state: "detached" });
    await ticks(alice, "Hello Bob", "Read");
    // Bob is elsewhere: delivered, and unread there, until he opens it.
    await bob.getByRole("button", { name: "team" }).click();
    await write(alice, "Are you there?");
    await ticks(alice, "Are you there?", "Delivered");
    await bob.getByRole("button", { name: /general.*unread/ }).click();
    await message(bob, "Are you there?").waitFor();
  },
  async "a custom status and being invisible reach others, and seen-as says so"() {
    const alice = await someone("alice"), carol = await someone("carol");
    const shown = alice.getByRole("complementary").locator(".person", { hasText: "Carol" });
    await carol.getByRole("button", { name: "Custom status" }).click();
    await carol.getByLabel("What you are up to").fill("Writing tests");
    await carol.getByRole("button", { name: "Set", exact: true }).click();
    await shown.getByText("Writing tests").waitFor();
    await carol.getByRole("button", { name: "Settings" }).click();
    await carol.getByText("Be invisible to everybody").click();
    await carol.getByRole("region", { name: "Seen as" }).getByText("Offline").first().waitFor();
    await shown.getByRole("img", { name: "Offline" }).waitFor();
    await shot(carol, "invisible");
    await carol.getByRole("tab", { name: "Sessions" }).click();
    await carol.getByText("(this window)").waitFor();
    await shot(carol, "sessions");
  },
  async "offline queues, and it drains in order; a reload keeps the queue"() {
    const alice = await someone("alice"), bob = await someone("bob"), lines = ["first of three", "second of three", "third of three"];
    await alice.context().setOffline(true);
    await alice.getByText("You are offline").waitFor();
    await write(alice, ...lines);
    await alice.getByText("3 messages wait to be sent").waitFor();
    await ticks(alice, lines[2], "Waits to be sent");
    await shot(alice, "offline");
    await alice.context().setOffline(false);
    await inOrder(bob, lines);
    await alice.getByText("You are offline").waitFor({ state: "detached" });
    await inOrder(alice, lines);
    // Bob pulls the demo's own plug, and reloads: what waited is sent by the new page.
    const kept = ["kept over a reload", "and this too"];
    await bob.getByText("Network").click();
    await write(bob, ...kept);
    await bob.getByText("2 messages wait to be sent").waitFor();
    await stored(bob, kept);
    await bob.reload();
    await inOrder(alice, kept);
    await inOrder(bob, kept);
  },
  async "a queue survives the page, and the server's end"() {
    const alice = await someone("alice"), bob = await someone("bob"), lines = ["written while it was down", "and one more"];
    await ask("kill");
    await write(alice, ...lines);
    await ticks(alice, lines[1], "Waits to be sent");
    await stored(alice, lines);
    await alice.close(); // with what it holds
    await ask("start");
    const again = await tab(alice.context(), "alice");
    await inOrder(bob, lines);
    await inOrder(again, lines);
  },
  async "a third visit without a network shows what the first two kept"() {
    const alice = await someone("alice"), lines = ["of the first visit", "of the second"];
    const sent = text => message(alice, text).getByRole("img", { name: /Sent|Delivered|Read/ }).waitFor();
    await write(alice, lines[0]);
    await sent(lines[0]);
    await alice.reload();
    await write(alice, lines[1]);
    await sent(lines[1]);
    await alice.routeWebSocket(/graphql/, ws => ws.close());
    await alice.reload(); // at once
    await alice.getByRole("log").getByText("Welcome to general").waitFor();
    await inOrder(alice, lines);
    await alice.getByRole("button", { name: "team" }).waitFor();
  },
  async "two tabs of one user are one"() {
    const one = await someone("alice"), two = await tab(one.context(), "alice"), lines = ["tab one", "tab two", "tab one again"];
    await write(one, lines[0]);
    await message(two, lines[0]).waitFor();
    await write(two, lines[1]);
    await message(one, lines[1]).waitFor();
    await one.close(); // it led
    await write(two, lines[2]);
    await ticks(two, lines[2], "Sent");
    await inOrder(two, lines);
  },
  async "axe finds nothing, light and dark, and the keyboard is enough"() {
    const page = await someone("alice");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await audit(page, `${colorScheme} window`);
      await shot(page, colorScheme);
    }
    await page.getByRole("button", { name: "Settings" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").getByText("Seen by a contact").waitFor();
    await audit(page, "settings");
    await page.getByRole("tab", { name: "Sessions" }).click();
    await page.getByText("(this window)").waitFor();
    await audit(page, "sessions");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const start = await page.context().newPage();
    await start.goto(base);
    await start.getByRole("heading", { name: "nchat-realtime" }).waitFor();
    await audit(start, "start");
    await shot(start, "start");
  },
  async "operators see sessions and no user, and end one by the keyboard, light and dark"() {
    const bob = await someone("bob"), page = await bob.context().newPage();
    page.on("pageerror", e => bob.wrong.push(e.message));
    page.on("console", m => { if (m.type() === "error" && !m.text().includes("401")) bob.wrong.push(m.text()); }); // what its policy refuses is told there
    await page.goto(`${operators}/admin/`);
    await page.getByLabel("ADMIN_TOKEN").fill("not the token of this server");
    await page.keyboard.press("Enter");
    await page.getByText("not this server's ADMIN_TOKEN").waitFor();
    await page.getByLabel("ADMIN_TOKEN").fill(operatorsToken);
    await page.keyboard.press("Enter");
    await page.getByText("live", { exact: true }).waitFor();
    await page.getByRole("cell", { name: "(this one)" }).waitFor();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await audit(page, `operators, ${colorScheme}`);
    }
    check(!/bob|00000000-0000-4000-8000/i.test(await page.locator("body").innerText()), "a user is named");
    const sessions = page.locator("#sessions button"), before = await sessions.count();
    check(before > 0, "no session is shown");
    await sessions.first().focus();
    const ended = await sessions.first().getAttribute("data-of");
    await page.keyboard.press("Enter");
    const asking = await sessions.first().elementHandle();
    await page.getByRole("dialog").getByText(`End session ${ended}?`).waitFor();
    await page.waitForFunction(b => !b.isConnected, asking); // the page goes on under the question
    await page.keyboard.press("Escape"); // and nothing is ended
    await page.waitForFunction(id => document.activeElement?.getAttribute("data-of") === id, ended);
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByText("ended", { exact: true }).or(page.getByText("live", { exact: true })).waitFor();
    await page.locator(`#sessions [data-of="${ended}"]`).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("paused", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("ADMIN_TOKEN").waitFor();
  },
  async "the playground is GraphiQL: a token, a subscription, a query, the schema's docs, history"() {
    const context = await browser.newContext(), page = await context.newPage(), wrong = [];
    contexts.push(context);
    page.on("pageerror", e => wrong.push(e.message));
    page.on("console", m => { if (m.type() === "error") wrong.push(m.text()); });
    page.on("request", r => { if (!/^(blob|data):/.test(r.url()) && new URL(r.url()).host !== new URL(base).host) wrong.push(`asked elsewhere: ${r.url()}`); });
    await page.goto(`${base}/playground`);
    await page.getByLabel("Token").fill(await (await fetch(`${base}/demo/token?user=bob`)).text());
    await page.keyboard.press("Enter");
    const run = page.getByRole("button", { name: /^Execute query/ }), stop = page.getByRole("button", { name: /^Stop query/ });
    page.setDefaultTimeout(60_000);
    const shows = async text => page.waitForFunction(t => document.querySelector(".result-window")?.textContent.replace(/\s+/g, "").includes(t), text);
    // A subscription stays, and is told what others do.
    await page.getByRole("tab", { name: "WatchAlice" }).waitFor();
    // Before its editors are there GraphiQL does nothing at a click: whoever sees that clicks again.
    for (const begun = Date.now(); !(await stop.isVisible()) && Date.now() - begun < 60_000;) {
      await run.click({ timeout: 5_000 }).catch(() => {});
      await stop.waitFor({ timeout: 2_000 }).catch(() => {});
    }
    await page.getByText("connected as 00000000-0000-4000-8000-000000000002").waitFor();
    await shows('"presenceChanged":');
    await someone("alice");
    await shows('"status":"online"');
    await stop.click();
    await page.getByRole("tab", { name: "ServerSettings" }).click();
    await page.getByRole("tab", { name: "ServerSettings", selected: true }).waitFor();
    await run.click();
    await shows('"heartbeatIntervalMs":30000');
    await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
    await page.locator(".graphiql-doc-explorer").getByText("Subscription", { exact: true }).first().waitFor();
    await page.getByRole("button", { name: "Show History" }).click();
    await page.locator(".graphiql-history").getByText("WatchAlice").waitFor();
    check(!wrong.length, `its policy, or something in it, is wrong: ${wrong.join("; ")}`);
  },
};

// ONLY=words: those tests alone whose names have them.
const tools = { base, operators, operatorsToken, someone, box, write, message, ticks, check, inOrder, audit, ask };
const seconds = Number(process.env.SOAK_SECONDS ?? 0), all = seconds ? flaky(tools, seconds) : { ...tests, ...checklist(tools) };
for (const [name, run] of Object.entries(all)) {
  if (!name.includes(process.env.ONLY ?? "")) continue;
  const begun = Date.now();
  let error = "";
  try {
    await run();
    for (const p of contexts.flatMap(c => c.pages())) check(!p.wrong?.length, `thrown: ${p.wrong?.join("; ")}`);
  } catch (e) {
    error = String(e.stack ?? e);
    for (const c of contexts) for (const p of c.pages()) error += `\n--- ${p.url()}\n${(await p.locator("body").innerText().catch(() => "")).slice(0, 1200)}`;
  }
  await Promise.all(contexts.splice(0).map(c => c.close()));
  say({ name, error, ms: Date.now() - begun });
}
await browser.close();
process.exit(0);
