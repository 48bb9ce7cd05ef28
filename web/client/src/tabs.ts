import { type Database, openDatabase } from "./database.js";
import type { Env } from "./env.js";
import { type Leadership, lead } from "./leader.js";
import type { Desk } from "./outbox.js";
import type { Message } from "./types.js";

export interface News {
  sent?: Message[];
  failed?: string[];
  discarded?: number;
  /** The user signed out in another tab. */
  left?: boolean;
}

export interface Tabs {
  /** The desk of the user it is, once that is known. */
  desk(): Promise<Desk>;
  open(userId: string): Promise<Desk>;
  leads(): boolean;
  /** Where what is synchronized is kept: by the tab that leads alone, and nowhere where that cannot be told. */
  cache(): Database | null;
  close(): void;
  /** Removes what is stored, and tells the other tabs. */
  wipe(): Promise<void>;
}

export function createTabs(prefix: string, keep: number, env: Env, on: { elected(late: boolean): void; heard(news: News): void; signedOut(): void }): Tabs {
  let current: { db: Database; leader: Leadership; channel?: BroadcastChannel; desk: Desk; shared: boolean } | undefined;
  let known!: (desk: Desk) => void, desk = new Promise<Desk>(r => { known = r; });

  async function open(userId: string) {
    close();
    const name = `${prefix}:${userId}`, db = await openDatabase(name, keep, env), shared = db.persistence === "indexeddb";
    let loaded = false;
    const leader = lead(name, shared, env, () => on.elected(loaded));
    const channel = shared && env.BroadcastChannel ? new env.BroadcastChannel(name) : undefined;
    if (channel) {
      (channel as BroadcastChannel & { unref?(): void }).unref?.();
      channel.onmessage = ({ data }: MessageEvent<News>) => (data.left ? on.signedOut() : on.heard(data));
    }
    await new Promise(r => setTimeout(r)); // a lock that is free is there now, before anything is read
    loaded = true;
    const desk: Desk = { db, leads: () => current?.db === db && leader.leads(), ring: news => current?.db === db && channel?.postMessage(news) };
    current = { db, leader, channel, desk, shared };
    known(desk);
    return desk;
  }
  function close() {
    const old = current;
    if (!old) return;
    current = undefined;
    desk = new Promise<Desk>(r => { known = r; });
    old.leader.resign();
    old.channel?.close();
    old.db.close();
  }
  return {
    desk: () => desk,
    open,
    leads: () => current?.leader.leads() ?? false,
    cache: () => (current?.shared && env.locks && current.leader.leads() ? current.db : null),
    close,
    async wipe() {
      const old = current;
      if (!old) return;
      old.channel?.postMessage({ left: true } satisfies News);
      await old.db.wipe();
      close();
    },
  };
}
