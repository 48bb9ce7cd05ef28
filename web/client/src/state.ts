import type { EventsSubscription, SyncQuery } from "./generated.js";
import type { Keeper } from "./keeper.js";
import type { Messages } from "./messages.js";
import { type Emitter, type Family, type Readable, store, type Writable } from "./store.js";
import type { Channel, Delivery, MemberChange, Message, PresenceSettings, ReadState, ThreadState } from "./types.js";

export type Page = SyncQuery["sync"];
export type EventPayload = EventsSubscription["events"]["payload"];

export interface StateEvents {
  /** A message that was not here before, each once; not those of a fresh start, which are history. */
  message: Message;
  "message:updated": Message;
  "message:deleted": { messageId: string; channelId: string };
  delivery: Delivery;
  member: MemberChange;
  "channel:left": string;
}

/** What the server says of the caller's channels, as far as it came here. */
export interface State {
  channels: Readable<ReadonlyMap<string, Channel>>;
  readStates: Family<ReadState>;
  threads: Family<ThreadState>;
  settings: Writable<PresenceSettings | null>;
  /** Applies a page of sync that was asked for at a moment of `messages`; answers how many messages were new. */
  page(page: Page, fresh: boolean, since: number): number;
  /** Applies an event; answers a channel whose messages have to be fetched. */
  event(payload: EventPayload): string | null;
  took(messages: readonly Message[]): void;
  read(states: readonly ReadState[]): void;
  forget(channelId: string): void;
  /** A fresh start: nothing of before is to stay, here and in what is stored. */
  clear(): void;
  /** Another user: nothing of the last one stays on the page. */
  reset(): void;
  /** Takes what was stored; answers the cursor after it. */
  restore(messages: readonly Message[], kv: Map<string, unknown>): string | null;
  /** Everything there is, to be stored in place of what is. */
  all(): { put: Message[]; kv: [string, unknown][] };
}

export function createState(messages: Messages, keeper: Keeper, readStates: Family<ReadState>, threads: Family<ThreadState>, events: Emitter<StateEvents>, me: () => string | null): State {
  const channels = store<ReadonlyMap<string, Channel>>(new Map());
  const settings = store<PresenceSettings | null>(null);
  let told = new Set<string>(), before = new Set<string>(); // ids of messages that were announced: two halves, so that it does not grow

  function announce(m: Message) {
    if (told.has(m.id) || before.has(m.id)) return;
    if (told.size > 5000) [before, told] = [told, new Set()];
    told.add(m.id);
    events.emit("message", m);
  }
  function setChannels(change: (map: Map<string, Channel>) => void) {
    const map = new Map(channels.get());
    change(map);
    channels.set(map);
    keeper.kv("channels", [...map.values()]);
  }
  function read(states: readonly ReadState[]) {
    for (const r of states) {
      readStates.set(r.channelId, r);
      keeper.kv(`read:${r.channelId}`, r);
    }
  }
  function readThreads(states: readonly ThreadState[]) {
    for (const t of states) {
      threads.set(t.threadId, t);
      keeper.kv(`thread:${t.threadId}`, t);
    }
  }
  const begun = new Set<string>(); // channels that began with this page, or one before that had more: what they bring is history; what a direct one brings is not
  // So is what was edited of before all that is here, but for what came with an answer: what was written before that may be to come.
  const answered = new Set<string>();
  const old = (m: Message) => m.version > 1 && Number(m.seq) < Number(messages.get(m.channelId).find(x => !answered.has(x.id))?.seq);
  function take(list: readonly Message[], since?: number, silent?: boolean) {
    const incoming = messages.alive(list, since);
    for (const m of incoming) if (silent || begun.has(m.channelId) || old(m)) told.add(m.id);
    const fresh = messages.put(incoming);
    keeper.put(incoming.filter(m => !m.deletedAt).map(m => messages.find(m.id) ?? m));
    keeper.remove(incoming.filter(m => m.deletedAt).map(m => m.id));
    fresh.forEach(announce);
    return fresh;
  }
  function delivered(list: readonly Delivery[]) {
    for (const d of list) {
      messages.deliver(d);
      events.emit("delivery", d);
    }
    keeper.put(list.flatMap(d => messages.find(d.messageId) ?? []));
  }
  function member(change: MemberChange) {
    const { channelId, memberCount } = change, c = channels.get().get(channelId);
    if (c && memberCount != null) setChannels(map => map.set(channelId, { ...c, memberCount }));
    events.emit("member", change);
  }
  function drop(messageId: string) {
    const m = messages.remove(messageId);
    keeper.remove([messageId]);
    if (m) events.emit("message:deleted", { messageId, channelId: m.channelId });
  }
  function leave(channelId: string) {
    if (channels.get().has(channelId)) setChannels(map => map.delete(channelId));
    forget(channelId);
    readStates.set(channelId, undefined);
    keeper.kv(`read:${channelId}`, undefined);
    events.emit("channel:left", channelId);
  }
  function forget(channelId: string) {
    messages.forget(channelId);
    keeper.forget([channelId]);
  }
  function set(s: PresenceSettings) {
    settings.set(s);
    keeper.kv("settings", s);
  }

  function empty() {
    messages.clear();
    begun.clear();
    channels.set(new Map());
    readStates.clear();
    threads.clear();
  }

  return {
    channels, readStates, threads, settings, forget, read,
    page(p, fresh, since) {
      const [known, list, reads] = [messages.alive(p.channels, since), messages.alive(p.messages, since), messages.alive(p.readStates, since)];
      p.leftChannelIds.forEach(leave);
      if (known.length) setChannels(map => known.forEach(c => {
        if (!fresh && !map.has(c.channelId) && c.type !== "direct") begun.add(c.channelId);
        map.set(c.channelId, c);
      }));
      p.members.forEach(m => events.emit("member", m));
      const news = take(list, Infinity, fresh);
      if (!fresh && !p.hasMore) begun.clear();
      p.deletedMessageIds.forEach(drop);
      read(reads);
      readThreads(p.threadReadStates);
      delivered(p.deliveries);
      if (p.settings) set(p.settings);
      return news.length;
    },
    event(e) {
      switch (e.__typename) {
        case "MessageCreated":
          take([e.message], Infinity);
          break;
        case "MessageUpdated": {
          const known = messages.find(e.message.id);
          take([e.message], Infinity);
          if (known) events.emit("message:updated", e.message);
          break;
        }
        case "MessageDeleted":
          drop(e.messageId);
          break;
        case "DeliveryChanged":
          delivered([e.delivery]);
          break;
        case "ReadStateChanged":
          read([e.readState]);
          break;
        case "ThreadReadStateChanged":
          readThreads([e.threadReadState]);
          break;
        case "ChannelUpdated": {
          const known = channels.get().has(e.channel.channelId);
          setChannels(map => map.set(e.channel.channelId, e.channel));
          return known ? null : e.channel.channelId;
        }
        case "MemberJoined":
          member(e.change);
          break;
        case "MemberLeft":
          if (e.change.userId === me()) leave(e.change.channelId);
          else member(e.change);
          break;
        case "SettingsChanged":
          set(e.settings);
      }
      return null;
    },
    took(incoming) {
      incoming.forEach(m => answered.add(m.id));
      take(incoming);
    },
    clear() {
      empty();
      keeper.clear();
    },
    reset() {
      empty();
      told = new Set();
      before = new Set();
    },
    restore(list, kv) {
      messages.put(list).forEach(m => told.add(m.id));
      channels.set(new Map((kv.get("channels") as Channel[] | undefined ?? []).map(c => [c.channelId, c])));
      for (const [key, value] of kv) if (key.startsWith("read:")) readStates.set(key.slice(5), value as ReadState);
      for (const [key, value] of kv) if (key.startsWith("thread:")) threads.set(key.slice(7), value as ThreadState);
      settings.set((kv.get("settings") as PresenceSettings | undefined) ?? null);
      return (kv.get("cursor") as string | undefined) ?? null;
    },
    all: () => ({
      put: [...messages.all.all.get().values()].flatMap(log => log.messages),
      kv: [
        ["channels", [...channels.get().values()]], ["settings", settings.get() ?? undefined],
        ...[...readStates.all.get()].map(([id, r]): [string, unknown] => [`read:${id}`, r]),
        ...[...threads.all.get()].map(([id, t]): [string, unknown] => [`thread:${id}`, t]),
      ],
    }),
  };
}
