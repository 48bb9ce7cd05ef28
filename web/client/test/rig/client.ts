// Clients of this package for the rig (internal/rig): a process of Node that has some, each as in a browser of its own, and writes down
// what each was told. Commands come by stdin and what happened goes to stdout, a line of JSON each. It judges nothing.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import type { Message } from "../../src/index.js";
import { Browser } from "../browser.js";

interface Opening {
  do: "open";
  /** The servers, as pages find them behind a balancer: each socket goes to the next one. */
  urls: string[];
  pages: { user: string; token: string }[];
  /** The newest messages of a channel that a page holds. */
  hold: number;
}
type Command = Opening | { do: "send"; page: number; channel: string; key: string } | { do: "count"; n: number };
interface Count { read: number; alive: number }
interface Page { send(channel: string, key: string): void }

// For who wants to see that the rig sees it: the tenth message of another's that pages are told is written down never, twice, or after the next there.
let broken = process.env.RIG_BREAK, after: Line | undefined, told = 0;
interface Line { kind: string; page?: number; channel?: string; own?: boolean; [more: string]: unknown }
const write = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`);
function say(line: Line) {
  const whole = { at: Date.now(), ...line };
  if (line.kind !== "created") return write(whole);
  if (broken && !line.own && ++told >= 10) {
    const how = broken;
    broken = undefined;
    if (how === "later") after = whole;
    if (how === "twice") write(whole);
    else return;
  }
  write(whole);
  if (after && line.page === after.page && line.channel === after.channel) {
    write(after);
    after = undefined;
  }
}

const sockets = new Map<number, Count>();
let dialled = 0;

function open(page: number, { user, token }: Opening["pages"][number], { urls, hold }: Opening): Page {
  const odd = (what: string) => say({ page, kind: "odd", what });
  let turn = page, http = page, newest: Count & { socket: number } = { socket: 0, read: 0, alive: 0 };
  class Counted extends WebSocket {
    constructor(_: string, protocols?: string | string[]) {
      const node = turn++ % urls.length, s = { socket: ++dialled, read: 0, alive: 0 };
      super(urls[node]!.replace(/^http/, "ws"), protocols);
      this.on("open", () => {
        s.alive = Date.now();
        sockets.set(s.socket, s);
        newest = s;
        say({ page, kind: "opened", socket: s.socket, node });
      });
      this.on("message", () => {
        const now = Date.now();
        if (s === newest && now - s.alive > 1000) say({ page, kind: "silent", alive: s.alive });
        s.read++;
        s.alive = now;
      });
      this.on("close", code => sockets.delete(s.socket) && say({ page, kind: "closed", socket: s.socket, read: s.read, code }));
    }
  }
  const { rt } = new Browser().tab({ url: urls[0]!, getToken: () => token, holdMessages: hold }, {
    WebSocket: Counted,
    fetch: (url, init) => fetch(String(url).replace(urls[0]!, urls[http++ % urls.length]!), init),
    random: () => -0.8, // a tenth of the least that it waits before it tries again: the rig waits a minute for all
  });

  // What it knows: of a fresh start what the pages brought, which is history and not announced; from there on what is announced. Changes that
  // pages of sync bring are not: they are looked for once all pages are there.
  const announced = new Set<string>(); // since the fresh start
  let versions = new Map<string, number>(), fresh = true, based = false;
  const tell = (kind: string, m: Pick<Message, "id" | "channelId" | "version" | "senderId"> & { seq: string | null }) => {
    versions.set(m.id, m.version);
    say({ page, kind, channel: m.channelId, seq: Number(m.seq), id: m.id, version: m.version, own: m.senderId === user });
  };
  rt.on("message", m => {
    if (fresh) announced.add(m.id);
    tell("created", m);
  });
  rt.on("message:updated", m => tell("updated", m));
  rt.on("message:deleted", ({ messageId }) => odd(`message ${messageId} is deleted`));
  rt.on("channel:left", id => odd(`channel ${id} is left`));
  rt.channels.subscribe(() => {
    if (rt.channels.get().size) return;
    if (based) say({ page, kind: "reset" });
    [fresh, based] = [true, false];
    announced.clear();
  });
  rt.sync.events.on("progress", ({ progress }) => {
    if (progress < 90) return;
    const now = new Map<string, number>();
    for (const { channelId, lastSeq } of rt.channels.get().values()) {
      let base = Number(lastSeq);
      for (const m of rt.timeline(channelId).get()) {
        if (!m.seq) continue;
        now.set(m.id, m.version);
        if (fresh && !announced.has(m.id)) base = Math.max(base, Number(m.seq));
        else if (!fresh && m.version > (versions.get(m.id) ?? Infinity)) tell("updated", m);
      }
      if (fresh) say({ page, kind: "base", channel: channelId, seq: base });
    }
    versions = now;
    [fresh, based] = [false, true];
  });
  rt.sync.events.on("failed", e => !e.retryable && odd(`sync: ${e.code}: ${e.message}`));

  const queued = new Map<string, { began: number; place: number }>();
  let place = 0;
  rt.queue.events.on("sent", m => {
    const key = m.clientMessageId!, q = queued.get(key);
    if (!q) return odd(`${key} is sent, and does not wait`);
    queued.delete(key);
    const here = rt.timeline(m.channelId).get().some(x => x.id === m.id && x.seq === m.seq);
    say({ page, kind: "sent", key, channel: m.channelId, seq: Number(m.seq), id: m.id, here, ...q });
  });
  rt.queue.events.on("failed", q => say({ page, kind: "failed", key: q.clientMessageId, what: `the queue: ${q.error?.code}: ${q.error?.message}` }));

  rt.connection.events.on("up", () => say({ page, kind: "there", socket: newest.socket }));
  rt.connection.events.on("down", () => say({ page, kind: "gone", alive: newest.alive }));
  rt.connection.events.on("state", ({ state, error }) => {
    if (state === "failed" || state === "needs-auth") odd(`${state}: ${error?.code}: ${error?.message}`);
  });
  rt.connect();
  return {
    send(channelId, key) {
      queued.set(key, { began: Date.now(), place: ++place });
      rt.queue.send({ channelId, clientMessageId: key, content: `message ${key}` }).catch(e => odd(String(e)));
    },
  };
}

let pages: Page[] = [];
createInterface({ input: process.stdin }).on("line", text => {
  const command = JSON.parse(text) as Command;
  switch (command.do) {
    case "open":
      pages = command.pages.map((p, i) => open(i, p, command));
      break;
    case "send":
      pages[command.page]!.send(command.channel, command.key);
      break;
    case "count":
      say({ kind: "counts", n: command.n, reads: Object.fromEntries([...sockets].map(([id, s]) => [id, s.read])) });
  }
}).on("close", () => process.exit());
