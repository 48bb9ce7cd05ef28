import { RealtimeError } from "./errors.js";
import type { RoomInput } from "./generated.js";
import { type Readable, store } from "./store.js";

/** Where people talk: by its name or its ids. A bare id is a channel's. */
export type RoomRef = string | RoomInput;

const NAME = /^(?:(channel|dm):)?([^:]+)(?::thread:([^:]+))?$/;

/** channel:<id>, channel:<id>:thread:<id>, dm:<id>, or an id alone. */
export function roomInput(room: RoomRef, threadId?: string | null): RoomInput {
  if (typeof room !== "string") return threadId ? { ...room, threadId } : room;
  const [, kind, id, thread = threadId] = NAME.exec(room) ?? [];
  if (!id || (kind === "dm" && thread)) throw new RealtimeError("validation-failed", `${room} names no room`);
  return kind === "dm" ? { dmId: id } : thread ? { channelId: id, threadId: thread } : { channelId: id };
}

/** The name the server knows it by. */
export function roomName(room: RoomRef, threadId?: string | null): string {
  const r = roomInput(room, threadId);
  return r.dmId ? `dm:${r.dmId}` : `channel:${r.channelId}${r.threadId ? `:thread:${r.threadId}` : ""}`;
}

/** The channel its messages are in. */
export const roomChannel = (room: RoomRef): string => {
  const r = roomInput(room);
  return (r.dmId ?? r.channelId)!;
};

/** A room one is in: open on this page, by as many parts of it as hold it. */
export interface JoinedRoom {
  name: string;
  type: "channel" | "thread" | "dm";
  channelId: string;
  threadId: string | null;
}

export interface Rooms extends Readable<readonly JoinedRoom[]> {
  /** Opens a room: who types there is watched. Counted: it is left with the last answer called. */
  join(room: RoomRef): () => void;
  has(room: RoomRef): boolean;
}

export function createRooms(enter: (name: string) => () => void): Rooms {
  const list = store<readonly JoinedRoom[]>([]);
  const open = new Map<string, { count: number; leave: () => void }>();
  return {
    get: list.get,
    subscribe: list.subscribe,
    has: room => open.has(roomName(room)),
    join(room) {
      const input = roomInput(room), name = roomName(input);
      let at = open.get(name);
      if (!at) {
        open.set(name, (at = { count: 0, leave: enter(name) }));
        const type = input.dmId ? "dm" : input.threadId ? "thread" : "channel";
        list.set([...list.get(), { name, type, channelId: roomChannel(input), threadId: input.threadId ?? null }]);
      }
      at.count++;
      let held = at;
      return () => {
        if (!held) return;
        const mine = held;
        held = undefined as never;
        if (--mine.count) return;
        open.delete(name);
        list.set(list.get().filter(r => r.name !== name));
        mine.leave();
      };
    },
  };
}
