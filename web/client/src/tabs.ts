import { type Database, openDatabase } from "./database.js";
import type { ConnectionState } from "./connection.js";
import type { Env } from "./env.js";
import { type Leadership, lead, PATIENCE } from "./leader.js";
import type { Desk } from "./outbox.js";
import type { Message } from "./types.js";

export interface News {
  sent?: Message[];
  failed?: string[];
  discarded?: number;
  /** Said by the tab that leads to one that says anything: it is not suspended. */
  here?: boolean;
  /** The user signed out in another tab. */
  left?: boolean;
}

export interface Tabs {
  /** The desk of the user it is, once that is known. */
  desk(): Promise<Desk>;
  open(userId: string): Promise<Desk>;
  leads(): boolean;
  /** What the connection is now: who cannot send does not lead for long. */
  heed(state: ConnectionState): void;
  /** Where what is synchronized is kept: by the tab that leads alone, and nowhere where that cannot be told. */
  cache(): Database | null;
  close(): void;
  /** Removes what is stored of this user, or else of the last one, and tells the other tabs; answers how many messages waited there. */
  wipe(userId?: string): Promise<number>;
}

export function createTabs(prefix: string, keep: number, env: Env, on: { elected(): void; heard(news: News): void; signedOut(): void }): Tabs {
  let current: { name: string; db: Database; leader: Leadership; channel?: BroadcastChannel; desk: Desk; shared: boolean } | undefined;
  let now: ConnectionState = "idle";
  let doubt: ReturnType<typeof setTimeout> | undefined; // whether who leads still hears
  let last: string | undefined; // whose was opened last, and not wiped since
  let known!: (desk: Desk) => void, desk = new Promise<Desk>(r => { known = r; });

  async function reach(userId: string) {
    const name = `${prefix}:${userId}`, db = await openDatabase(name, keep, env), shared = db.persistence === "indexeddb";
    const channel = shared && env.BroadcastChannel ? new env.BroadcastChannel(name) : undefined;
    (channel as BroadcastChannel & { unref?(): void } | undefined)?.unref?.();
    return { name, db, shared, channel };
  }
  async function open(userId: string) {
    close();
    last = userId;
    const { name, db, shared, channel } = await reach(userId);
    const leader = lead(name, shared, env, on.elected);
    if (channel) {
      channel.onmessage = ({ data }: MessageEvent<News>) => {
        if (data.left) return on.signedOut();
        if (data.here) return void (doubt = void clearTimeout(doubt));
        if (leader.leads()) channel.postMessage({ here: true } satisfies News);
        on.heard(data);
      };
    }
    const wonder = () => {
      doubt = setTimeout(() => {
        doubt = undefined;
        if (now === "connected") leader.take();
        else wonder();
      }, PATIENCE);
    };
    const desk: Desk = {
      db, leads: () => current?.db === db && leader.leads(),
      ring(news) {
        if (current?.db !== db || !channel) return;
        channel.postMessage(news);
        if (!leader.leads() && !doubt) wonder();
      },
    };
    current = { name, db, leader, channel, desk, shared };
    leader.heed(now);
    known(desk);
    return desk;
  }
  function close() {
    const old = current;
    if (!old) return;
    current = undefined;
    doubt = void clearTimeout(doubt);
    desk = new Promise<Desk>(r => { known = r; });
    old.leader.resign();
    old.channel?.close();
    old.db.close();
  }
  return {
    desk: () => desk,
    open,
    leads: () => current?.leader.leads() ?? false,
    heed(state) {
      now = state;
      current?.leader.heed(now);
    },
    cache: () => (current?.shared && env.locks && current.leader.leads() ? current.db : null),
    close,
    async wipe(userId) {
      const id = userId ?? last;
      if (!id) return 0;
      if (id === last) last = undefined;
      const own = current?.name === `${prefix}:${id}` ? current : undefined; // another may be there by now
      const { db, channel } = own ?? await reach(id), rows = await db.rows().catch(() => []);
      channel?.postMessage({ left: true } satisfies News);
      await db.wipe().catch(() => {});
      if (own && own === current) close();
      channel?.close();
      return rows.length;
    },
  };
}
